"""README's promises about itself: its Python runs, in the order of the page, its commands exist, it is short; links of every page lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from levsha.cli import main
from levsha.commands import COMMANDS
from levsha.recipes import RECIPES
from tests.test_examples import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
LINES, CODE_WITHIN, COLUMNS, WIDTH = 110, 25, 7, 165


def test_the_python_in_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example that the page converts lies in the folder, trained for a moment."""
    monkeypatch.chdir(tmp_path)
    Path("digits_2d.py").write_text((ROOT / "examples" / "digits_2d.py").read_text())
    digits = load("digits_2d")
    (x, y), _ = digits.load()
    torch.save(digits.train(x[:300], y[:300], 1).state_dict(), "digits_2d.pth")
    np.savez("digits_2d.npz", x=x[:200], y=y[:200])
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    names = {path.name for path in (tmp_path / "my-net").iterdir()}
    assert names == {"metrics.jsonl", "model.safetensors", "checkpoints", "training.json"}


def test_readme_is_short_and_shows_code_at_once() -> None:
    lines = README.splitlines()
    assert len(lines) <= LINES and max(map(len, lines)) <= WIDTH
    assert any(line.startswith("```") for line in lines[:CODE_WITHIN])
    tables = [line for line in lines if line.startswith("|---")]
    assert len(tables) == 1 and tables[0].count("|") - 1 <= COLUMNS


@pytest.mark.parametrize("page", ["README.md", "docs/figures.md"])
def test_commands_of_a_page_exist_with_their_flags(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in re.findall(r"^(?:\$ )?\.venv/bin/levsha (.*?)(?:\s+#.*)?$", (ROOT / page).read_text(), re.MULTILINE):
        command, *rest = shlex.split(words)
        assert command in COMMANDS, words
        about = [command, rest[0]] if rest and rest[0] in RECIPES else [command]
        with pytest.raises(SystemExit):
            main([*about, "--help"])
        known = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out))
        used = {word for word in rest if word.startswith("--")}
        assert used <= known, f"{words}: there is no {used - known}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/figures.md"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    """Files are named from the repository's root or from the package; x stands for a new one."""
    for name in re.findall(r"`([a-z]\w*/[\w./]+\.(?:py|h|c|json|sh|txt))`", (ROOT / page).read_text()):
        if not re.search(r"/x[./]", name):
            assert (ROOT / name).exists() or (ROOT / "src" / "levsha" / name).exists(), f"{page}: {name}"
