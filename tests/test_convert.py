"""levsha convert as strangers use it: what comes out, and what is said to every mistake: one line, status 2, nothing lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import levsha
from levsha.cli import main
from levsha.errors import LevshaError
from levsha.jobs import run_here
from levsha.recipes import pipeline
from levsha.recipes.convert.settings import Convert

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 4 * 4, 5)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        return torch.log_softmax(self.fc(x.flatten(1)), 1)

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 5)

class Unknown(Base):
    def forward(self, x):
        x = torch.cumsum(x.flatten(1), 1)
        return self.fc(torch.sort(x, 1)[0])

class Control(Base):
    def forward(self, x):
        x = x.flatten(1)
        if x.sum() > 0:
            x = -x
        return self.fc(x)

class Dropping(Base):
    def forward(self, x):
        return nn.functional.dropout(self.fc(x.flatten(1)), 0.5, training=True)

class Random(Base):
    def forward(self, x):
        return self.fc(x.flatten(1)) + torch.randn(5)

class Named(Base):
    def forward(self, x):
        return {"logits": self.fc(x.flatten(1))}

class OneRow(Base):
    def forward(self, x):
        return self.fc(x.flatten(1)).sum(0)

class TwoInputs(Base):
    def forward(self, x, z):
        return self.fc(x.flatten(1) + z)

class Constant(Base):
    def forward(self, x):
        return self.fc.bias.expand(len(x), 5)

class Idle(nn.Module):
    def forward(self, x):
        return x

class Zero(Base):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.fc.weight)

    def forward(self, x):
        return self.fc(x.flatten(1))

class Huge(Base):
    def forward(self, x):
        return (1e30 * self.fc(x.flatten(1))) ** 3

class Sized(nn.Module):
    def __init__(self, size):
        super().__init__()

class Broken(nn.Module):
    def __init__(self):
        raise RuntimeError("no weights here")

made, number = Net(), 3
"""
SPEED = ["--target", "host", "--vectors", "20"]
GIVEN = ["net.py:Net", "--state", "net.pth", "--data", "data.npz"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its weights and data, and a spoilt form of each."""
    folder = tmp_path_factory.mktemp("stranger")
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 2, (40, 1, 8, 8)).astype(np.float32), rng.integers(0, 5, 40)
    x[:, :, :2] += y[:, None, None, None]
    (folder / "net.py").write_text(NET)
    for name, text in {
        "imports.py": "import nothing_here\n",
        "syntax.py": "def (",
        "ends.py": "import sys\nsys.exit(3)\n",
    }.items():
        (folder / name).write_text(text)
    data = {
        "data": (x, y), "nan": (np.where(np.arange(40)[:, None, None, None] == 7, np.nan, x), y), "constant": (np.full_like(x, 3), y),
        "one": (x[:1], y[:1]), "small": (x[:, :, :5, :5], y), "short": (x, y[:5]), "shifted": (x, y + 3), "real": (x, y.astype(np.float32)),
        "several": (x, np.zeros((40, 2), np.float32)), "grid": (x, np.stack([y, y], 1)),
    }  # fmt: skip
    for name, (inputs, answers) in data.items():
        np.savez(folder / f"{name}.npz", x=inputs, y=answers)
    np.savez(folder / "unanswered.npz", x=x)
    (folder / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:700])
    sys.path.insert(0, str(folder))
    torch.manual_seed(0)
    space: dict[str, type[torch.nn.Module]] = {}
    exec(NET, space)
    state = space["Net"]().state_dict()
    spoilt = {
        "net": state, "whole": torch.nn.Linear(2, 2), "list": [1, 2], "missing": {k: v for k, v in state.items() if "fc" not in k},
        "extra": state | {"more": torch.zeros(1)}, "wide": state | {"fc.weight": torch.zeros(5, 65)},
        "infinite": state | {"fc.bias": torch.full((5,), float("nan"))}, "nested": {"epoch": 1, "state_dict": state},
    }  # fmt: skip
    for name, value in spoilt.items():
        torch.save(value, folder / f"{name}.pth")
    (folder / "junk.pth").write_bytes(b"junk" * 50)
    (folder / "folder").mkdir()
    return folder


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run levsha convert in that folder, in this process; returns its exit status and what it says on standard error."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(pipeline, "run_jobs", lambda jobs, processes, console: run_here(jobs, console))

    def convert(*words: str) -> tuple[int, str]:
        out = [] if "--out" in words else ["--out", str(tmp_path / "run")]
        status = main(["convert", *words, *out])
        return status, capsys.readouterr().err.strip()

    return convert


def data(name: str) -> list[str]:
    return ["net.py:Net", "--state", "net.pth", "--data", name]


def state(name: str) -> list[str]:
    return ["net.py:Net", "--state", name, "--data", "data.npz"]


def model(name: str) -> list[str]:
    return [name, "--data", "data.npz"]


MISTAKES = {  # words of the command -> what the one line says
    "no model": ([], r"convert: no model; give net\.onnx"),
    "no data": (["net.py:Net"], r"--data: is missing; give samples"),
    "format": ([*GIVEN, "--weights", "int7"], r"format 'int7': unknown; there are binary,"),
    "format twice": ([*GIVEN, "--weights", "int8", "int8"], r"--weights: one is named twice"),
    "layer malformed": ([*GIVEN, "--layer", "conv1"], r"--layer: is 'conv1'; write PATTERN=FORMAT"),
    "layer unknown": ([*GIVEN, "--layer", "conv9=int4"], r"layer 'conv9': there is none; the nearest are conv1"),
    "target": ([*GIVEN, "--target", "abacus"], r"target 'abacus': unknown; there are host"),
    "flag": ([*GIVEN, "--weigts", "int8"], r"Unrecognized options: --weigts, int8\. Perhaps you meant --weights"),
    "keep": ([*GIVEN, "--keep", "0"], r"--keep: is 0.0; allowed are 0.01 to 1"),
    "calibration rows": ([*GIVEN, "--calibration-rows", "0"], r"--calibration-rows: is 0; allowed are 1 to"),
    "data missing": (data("nothing.npz"), r"nothing\.npz: does not exist; give a file or a folder of samples"),
    "data nan": (data("nan.npz"), r"nan\.npz: x: row 7 \(from 0\) holds nan"),
    "data constant": (data("constant.npz"), r"data: every number of the 20 rows that calibrate is 3; .* give real rows"),
    "data one row": (data("one.npz"), r"x: has 1 row; give two or more"),
    "data shape": (data("small.npz"), r"Net: cannot run on rows of shape \(1, 5, 5\): net\.py, line 13: .*cannot be multiplied"),
    "data short": (data("short.npz"), r"short\.npz: has 40 samples and 5 answers"),
    "data classes": (data("shifted.npz"), r"y: holds classes 3\.\.7; Net has 5 outputs, so 0\.\.4 are allowed"),
    "data real classes": (data("real.npz"), r"y: has 1 real numbers a row; Net has 5 outputs\. Are they classes\? .*--classes True"),
    "data several": (data("several.npz"), r"y: has 2 real numbers a row; Net has 5 outputs\. Give as many, or leave y out"),
    "data cut": (data("cut.npz"), r"cut\.npz: is damaged or cut short"),
    "test shape": ([*GIVEN, "--test", "small.npz"], r"--test: rows of shape \(1, 5, 5\), answers; --data has \(1, 8, 8\)"),
    "test without answers": ([*GIVEN, "--test", "unanswered.npz"], r"--test: rows of shape \(1, 8, 8\), no answers"),
    "state missing file": (state("nothing.pth"), r"nothing\.pth: does not exist, or is no file"),
    "state folder": (state("folder"), r"folder: does not exist, or is no file"),
    "state keys missing": (state("missing.pth"), r"another class than Net: 2 keys are missing \(fc\.bias, fc\.weight\), 0 are not expected"),
    "state keys extra": (state("extra.pth"), r"another class than Net: 0 keys are missing \(none\), 1 are not expected \(more\)"),
    "state shapes": (state("wide.pth"), r"wide\.pth: does not fit Net: fc\.weight is \(5, 65\), not \(5, 64\)"),
    "state nan": (state("infinite.pth"), r"Net: fc\.bias holds NaN or infinity; train it again"),
    "state whole": (state("whole.pth"), r"whole\.pth: holds more than weights, .*it was not loaded\. Save it anew"),
    "state list": (state("list.pth"), r"list\.pth: holds a list, not weights by name"),
    "state junk": (state("junk.pth"), r"junk\.pth: is damaged, cut short, or no file of weights"),
    "state for a file": (["net.onnx", "--state", "net.pth", "--data", "data.npz"], r"--state: is for a class in a Python file"),
    "model missing": (model("nothing.onnx"), r"nothing\.onnx: does not exist; give \.onnx, \.pt2, or my_net\.py:Net"),
    "model without .py": (model("net:Net"), r"net:Net: does not exist; .* Perhaps you meant net\.py:Net"),
    "model folder": (model("folder"), r"folder: is a folder; give"),
    "model class not named": (model("net.py"), r"net\.py: holds classes; name one: net\.py:Net"),
    "model weights alone": (model("net.pth"), r"net\.pth: holds weights alone; name the class too"),
    "model of no kind": (model("data.npz"), r"data\.npz: is of no known kind"),
    "model file missing": (model("nothing.py:Net"), r"nothing\.py: does not exist; give the file with the class"),
    "model class missing": (model("net.py:Nett"), r"net\.py: has no 'Nett'; it has Net, Base"),
    "model no module": (model("net.py:number"), r"net\.py:number: is of type int; an nn\.Module is needed"),
    "model imports": (model("imports.py:Net"), r"imports\.py: cannot be run \(ModuleNotFoundError: No module named 'nothing_here'"),
    "model syntax": (model("syntax.py:Net"), r"syntax\.py: cannot be run \(SyntaxError: "),
    "model ends": (model("ends.py:Net"), r"ends\.py: ends the program when it is run; .*__main__"),
    "model arguments": (model("net.py:Sized"), r"net\.py:Sized: cannot be made without arguments .*'size'"),
    "model breaks": (model("net.py:Broken"), r"net\.py:Broken: cannot be made: RuntimeError: no weights here\."),
    "model inputs": (model("net.py:TwoInputs"), r"TwoInputs: cannot run on rows .*missing 1 required positional argument: 'z'"),
    "model names outputs": (model("net.py:Named"), r"Named: returns dict; return a tensor"),
    "model loses rows": (model("net.py:OneRow"), r"OneRow: makes \(5,\) of 2 rows; the first axis .* must count the rows"),
    "model decides": (model("net.py:Control"), r"Control: net\.py, line 28: if x\.sum\(\) > 0:: what is computed depends on a number"),
    "model random": (model("net.py:Random"), r"Random: says something else each time"),
    "model constant": (model("net.py:Constant"), r"Constant: returns what does not depend on its input"),
    "model idle": (model("net.py:Idle"), r"Idle: returns its input as it is; there is nothing to convert"),
    "model zero": (model("net.py:Zero"), r"Zero: says the same to all of 20 rows"),
    "model overflows": (model("net.py:Huge"), r"Huge: its outputs are not finite on this data"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_and_status_2(mistake: str, run: Run, tmp_path: Path) -> None:
    words, said = MISTAKES[mistake]
    status, text = run(*words, *([] if "--target" in words else SPEED))
    assert status == 2 and len(text.splitlines()) == 1 and text.startswith("levsha: "), text
    assert re.search(said, text), text
    assert not (tmp_path / "run" / "results.json").exists()


def test_everything_that_has_no_integer_form_is_named_at_once(run: Run) -> None:
    status, text = run(*model("net.py:Unknown"), *SPEED)
    first, *lines = text.splitlines()
    assert status == 2 and "2 operations cannot become integers" in first
    assert "net.py, line 22: x = torch.cumsum" in lines[0] and "cumsum is not known" in lines[0] and "sort" in lines[1]
    status, text = run(*model("net.py:Dropping"), *SPEED)
    assert status == 2 and "dropout in training mode" in text


def test_weights_that_were_not_given_are_pointed_out(run: Run) -> None:
    status, text = run(*model("net.py:Net"), *SPEED, "--accept-loss")
    assert status == 0 and "has the weights that it is made with" in text
    status, text = run(*model("net.py:made"), *SPEED, "--accept-loss")
    assert status == 0 and not text


def test_weights_within_a_checkpoint_are_found(run: Run) -> None:
    assert run(*state("nested.pth"), *SPEED, "--accept-loss") == (0, "")


def test_a_run_on_both_targets(run: Run, tmp_path: Path) -> None:
    for target in ("host", "uno"):
        status, text = run(*GIVEN, "--target", target, "--vectors", "30", "--weights", "int8", "int4", "--accept-loss")
        assert (status, text) == (0, "")
        found = json.loads((tmp_path / "run" / "results.json").read_text())
        assert [v["name"] for v in found["variants"]] == ["float", "float-int8", "float-int4"]
        assert all(v["mismatches"] == 0 and v["vectors"] == 30 for v in found["variants"][1:])
        assert "log_softmax at the end is left out" in " ".join(found["capture"]["notices"])
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"nets", "firmware", "certificates", "exports", "report.md", "tradeoff.png", "data.npz"} <= names


def test_earlier_results_outlive_a_mistake_and_other_files_are_left(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    assert run(*GIVEN, *SPEED, "--accept-loss")[0] == 0
    before = (tmp_path / "run" / "results.json").read_bytes()
    for words in (state("wide.pth"), data("nan.npz"), model("net.py:Random")):
        assert run(*words, *SPEED)[0] == 2
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("content", ['{"loss": 1}', "not ours", None])
def test_results_of_other_programs_are_not_replaced(content: str | None, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.json"
    path.parent.mkdir()
    path.mkdir() if content is None else path.write_text(content)
    status, text = run(*GIVEN, *SPEED)
    assert status == 2 and "results.json: was not written by Levsha; choose another folder with --out" in text
    assert content is None or path.read_text() == content


def test_an_out_that_cannot_be_written(run: Run) -> None:
    status, text = run(*GIVEN, *SPEED, "--out", "net.pth")
    assert status == 2 and "net.pth: cannot be written" in text


def test_without_a_compiler_it_still_converts(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(*GIVEN, *SPEED, "--accept-loss") == (0, "")
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["variants"][1]["note"] == "not measured: gcc missing; apt-get install gcc"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_earlier_results_and_is_finished_by_the_same_command(
    number: int, place: Path, tmp_path: Path, run: Run
) -> None:
    assert run(*GIVEN, *SPEED, "--accept-loss")[0] == 0
    before = (tmp_path / "run" / "results.json").read_bytes()
    words = [
        sys.executable,
        "-m",
        "levsha.cli",
        "convert",
        *GIVEN,
        "--weights",
        "int4",
        *SPEED,
        "--out",
        str(tmp_path / "run"),
    ]
    with subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "reading the model" in line:
                break
        os.kill(process.pid, number)
        assert process.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert process.stderr
        said = process.stderr.read()
    assert number == signal.SIGKILL or "stopped; what was finished is kept" in said
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    deadline = time.monotonic() + 20  # a worker ends within a second of its parent
    status, text = 2, "not run"
    while time.monotonic() < deadline:
        status, text = run(*GIVEN, *SPEED, "--accept-loss")
        if "another levsha run" not in text:
            break
        time.sleep(0.5)
    assert status == 0, text
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_python_says_the_same(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(place)
    held = np.load("data.npz")
    net = levsha.convert("net.py:Net", held["x"], held["y"], state="net.pth")
    assert net(held["x"][0]).shape == (5,) and net(held["x"]).shape == (40, 5)
    assert net.about["against"] == "y" and net.about["integer"]["agreement"] > 80
    net.save(tmp_path / "net.safetensors")
    again = levsha.load(tmp_path / "net.safetensors")
    assert (again(held["x"]) == net(held["x"])).all() and again.about == net.about
    assert net.check("host", 20).mismatches == 0 and net.sizes.parameters == 36 + 320
    with pytest.raises(LevshaError, match=r"the input has shape \(9, 8\); \(1, 8, 8\) is needed"):
        net(np.zeros((9, 8)))
    with pytest.raises(LevshaError, match="y: has 3 rows, x has 40"):
        levsha.convert("net.py:Net", held["x"], held["y"][:3], state="net.pth")
    with pytest.raises(LevshaError, match=r"x: is object of shape .*; numbers of shape \(rows, \.\.\.\) are needed"):
        levsha.convert("net.py:Net", np.array([{}, {}], object), state="net.pth")


def test_the_weights_of_a_recurrent_layer_are_counted(tmp_path: Path) -> None:
    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.head = torch.nn.GRU(3, 4, batch_first=True), torch.nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layers(x)[0][:, -1])

    net = levsha.convert(Last(), np.random.default_rng(0).normal(size=(20, 5, 3)))
    assert net.sizes.parameters == 3 * 4 * (3 + 4) + 4 * 2


def test_a_table_with_its_answers_among_the_inputs(run: Run, place: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4)).round(2)
    text = "\n".join(["a,b,c,answer", *(",".join(map(str, row)) for row in rows)])
    (place / "table.csv").write_text(text)
    exported = torch.export.export(
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)), (torch.randn(2, 3),)
    )
    torch.export.save(exported, place / "table.pt2")
    status, text = run("table.pt2", "--data", "table.csv", *SPEED)
    assert (
        status == 2 and "rows have shape (4,); table takes (3,). Of a table, --target-column names the answers" in text
    )
    assert run("table.pt2", "--data", "table.csv", "--target-column", "answer", *SPEED, "--accept-loss") == (0, "")


def test_settings_are_checked_before_anything_is_read() -> None:
    with pytest.raises(LevshaError, match="format 'int7': unknown"):
        Convert(model="a", data="b", layer=("conv1=int7",)).check()
