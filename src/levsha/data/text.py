"""A user's text file -> its text and its lines."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from levsha.errors import LevshaError

LINE_END = re.compile(r"\r\n|\n|\r")


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text: they end at \n, \r\n or \r and nowhere else, as editors count them.

    >>> lines_of("a\nb\r\n\rc\x0bd\x85e\u2028f"), lines_of("a\n"), lines_of("")
    (['a', 'b', '', 'c\x0bd\x85e\u2028f'], ['a'], [])
    """
    lines = LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def read_text(path: Path, wanted: str) -> str:
    """Return the text of a UTF-8 file, plain or .gz; LevshaError says what is wrong with it and that `wanted` is to be given."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except IsADirectoryError:
        raise LevshaError(f"{path}: is a directory; give a text file of {wanted}, plain or .gz.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LevshaError(f"{path}: is a damaged or truncated .gz file ({error}); get it again.") from None
    except OSError as error:
        raise LevshaError(
            f"{path}: cannot be read ({error.strerror}); give a text file of {wanted}, plain or .gz."
        ) from None
    if not raw.strip():
        raise LevshaError(f"{path}: is empty; write {wanted} into it.")
    if b"\0" in raw:
        raise LevshaError(
            f"{path}: is binary (a zero byte at {raw.index(0)}); give a text file of {wanted}, plain or .gz."
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, byte = error.object[: error.start], error.object[error.start]  # error.object has no byte order mark
        line = len(LINE_END.findall(before.decode("utf-8"))) + 1
        raise LevshaError(f"{path}: line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8.") from None
