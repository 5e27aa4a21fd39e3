"""levsha see: pictures of any size and kind to a net, through the interpreter and the chip; and every mistake in one line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from levsha.applications import Vector
from levsha.cli import main
from levsha.data.area import average_areas
from levsha.meaning import Quantity
from levsha.net import Net
from levsha.targets import TARGETS
from tests.test_image_application import NAMES, deserved, image_net
from tests.test_vector import dense_graph

GREY = image_net((4, 6, 1), unsure=2000)
COLOUR = image_net((3, 3, 3))


def run_of(folder: Path, net: Net, x: np.ndarray) -> Path:
    """A finished run of one net."""
    (folder / "nets").mkdir(parents=True)
    net.save(folder / "nets" / "n-int8.safetensors")
    np.savez(folder / "data.npz", x=x)
    variants = [{"name": "n-int8", "format": "int8"}]
    about = {"format": 2, "recipe": "convert", "variants": variants, "recommended": "n-int8"}
    (folder / "results.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    x = np.zeros((9, 4, 6, 1), np.uint8)
    x[:, 1:-1, 1:-1] = 255
    return run_of(tmp_path / "run", GREY, x)


def seen(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["see", *map(str, words)]) == 0
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["see", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert not said.out and "Traceback" not in said.err
    return said.err


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Pil.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "pgm"])
def test_a_picture_of_its_size_is_taken_as_it_is(run: Path, tmp_path: Path, capsys, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 120, (4, 6), dtype=np.uint8)
    said = seen(capsys, run, save(tmp_path / f"a.{kind}", pixels))
    unsure, name, scores = (
        deserved(GREY, pixels[..., None]).partition("unsure ")[1],
        *deserved(GREY, pixels[..., None]).split(": "),
    )
    assert (
        "6 x 4, grey, as it is" in said
        and (f"unsure: {name.removeprefix('unsure ')}, or " if unsure else f"\n{name}\n") in said
    )
    assert all(f"  {score}  " in said for score in scores.split()) and all(name in said for name in NAMES)


def test_a_photo_is_made_small_grey_and_dark_at_its_edge(run: Path, tmp_path: Path, capsys) -> None:
    paper = np.full((40, 90, 3), 255, np.uint8)
    paper[10:30, 30:60] = (200, 0, 0)
    said = seen(capsys, run, save(tmp_path / "paper.png", paper))
    assert (
        "90 x 40, RGB -> 6 x 4, grey; area-averaged, squeezed; inverted: its edge is bright, what the net learned from has a dark one"
        in said
    )
    small = np.zeros((4, 6), np.int64)
    small[1:3, 2:4] = 255 - (200 * 299 + 500) // 1000
    assert deserved(GREY, small[..., None]).split(": ")[1].split()[0] in said
    assert "inverted" not in seen(capsys, run, tmp_path / "paper.png", "--invert", "no")
    assert seen(capsys, run, tmp_path / "paper.png", "--invert", "yes").count("inverted") == 1


def test_a_chip_says_the_same_and_how_long_it_takes(run: Path, tmp_path: Path, capsys, need) -> None:
    need(TARGETS["uno"])
    firmware = TARGETS["uno"].firmware(GREY.graph, GREY.application, "t", GREY.meaning).built(tmp_path / "build")
    firmware.save(run / "firmware" / "n-int8")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(3):
        save(folder / f"{k}.{'pgm' if k else 'png'}", np.random.default_rng(k).integers(0, 256, (9, 9), dtype=np.uint8))
    (folder / "notes.txt").write_text("none")
    plain, chip = seen(capsys, run, folder), seen(capsys, run, folder, "--target", "uno")
    assert chip.count("ms on ATmega328P") == 3
    assert [line for line in chip.splitlines() if " ms on " not in line] == plain.splitlines()


def test_colours_go_in_and_grey_pictures_become_some(tmp_path: Path, capsys) -> None:
    run = run_of(
        tmp_path / "run", COLOUR, np.full((4, 3, 3, 3), 7, np.uint8)
    )  # what it learned from is grey at its edge
    pixels = np.random.default_rng(2).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    grey = pixels[..., 0]
    said = seen(
        capsys, run, save(tmp_path / "a.png", pixels), save(tmp_path / "b.png", grey), save(tmp_path / "c.ppm", pixels)
    )
    for x in (pixels, np.repeat(grey[..., None], 3, 2)):
        scores = deserved(COLOUR, (x * np.int64(7) + 127) // 255).split(": ")[1]
        assert all(f"  {score}  " in said for score in scores.split())
    assert (
        "3 x 3, RGB, as it is; 0..255 to 0..7, as what the net learned from" in said
        and "3 x 3, grey -> 3 x 3, RGB" in said
    )


def test_what_is_no_picture_is_refused_before_anything_is_shown(run: Path, tmp_path: Path, capsys) -> None:
    good = save(tmp_path / "good.png", np.zeros((4, 6), np.uint8))
    deep = save(tmp_path / "deep.png", np.zeros((4, 6), np.uint16))
    assert "deep.png: has more than 8 bits a channel" in refusal(capsys, run, good, deep)
    cmyk = save(tmp_path / "cmyk.jpg", np.zeros((4, 6), np.uint8), "CMYK")
    assert "cmyk.jpg: has colours as CMYK" in refusal(capsys, run, cmyk)
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png: is no sound PNG, JPEG or PGM, PPM image" in refusal(capsys, run, tmp_path / "text.png")
    assert "none.png: does not exist" in refusal(capsys, run, tmp_path / "none.png")
    (tmp_path / "empty").mkdir()
    assert "empty: holds no PNG, JPEG, PGM or PPM picture" in refusal(capsys, run, tmp_path / "empty")
    assert "no picture; give" in refusal(capsys, run)
    assert "is no finished run" in refusal(capsys, tmp_path, good)
    assert "has no integer variant 'x'" in refusal(capsys, run, good, "--variant", "x")
    assert "target 'mega': unknown" in refusal(capsys, run, good, "--target", "mega")
    if not TARGETS["uno"].missing():
        assert "there is no firmware with a manifest" in refusal(capsys, run, good, "--target", "uno")


def test_a_net_that_reads_no_picture_is_refused(tmp_path: Path, capsys) -> None:
    graph = dense_graph(GREY.graph.inputs["input"], 2, "input")
    meaning = replace(GREY.meaning, quantities={"input": (Quantity("input", "", 0.3, -1.0),)}, classes={})
    run = run_of(tmp_path / "run", Net(graph, meaning, Vector(meaning), "t"), np.zeros((3, 4, 6, 1), np.float32))
    assert "its net reads input[4, 6, 1] in 0..255, no picture" in refusal(
        capsys, run, save(tmp_path / "a.png", np.zeros((4, 6), np.uint8))
    )


@pytest.mark.parametrize(
    ("old", "new"), [((28, 28), (16, 16)), ((5, 7), (2, 3)), ((2, 3), (5, 7)), ((480, 640), (28, 28)), ((1, 1), (3, 3))]
)
def test_areas_are_averaged_exactly(old: tuple[int, int], new: tuple[int, int]) -> None:
    """As if each old pixel were as many small ones as there are new pixels, and the reverse."""
    x = np.random.default_rng(0).integers(0, 256, (2, *old), dtype=np.uint8)
    if old[0] > 99:
        x = x[:1, :48, :64]
    fine = x.astype(np.int64).repeat(new[0], 1).repeat(new[1], 2)
    height, width = x.shape[1:]
    sums = fine.reshape(len(x), new[0], height, new[1], width).sum((2, 4))
    np.testing.assert_array_equal(average_areas(x, *new), (2 * sums + height * width) // (2 * height * width))
