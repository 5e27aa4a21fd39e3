"""The recipe images end to end: digits in, a float net and exact integers out, compared; and every mistake in one line."""

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import levsha
from levsha.cli import main
from levsha.errors import LevshaError
from levsha.net import Net
from levsha.recipes.images.data import calibration_rows, read_images
from levsha.recipes.images.explain import gradients
from levsha.recipes.images.learn import train_split
from levsha.recipes.images.recipe import RECIPE
from levsha.recipes.images.settings import preset
from levsha.recipes.images.weigh import read_float_net, sizes
from levsha.run import Run
from levsha.targets import TARGETS

SPEED = ["--vectors", "20", "--target", "host"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("images") / "run"
    assert main(["run", "images", "--out", str(out), *SPEED, "--weights", "int8"]) == 0
    return out


def test_a_run_trains_quantises_and_compares(finished: Path) -> None:
    found = json.loads((finished / "results.json").read_text())
    assert (
        found["accuracy_fp32"] > 90 and found["accuracy_int8"] > found["accuracy_fp32"] - 1 and found["agreement"] > 98
    )
    float_file, packed = finished / "exports/float.pt", finished / "exports/float-int8/net.bin"
    assert found["size_fp32_kb"] == float_file.stat().st_size / 1024
    assert found["size_int8_kb"] == packed.stat().st_size / 1024
    assert found["compression_ratio"] == found["size_fp32_kb"] / found["size_int8_kb"]
    assert found["notes"] and not list(finished.rglob("*.tmp"))
    chip = found["variants"][1]
    assert chip["accuracy_interval"][0] < chip["accuracy"] < chip["accuracy_interval"][1]
    assert chip["margin"] == levsha.load(finished / "nets/float-int8.safetensors").application.to_json()["unsure_below"]
    assert set(chip["us"]) == {"1", "64"} and chip["onnx_mismatches"] == 0
    if not TARGETS["host"].missing():
        assert (chip["mismatches"], chip["vectors"], chip["net_sha256"] != "") == (0, 20, True)
    for name in ("bits.png", "confusion.png", "decisions.png", "report.md"):
        assert (finished / name).stat().st_size > 300


def test_a_teacher_and_warped_images_train_the_net_and_its_rounding(tmp_path: Path) -> None:
    ways = {"warped": 2, "teacher": (12, 16), "batches": 100, "fine_tune": 2, "weights": ("binary",)}
    settings, said = replace(preset("quick"), out=tmp_path, **ways), list[str]()
    variants = RECIPE.variants(settings)
    found = train_split(settings, RECIPE.read(settings), variants, 0, lambda stage, text, stays: said.append(text))
    assert found["float"]["accuracy"] > 80 and found["float-binary"]["accuracy"] > found["float"]["accuracy"] - 10
    assert any(text.startswith("teacher of") for text in said) and any("fine-tuning  epoch 2" in text for text in said)
    assert not list(tmp_path.rglob("pool")), "it is large, and nothing needs it any more"


def test_explain_draws_where_the_net_looks(finished: Path, tmp_path: Path, capsys) -> None:
    assert main(["explain", str(finished), "--file", str(tmp_path / "why.png")]) == 0
    said = capsys.readouterr().out
    assert said.count(" as ") == 10 and (tmp_path / "why.png").stat().st_size > 5000
    Image.fromarray(np.full((30, 20), 200, np.uint8)).save(tmp_path / "mine.png")
    words = ["explain", str(finished), "--image", str(tmp_path / "mine.png"), "--output", "3"]
    assert main(words) == 0 and (finished / "saliency.png").exists()
    said = capsys.readouterr().out
    assert "30, grey -> 8 x 8, grey" in said and "the logit of class 3 by each pixel: mine as" in said
    for flags, why in (
        (["--output", "10"], "--output: is 10; allowed are 0 to 9"),
        (["--variant", "float-int8"], "--variant: is float-int8"),
        (["--image", "none.png"], "none.png: does not exist"),
    ):
        assert main(["explain", str(finished), *flags]) == 2
        assert why in capsys.readouterr().err


def test_the_gradient_is_the_change_of_the_logit(finished: Path) -> None:
    run, rng = Run(finished), np.random.default_rng(0)
    x = rng.integers(0, 17, (3, 1, 8, 8)).astype(np.float32)
    gradient, _ = gradients(run, x, 4)
    import torch

    net = read_float_net(run).double()
    step = rng.normal(size=x.shape) * 1e-4
    above, below = (net(torch.from_numpy(x + sign * step))[:, 4].detach().numpy() for sign in (1, -1))
    np.testing.assert_allclose((gradient * step).sum((1, 2, 3)), (above - below) / 2, rtol=0.02, atol=1e-6)


def test_repeating_the_command_makes_nothing_again_and_more_batches_go_on(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    room, words = (
        tmp_path / "run/training/split-0",
        ["train", "images", "--out", str(tmp_path / "run"), "--weights", "int8"],
    )
    log, net = ((room / name).read_bytes() for name in ("float/metrics.jsonl", "float-int8.net.safetensors"))
    states = {path: path.stat().st_mtime_ns for path in (room / "float/checkpoints").iterdir()}
    assert states and main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in (room / "float/checkpoints").iterdir()} == states
    assert (room / "float/metrics.jsonl").read_bytes() == log
    assert (room / "float-int8.net.safetensors").read_bytes() == net
    assert (tmp_path / "run/results.json").exists()
    assert main([*words, "--batches", "140"]) == 0
    longer = (room / "float/metrics.jsonl").read_bytes()
    assert longer.startswith(log) and longer.count(b"\n") == 7
    assert not (tmp_path / "run/results.json").exists(), "it is of nets that are no more"


def folder(path: Path, counts: dict[str, int], size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for k in range(count):
            Image.new(mode, size, (k * 37 % 256,) * len(mode) if len(mode) > 1 else k * 37 % 256).save(
                path / name / f"{k}.png"
            )
    return path


def two_sizes(path: Path) -> None:
    folder(path, {"a": 3, "b": 3})
    Image.new("L", (9, 8)).save(path / "b" / "x.png")


def two_kinds(path: Path) -> None:
    folder(path, {"a": 3, "b": 3})
    Image.new("RGB", (8, 8)).save(path / "b" / "x.png")


def an_empty_class(path: Path) -> None:
    folder(path, {"a": 3, "b": 3, "c": 0})


def one_image(path: Path) -> None:
    folder(path, {"a": 3, "b": 1})


def sixteen_bits(path: Path) -> None:
    folder(path, {"a": 3, "b": 3})
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(path / "b" / "x.png")


def for_printing(path: Path) -> None:
    folder(path, {"a": 3, "b": 3})
    Image.new("CMYK", (8, 8)).save(path / "b" / "x.jpg")


def idx(path: Path, cut: int = 0, magic: bytes = b"\0\0", labels: int = 6) -> None:
    path.mkdir()
    for part in ("train", "t10k"):
        images = magic + b"\x08\x03" + struct.pack(">3I", 6, 8, 8) + bytes(6 * 64 - cut)
        (path / f"{part}-images-idx3-ubyte").write_bytes(images)
        (path / f"{part}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + struct.pack(">I", labels) + bytes(k % 2 for k in range(labels))
        )


DATA = {  # what lies at --data -> what the one line says
    "mixed sizes": (two_sizes, "holds images of 2 sizes: 6 of 8 x 8, 1 of 9 x 8"),
    "mixed channels": (two_kinds, "holds images of 2 kinds: 6 grey, 1 in colour"),
    "an empty class": (an_empty_class, "c: holds no PNG or JPEG image; add some, or remove this class"),
    "a class of one": (one_image, "has 1 image of class 'b'; give two or more of each"),
    "one class": (lambda path: folder(path, {"a": 5}), "has images of one class alone"),
    "16 bits": (sixteen_bits, "x.png: has more than 8 bits a channel"),
    "CMYK": (for_printing, "x.jpg: has colours as CMYK"),
    "nothing": (lambda path: None, "does not exist"),
    "an empty folder": (lambda path: path.mkdir(), "is an empty folder"),
    "cut short": (lambda path: idx(path, cut=5), "has 395 bytes, but 400 belong to the 6 x 8 x 8 numbers"),
    "wrong magic": (lambda path: idx(path, magic=b"\0\7"), "is no IDX file, it begins with 00 07"),
    "labels": (lambda path: idx(path, labels=5), "has 6 samples and 5 answers"),
    "tiny": (
        lambda path: folder(path, {"a": 4, "b": 4}, (3, 3)),
        "images of 3 x 3 pixels are used up by convolution 2",
    ),
}


@pytest.mark.parametrize("mistake", DATA)
def test_bad_data_ends_in_one_line_before_any_training(mistake: str, tmp_path: Path, capsys) -> None:
    make, said = DATA[mistake]
    make(tmp_path / "data")
    refused(["--data", str(tmp_path / "data")], said, tmp_path, capsys)


@pytest.mark.parametrize(("arrays", "said"), [
    ({"x": np.zeros((10, 8, 8), np.uint8), "y": np.arange(10) % 2}, "every pixel of"),
    ({"x": np.linspace(0, 1, 640).reshape(10, 8, 8), "y": np.arange(10) % 2}, "holds float64 from 0 to 1; pixels are whole numbers 0..255: numpy.rint(255 * x)"),
    ({"x": np.zeros((10, 64), np.uint8), "y": np.arange(10) % 2}, "holds samples of shape (64,); images are (rows, columns)"),
    ({"x": np.zeros((10, 8, 8), np.uint8)}, "has no classes to train on"),
    ({"x": np.zeros((10, 8, 8), np.uint8), "y": np.linspace(0, 1, 10)}, "has no classes to train on"),
    ({"x": np.full((10, 8, 8), -1), "y": np.arange(10) % 2}, "holds int64 from -1 to -1"),
    ({"x": np.zeros((10, 2, 8, 8), np.uint8), "y": np.arange(10) % 2}, "holds images of 2 channels; allowed are 1, grey, and 3, RGB"),
])  # fmt: skip
def test_arrays_that_are_no_pixels_with_classes(arrays: dict, said: str, tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    refused(["--data", str(tmp_path / "data.npz")], said, tmp_path, capsys)


FLAGS = {
    "no calibration": (["--calibration-batches", "0"], "--calibration-batches: is 0; allowed are 1 to 10000"),
    "no batches": (["--batches", "0"], "--batches: is 0; allowed are 1 to"),
    "odd batches": (["--batches", "101"], "--batches: is 101; give 1 to 20, or a multiple of 20"),
    "too large": (
        ["--size", "16"],
        "--size: is 16, but the images of digits are 8 x 8; they can be reduced, not enlarged",
    ),
    "too small": (["--size", "4"], "--channels: are 8 16, but images of 4 x 4 pixels are used up by convolution 2"),
    "no such layer": (["--layer", "conv9=int4"], "layer 'conv9': there is none; the nearest are conv2, conv1"),
    "no such format": (["--layer", "conv1=int7"], "format 'int7': unknown"),
    "no such weights": (["--weights", "int9"], "format 'int9': unknown"),
    "no channels": (["--channels", "0"], "--channels: is 0; give numbers from 1 to 4096"),
    "no such pool": (["--pool", "3"], "--pool: is 3; allowed are 1 to 2"),
    "no such data": (["--data", "minst"], "'minst': is no set of images; there are digits, mnist, fashion-mnist"),
    "no such kind": (["--kind", "rnn"], "kind"),
}


@pytest.mark.parametrize("mistake", FLAGS)
def test_bad_flags_end_in_one_line_before_any_training(mistake: str, tmp_path: Path, capsys) -> None:
    words, said = FLAGS[mistake]
    refused(words, said, tmp_path, capsys)


def refused(words: list[str], said: str, place: Path, capsys) -> None:
    assert main(["run", "images", "--out", str(place / "run"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("levsha: ") and error.count("\n") == 1 and said in error, error
    assert not (place / "run").exists()


def test_a_loader_that_fails_and_one_without_data() -> None:
    def failing() -> Iterator[np.ndarray]:
        yield np.zeros((4, 1, 8, 8), np.uint8)
        raise OSError(5, "Input/output error")

    with pytest.raises(LevshaError, match=r"batch 2 of 10 cannot be read \(OSError: .*Input/output error\)"):
        calibration_rows(failing(), 10, lambda k: None)
    with pytest.raises(LevshaError, match="there is no data"):
        calibration_rows(iter([]), 10, lambda k: None)
    seen: list[int] = []
    assert len(calibration_rows(iter([np.zeros((4, 1, 8, 8))] * 5), 3, seen.append)) == 12 and seen == [1, 2, 3]


def test_a_full_disk_while_sizes_are_compared(finished: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "exports" / "float.pt").unlink()
    settings = replace(preset("quick"), out=tmp_path / "run", weights=("int8",))

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(
        LevshaError, match=r"float\.pt: cannot be written \(No space left on device\).* Free some space"
    ):
        sizes(Run(tmp_path / "run"), settings, read_images(settings))
    assert {p.name for p in (tmp_path / "run" / "exports").iterdir()} == {"float-int8"}, "nothing is left half written"


def test_ctrl_c_leaves_a_checkpoint_and_no_results(tmp_path: Path) -> None:
    words = [
        "run",
        "images",
        "--out",
        str(tmp_path / "run"),
        *SPEED,
        "--batches",
        "2000000",
        "--train.checkpoint-seconds",
        "0",
    ]
    process = subprocess.Popen([sys.executable, "-m", "levsha.cli", *words], stderr=subprocess.PIPE, text=True)
    room = tmp_path / "run" / "training" / "split-0" / "float" / "checkpoints"
    while not list(room.glob("step-*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "stopped; what was finished is kept" in said, (process.returncode, said)
    assert list(room.glob("step-*")) and not (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize("ways", [
    {"kind": "separable", "channels": (3, 4), "hidden": (5,), "layer": ("depth2=int8",), "weights": ("int4",)},
    {"kind": "mlp", "weights": ("int8",)},
], ids=lambda ways: ways["kind"])  # fmt: skip
def test_every_kind_of_net_becomes_exact_integers(ways: dict, tmp_path: Path) -> None:
    """Depthwise and pointwise layers, hidden layers, channels of colour, a layer with a format of its own."""
    folder(tmp_path / "data", {"a": 20, "b": 20}, (9, 10), "RGB")
    settings = replace(preset("quick"), out=tmp_path / "run", data=str(tmp_path / "data"), batches=20, **ways)
    found = train_split(settings, RECIPE.read(settings), RECIPE.variants(settings), 0, lambda stage, text, stays: None)
    name = f"float-{settings.weights[0]}"
    net = Net.load(tmp_path / "run" / "training" / "split-0" / f"{name}.net.safetensors")
    assert found[name]["agreement"] >= 75 and net.graph.inputs["input"].shape == (10, 9, 3)
    if not TARGETS["host"].missing():
        assert net.check("host", 10).mismatches == 0
