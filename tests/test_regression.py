"""The recipe regression end to end: every activation becomes exact integers on a chip, beats the mean, explains itself, and continues."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from levsha.cli import main
from levsha.recipes.regression.net import build_mlp
from levsha.targets import TARGETS

BRIEF = [
    "--samples",
    "800",
    "--splits",
    "1",
    "--hidden",
    "48",
    "24",
    "--train.epochs",
    "25",
    "--vectors",
    "60",
    "--train.batch",
    "32",
]


def run_words(out: Path, *more: str) -> list[str]:
    return ["run", "regression", "--out", str(out), *BRIEF, *more]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("levsha: ") and error.count("\n") == 1, error
    return error


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("regression") / "run"
    assert main(run_words(out)) == 0
    return out


def test_a_run_ends_in_its_table_and_pictures(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    by_name = {v["name"]: v for v in results["variants"]}
    assert by_name["baseline"]["test_r2"] > results["references"]["mean"]["test_r2"] + 0.4
    assert by_name["baseline"]["test_r2"] > results["references"]["linear"]["test_r2"]
    for name in (
        "learning.png",
        "scatter.png",
        "report.md",
        "data.safetensors",
        "training/split-0/baseline/metrics.jsonl",
    ):
        assert (finished / name).stat().st_size > 300
    chip = by_name["sensor-int8"]
    if not TARGETS["uno"].missing():
        assert (chip["mismatches"], chip["vectors"], chip["fits"]) == (0, 60, True)
        ino = (finished / "firmware/sensor-int8/sensor_int8/sensor_int8.ino").read_text()
        assert "g(-110 m) in units of" in ino and "depth in units of" in ino


def test_repeating_the_command_makes_nothing_again(finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (finished / "training").rglob("*.jsonl")}
    nets = {p: p.read_bytes() for p in finished.rglob("*.safetensors")}
    measured = {p: p.stat().st_mtime_ns for p in (finished / "measurements").iterdir()}
    assert main(run_words(finished)) == 0
    assert {p: p.read_bytes() for p in finished.rglob("*.safetensors")} == nets
    assert {p: p.stat().st_mtime_ns for p in (finished / "measurements").iterdir()} == measured
    assert all(p.stat().st_size for p in before)


def test_a_killed_run_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "levsha.cli", *run_words(out, "--train.checkpoint-seconds", "0.05", "--jobs", "1")]
    reference = tmp_path / "whole"
    assert main(run_words(reference, "--train.checkpoint-seconds", "0.05", "--jobs", "1")) == 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while not list(out.glob("training/split-0/baseline/checkpoints/step-*")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    for name in (
        "baseline/model.safetensors",
        "baseline/metrics.jsonl",
        "sensor/model.safetensors",
        "sensor-int8.net.safetensors",
    ):
        assert (out / "training/split-0" / name).read_bytes() == (reference / "training/split-0" / name).read_bytes()


def test_commands_on_a_finished_run(finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values = ["--values", *(str(v) for v in (2, 3, 5, 8, 20, 40, 42, 21, 9, 5, 3, 2))]
    assert main(["ask", str(finished), *values]) == 0
    alone = capsys.readouterr().out.strip()
    assert alone.startswith("depth: ") and alone.endswith(" m")
    if not TARGETS["uno"].missing():
        assert main(["ask", str(finished), *values, "--target", "uno"]) == 0
        assert capsys.readouterr().out.startswith(f"{alone}  [")
        assert main(["check", str(finished), "--vectors", "40"]) == 0
        assert "0 mismatches in 40 vectors" in capsys.readouterr().out
    assert main(["explain", str(finished), "--file", str(tmp_path / "why.png")]) == 0
    assert "a standard deviation" in capsys.readouterr().out and (tmp_path / "why.png").stat().st_size > 5000
    assert (
        main(["export", str(finished), "--to", "pt", "--variant", "baseline", "--file", str(tmp_path / "net.pt")]) == 0
    )
    import torch

    found = torch.load(tmp_path / "net.pt", weights_only=True)
    build_mlp([12, 48, 24, 1], "relu", 0).load_state_dict(found["state_dict"])
    assert main(["export", str(finished), "--to", "c", "--folder", str(tmp_path)]) == 0
    assert "net_run_readings" in (tmp_path / "net.h").read_text() and (tmp_path / "net.c").exists()


def test_the_record_is_shown_as_tensorboard_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    words = ["train", *run_words(tmp_path / "run", "--log", "tensorboard", "--train.epochs", "3")[1:]]
    assert main(words) == 0 and main(words) == 0
    assert len(list((tmp_path / "run/training/split-0/sensor/tensorboard").glob("events*"))) == 1


def test_compare_draws_every_optimizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(run_words(tmp_path / "run", "--compare", "gd,sgd,adam", "--train.epochs", "3")) == 0
    curves = json.loads((tmp_path / "run/compare.json").read_text())
    assert list(curves) == ["gd", "sgd", "adam"] and (tmp_path / "run/compare.png").stat().st_size > 5000
    assert curves["gd"]["steps"] == list(range(1, 13)), "a pass of gradient descent is one iteration"
    assert all(np.diff(curve["seconds"]).min() > 0 for curve in curves.values())
    capsys.readouterr()
    assert main(run_words(tmp_path / "run", "--compare", "adam,momentum,gd", "--train.epochs", "3")) == 0
    again = json.loads((tmp_path / "run/compare.json").read_text())
    assert list(again) == ["adam", "momentum", "gd", "sgd"] and all(again[name] == curves[name] for name in curves)
    assert "and read: adam, gd\n" in capsys.readouterr().out
    assert main(run_words(tmp_path / "run", "--compare", "gd", "--train.epochs", "2")) == 0
    assert list(json.loads((tmp_path / "run/compare.json").read_text())) == ["gd"], "other settings: made again"


def test_compare_is_refused_under_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in refused(run_words(tmp_path / "o", "--compare", "gd"), capsys)
    assert not (tmp_path / "o").exists()


def test_other_settings_replace_results_and_mistakes_do_not(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    refused(run_words(out, "--train.loss", "bce"), capsys)
    refused(run_words(out, "--noise", "9", "--train.sampling", "weighted"), capsys)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    weights = out / "training/split-0/baseline/model.safetensors"
    for damaged in (b"x" * 20, before[out / "training/split-0/sensor/model.safetensors"]):
        weights.write_bytes(damaged)
        assert "make it again with levsha run regression" in refused(["explain", str(out)], capsys)
    weights.write_bytes(before[weights])
    brief = ("--train.epochs", "1", "--hidden", "8")
    assert main(["train", *run_words(out, *brief)[1:]]) == 0
    assert "they are replaced" in capsys.readouterr().out and not (out / "results.json").exists()
    assert "is no finished run" in refused(["ask", str(out), "--values", "1"], capsys)


def test_a_command_needs_no_torch_to_refuse(tmp_path: Path) -> None:
    code = (
        "import sys; from levsha.cli import main; "
        f"main({run_words(tmp_path / 'o', '--train.batch', '9999')!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_a_live_pipe_gets_each_answer_at_once(finished: Path) -> None:
    words = [sys.executable, "-m", "levsha.cli", "ask", str(finished)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin and process.stdout
        for _ in range(2):
            process.stdin.write("2 3 5 8 20 40 42 21 9 5 3 2\n")
            assert process.stdout.readline().startswith("depth: ")
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--activation", "relux"], "--activation: there is no 'relux'; there are relu, gelu, mish, silu, tanh"),
        (["--train.optimizer", "lion"], "--train.optimizer: there is no 'lion'; there are adam, adamw, sgd, rmsprop"),
        (["--train.loss", "hinge"], "--train.loss: there is no 'hinge'; there are mse, cross_entropy"),
        (["--train.schedule", "line"], "--train.schedule: there is no 'line'; there are constant, step, cosine, one_cycle"),
        (["--train.batch", "5000"], "--train.batch: is 5000, but there are 560 training samples"),
        (["--train.epochs", "0"], "--train.epochs: is 0; allowed are 1 to"),
        (["--train.rate", "-1"], "--train.rate: is -1.0; allowed are"),
        (["--compare", "sgd,magic"], "--compare: there is no 'magic'; there are gd, sgd"),
        (["--compare", ""], "--compare: there is no ''"),
        (["--data", "stars"], "'stars': is no table; there are gravity, diabetes, digits"),
        (["--data", "none.csv"], "none.csv: cannot be read"),
        (["--hidden", "0"], "--hidden: is 0; give one or more layers"),
        (["--target", "uno2"], "target 'uno2': unknown"),
        (["--train.loss", "cross_entropy"], "--train.loss: is cross_entropy, but the targets of gravity are standardised numbers"),
        (["--train.loss", "bce"], "allowed are auto, mse, l1, smooth_l1"),
        (["--data", "digits", "--train.loss", "mse"], "of digits are class labels; allowed are auto, cross_entropy"),
        (["--train.sampling", "weighted"], "Arrays(x, y, weights)"),
    ],
)  # fmt: skip
def test_bad_flags(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(run_words(tmp_path / "o", *words), capsys)
    assert not (tmp_path / "o").exists(), "all is checked before anything is written"


def test_a_diverging_training_says_what_to_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(
        run_words(tmp_path / "o", "--train.rate", "900", "--train.optimizer", "sgd", "--train.schedule", "constant"),
        capsys,
    )
    assert (
        error.startswith("levsha: split-0 baseline: ")
        and "at step" in error
        and "batch" in error
        and "Try a lower rate than 900" in error
    )


def test_commands_of_other_recipes_and_wrong_values_are_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is a run of regression; this command needs one of tinychat" in refused(
        ["chat", str(finished), "--say", "hi"], capsys
    )
    assert "3 numbers; the net reads 12" in refused(["ask", str(finished), "--values", "1", "2", "3"], capsys)
    assert "it was trained on nothing beyond" in refused(["ask", str(finished), "--values", *["99999"] * 12], capsys)
    assert "--output: is 7; allowed are 0 to 0" in refused(["explain", str(finished), "--output", "7"], capsys)


def test_a_table_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a:.2f},{b:.3f},7,{3 * a - b * b + 101_325:.3f}" for a, b in rng.uniform(-2, 2, (300, 2))]
    (tmp_path / "own.csv").write_text("\n".join(["volts,amps,constant,pressure", *rows]))
    out = tmp_path / "run"
    words = run_words(out, "--data", str(tmp_path / "own.csv"), "--train.rate", "5e-3", "--train.epochs", "60")
    assert main(words) == 0
    results = json.loads((out / "results.json").read_text())
    assert all(v["test_r2"] > 0.9 for v in results["variants"])
    (tmp_path / "own.csv").unlink()
    assert main(["check", str(out), "--target", "host", "--vectors", "50"]) == 0


def test_twenty_rows_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default batch is larger than what they leave to train on: it is one batch then."""
    rows = [f"{a},{a * 2 + 1}" for a in range(20)]
    (tmp_path / "own.csv").write_text("\n".join(["x,y", *rows]))
    words = [
        "train",
        "regression",
        "--data",
        str(tmp_path / "own.csv"),
        "--out",
        str(tmp_path / "run"),
        "--train.epochs",
        "2",
    ]
    assert main([*words, "--hidden", "4", "--splits", "1"]) == 0


def test_a_folder_of_another_recipe_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.json").write_text('{"recipe": "tinychat"}')
    assert "holds a run of tinychat; choose another folder" in refused(run_words(tmp_path), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
