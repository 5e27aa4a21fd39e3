"""The lesson, in each language: its blocks run in order, print what the text shows and draw the pictures it shows.

python -m tests.test_lesson draws docs/lesson/*.png anew, from the English blocks.
"""

import ast
import contextlib
import io
import re
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ENGLISH, RUSSIAN = DOCS / "lesson.md", DOCS / "lesson.ru.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^!\[[^\]]+\]\(lesson/([^)]+\.png)\)$", re.MULTILINE)
SECTION = re.compile(r"^## (\d+)\. ", re.MULTILINE)
LARGEST_PICTURE = 60 * 1024


class Block(NamedTuple):
    """A fenced block; line: of its fence; close: no more than an empty line lies between it and the block before."""

    kind: str
    text: str
    line: int
    close: bool


def blocks(text: str) -> list[Block]:
    found, end = [], 0
    for match in FENCE.finditer(text):
        close = bool(found) and text[end : match.start()] == "\n\n"
        found.append(Block(match[1], match[2], text.count("\n", 0, match.start()) + 1, close))
        end = match.end()
    return found


def run(path: Path, folder: Path) -> list[tuple[Block, str, str]]:
    """Run the blocks of a lesson in a folder; return each with what the text shows and what it printed."""
    import matplotlib

    there_are, ran = blocks(path.read_text(encoding="utf-8")), []
    namespace: dict[str, Any] = {"__name__": "lesson"}
    with matplotlib.rc_context(), contextlib.chdir(folder):
        for block, after in zip(there_are, [*there_are[1:], None], strict=True):
            if block.kind == "python":
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile("\n" * block.line + block.text, str(path), "exec"), namespace)
                shown = after.text if after and after.close and after.kind == "text" else ""
                ran.append((block, shown, printed.getvalue()))
    return ran


def without_comments(block: Block) -> str:
    if block.kind == "python":
        return ast.dump(ast.parse(block.text))
    return re.sub(r"[ \t]*#.*", "", block.text)


@pytest.mark.parametrize("path", [ENGLISH, RUSSIAN], ids=lambda path: path.name)
def test_lesson_is_true(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for block, shown, printed in run(path, tmp_path):
        assert printed == shown, f"{path.name}, line {block.line}: this is what the block prints"
    pictures = SHOWN.findall(path.read_text(encoding="utf-8"))
    drawn = sorted(picture.name for picture in (tmp_path / "lesson").iterdir())
    assert drawn == sorted(pictures)


def test_every_output_stands_below_its_block() -> None:
    for path in (ENGLISH, RUSSIAN):
        there_are = blocks(path.read_text(encoding="utf-8"))
        for before, block in pairwise(there_are):
            assert block.kind in ("python", "text", "sh"), f"{path.name}, line {block.line}"
            assert block.kind != "text" or (before.kind == "python" and block.close), f"{path.name}, line {block.line}"


def test_languages_agree() -> None:
    english, russian = ENGLISH.read_text(encoding="utf-8"), RUSSIAN.read_text(encoding="utf-8")
    assert SHOWN.findall(english) == SHOWN.findall(russian)
    assert SECTION.findall(english) == SECTION.findall(russian) == [str(n) for n in range(1, 13)]
    for one, other in zip(blocks(english), blocks(russian), strict=True):
        where = f"lines {one.line} and {other.line}"
        assert one.kind == other.kind and without_comments(one) == without_comments(other), where


def test_pictures_are_there_and_small() -> None:
    pictures = sorted((DOCS / "lesson").iterdir())
    assert [picture.name for picture in pictures] == sorted(SHOWN.findall(ENGLISH.read_text(encoding="utf-8")))
    assert all(picture.stat().st_size <= LARGEST_PICTURE for picture in pictures)


def main() -> None:
    """Draw the pictures of the lesson into docs/lesson."""
    with tempfile.TemporaryDirectory() as folder:
        run(ENGLISH, Path(folder))
        shutil.rmtree(DOCS / "lesson", ignore_errors=True)
        shutil.copytree(Path(folder) / "lesson", DOCS / "lesson")


if __name__ == "__main__":
    main()
