"""Words of a command line -> a dataclass; every mistake in one line."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, Any

from levsha.errors import LevshaError

if TYPE_CHECKING:
    from rich.console import Console


def parse(settings: type[Any], words: list[str], program: str, default: Any = None) -> Any:
    """Return the dataclass that the words describe; LevshaError in one line where they do not."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = {"default": default} if default is not None else {}
            return tyro.cli(settings, args=words, prog=program, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise LevshaError(f"{_first_sentence(said.getvalue())} See {program} --help.") from None


def _first_sentence(box: str) -> str:
    """The message in tyro's box, in one line: what stands between the title and the first rule."""
    lines = [line.strip(" │|╭╮╰╯+") for line in box.splitlines()]
    lines = [line for line in lines if line][1:]
    while lines and not lines[0].strip("─-"):  # without a frame, the title has a rule under it
        lines = lines[1:]
    rule = next((at for at, line in enumerate(lines) if not line.strip("─-")), len(lines))
    message = " ".join(lines[:rule]).rstrip(".") or "the arguments are malformed"
    near = [line.split()[0] for line in lines[rule:] if line.startswith("--") and line.strip("-")]
    hint = f" Perhaps you meant {near[0]}." if near and near[0] not in message else ""
    return f"{message}.{hint}"


def console() -> Console:
    """Return where a command prints: the terminal, or 132 columns of text."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=132)


def refuse_words(command: str, words: list[str]) -> None:
    """Raise LevshaError where a command that takes no arguments was given some."""
    if words and words[0] not in ("-h", "--help"):
        raise LevshaError(f"{command}: takes no arguments; found {words[0]!r}.")
