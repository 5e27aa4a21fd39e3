"""docs/convert.md: its commands and its Python run, in the order of the page; the model is trained for a moment only."""

import re
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from levsha.cli import main
from levsha.jobs import run_here
from levsha.recipes import pipeline
from tests.test_examples import load

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "convert.md").read_text()
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = ["--target", "host", "--vectors", "20", "--accept-loss"]
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page's first line makes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "run_jobs", lambda jobs, processes, console: run_here(jobs, console))
    digits = load("digits_2d")
    (x, y), test = digits.load()
    torch.save(digits.train(x[:500], y[:500], 2).state_dict(), "digits_2d.pth")
    np.savez("digits_2d.npz", x=test[0][:200], y=test[1][:200])
    return tmp_path


def test_the_page_runs_from_top_to_bottom(place: Path) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    space: dict[str, Any] = {}
    ran = 0
    for kind, text in FENCE.findall(PAGE):
        if missing and "chip.txt" in text and kind == "python":
            continue
        if kind == "python":
            exec(compile(text, "docs/convert.md", "exec"), space)
            continue
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            if command.startswith("cat "):
                (place / command.removeprefix("cat ")).write_text(said)
            elif not any(tool in command or "chip.txt" in command for tool in missing):
                run(command, place)
                ran += 1
    assert ran >= 10


def run(line: str, place: Path) -> None:
    """Run a line of the page; levsha in this process, since torch takes seconds to import."""
    line, _, comment = line.partition("    # status ")
    folder = place
    for part in line.replace("REPOSITORY", str(ROOT)).split(" && "):
        words = shlex.split(part)
        if words[0] == "cd":
            folder = place / words[1]
        elif words[0] == "levsha":
            quick = ["1" if before == "--fine-tune" else word for before, word in pairwise(words)]
            assert main([*quick, *(QUICK if words[1] == "convert" else [])]) == int(comment or 0), line
        elif words[0] != "python":  # the training, which was done
            subprocess.run(["sh", "-c", part], cwd=folder, check=True, capture_output=True, timeout=100)


def test_errors_that_the_page_explains_are_said_somewhere() -> None:
    source = " ".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    rows = re.search(r"^\| what is said .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert rows
    fixed = re.compile(r"\d+\.\.\d+|\b\d+\b|\bN\b|\bNet\b|\.\.\.|\(64,\): my_net\.py|, line|avr-gcc|two_bit|'z'")
    for said in re.findall(r"^\|[^`|]*`([^`]*)`", rows[0], re.MULTILINE):
        parts = [part.strip() for part in fixed.split(said) if len(part.strip()) > 4]
        assert parts and all(part in source or "required positional argument" in part for part in parts), said


def test_every_flag_of_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    rows = re.search(r"^## Flags\n.*?^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert rows
    assert set(re.findall(r"--[a-z][\w-]*", rows[0])) <= known
