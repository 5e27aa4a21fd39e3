"""Comments, strings and numbers in C that hold whatever a person called things."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np


def comment(lines: Iterable[str]) -> str:
    """Return lines as one comment: none of them can end it, nest another, or be a trigraph.

    >>> comment(["a */ b", "/* ???"])
    '/* a * / b\\n   / * ? ? ? */'
    """
    return "/* " + "\n   ".join(re.sub(r"\?(?=\?)", "? ", plain(line)) for line in lines) + " */"


def plain(text: str) -> str:
    """Return one line of printable characters that neither ends nor begins a comment of C."""
    return _printable(text).replace("*/", "* /").replace("/*", "/ *").rstrip()


def quoted(text: str) -> str:
    r"""Return a string literal: quotes, backslashes and trigraphs are escaped, what cannot be printed is a space.

    >>> print(quoted('a "b" \\ ??)'))
    "a \"b\" \\ ?\?)"
    """
    safe = _printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"(?<=\?)\?", r"\\?", safe) + '"'


def braced(items: Iterable[object] | np.ndarray) -> str:
    """Return an initialiser of numbers or texts that are C already."""
    listed = np.ravel(items).tolist() if isinstance(items, np.ndarray) else items
    return "{" + ", ".join(map(str, listed)) + "}"


def _printable(text: str) -> str:
    """Lone halves of surrogate pairs, line separators and marks of writing direction are none."""
    return "".join(c if c.isprintable() else " " for c in text)
