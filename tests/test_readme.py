"""The Python in README runs as printed, and every picture and page it points to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/architecture.md", "docs/formats.md", "docs/lesson.md", "docs/lesson.ru.md")


def test_the_python_in_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    names = {path.name for path in (tmp_path / "my-net").iterdir()}
    assert names == {"metrics.jsonl", "model.safetensors", "checkpoints", "training.json"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), f"{page}: {target}"
