"""How a CSV file is written: its encoding, its comments and the mark between its cells."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from levsha.data.columns import is_missing, read_number
from levsha.errors import LevshaError

if TYPE_CHECKING:
    from _csv import Reader

WANTED = "give a .csv file: a header of names, then rows of numbers"
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SAMPLE_LINES = 500  # enough to see which mark cuts the rows alike, whatever the header holds
GZIP, UTF_16 = b"\x1f\x8b", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass
class Written:
    """A CSV file's lines, comments emptied, and how it is written; line 1 is at 0."""

    lines: list[str]
    encoding: str  # "" where it is UTF-8
    comments: dict[int, str]  # what stood on the lines that were emptied
    delimiter: str = ""
    notices: tuple[str, ...] = ()


def read_written(path: Path) -> Written:
    """Return a file's lines and how it is written; .gz is unpacked. LevshaError where it is no text.

    Comments are the lines that begin with #, outside quotes. A first line `sep=;`, as Excel writes it, decides the
    delimiter; without it, that of , ; tab and | decides that cuts most rows below the header alike, into clean cells.
    """
    text, encoding, notices = _read_text(path)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    written = Written(lines, encoding, _empty_comments(lines), notices=notices)
    first = next((at for at, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise LevshaError(f"{path}: is empty; {WANTED}.")
    written.delimiter = _named_delimiter(lines[first])
    if written.delimiter:
        lines[first] = ""
    else:
        written.delimiter = find_delimiter(lines)
    _take_header_from_comment(written)
    return written


def _read_text(path: Path) -> tuple[str, str, tuple[str, ...]]:
    """Return a file's text, the name of its encoding ("" for UTF-8) and what to say of it."""
    raw = _read_bytes(path)
    if raw.startswith(UTF_16):
        try:
            text = raw.decode("utf-16")
        except UnicodeDecodeError as error:
            raise LevshaError(f"{path}: begins as UTF-16 and is not ({error.reason}); save it as UTF-8.") from None
        return text, "UTF-16", ()
    if b"\0" in raw:
        raise LevshaError(f"{path}: is no text (a zero byte at {raw.index(0)}); {WANTED}, as UTF-8.")
    try:
        return raw.decode("utf-8-sig"), "", ()
    except UnicodeDecodeError as error:
        text, encoding = _read_old_text(raw.removeprefix(codecs.BOM_UTF8))
        found = f"line {_line_of(raw, error.start)}: byte 0x{raw[error.start]:02x} is not UTF-8"
        return text, encoding, (f"{found}; the file was read as {encoding}: if names look wrong, save it as UTF-8.",)


def _read_old_text(raw: bytes) -> tuple[str, str]:
    try:
        return raw.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1"


def _line_of(raw: bytes, at: int) -> int:
    before = raw[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(GZIP) else raw
    except IsADirectoryError:
        raise LevshaError(f"{path}: is a folder; {WANTED}.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LevshaError(f"{path}: is damaged gzip ({error}); pack it again, or give the .csv itself.") from None
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}); {WANTED}.") from None


def _empty_comments(lines: list[str]) -> dict[int, str]:
    """Empty the lines that begin with #, unless a quoted cell began on a line before; return what they were."""
    comments: dict[int, str] = {}
    quoted = False
    for at, line in enumerate(lines):
        if not quoted and line.lstrip().startswith("#"):
            comments[at], lines[at] = line, ""
        elif line.count('"') % 2:
            quoted = not quoted
    return comments


def _named_delimiter(line: str) -> str:
    r"""Return the delimiter of a line such as sep=; and "" where it is no such line.

    >>> _named_delimiter("sep=;"), _named_delimiter("SEP=\t"), _named_delimiter("sep=x"), _named_delimiter("sep,y")
    (';', '\t', '', '')
    """
    word = line.strip(' "')
    return word[4] if len(word) == 5 and word[:4].lower() == "sep=" and word[4] in DELIMITERS else ""


def find_delimiter(lines: Sequence[str]) -> str:
    r"""Return which of , ; tab and | cuts a table's rows, by its rows below the header; a comma where none does.

    >>> find_delimiter(["Temp, °C;Sun, kW", "13,7;1,5", "15,7;1,0"]), find_delimiter(["x;a, b", "1;2"])
    (';', ';')
    """
    sample = [line for line in lines[: 20 * SAMPLE_LINES] if line.strip()][:SAMPLE_LINES]
    return max(DELIMITERS, key=lambda mark: _cleanness(sample, mark))


def _cleanness(lines: list[str], delimiter: str) -> tuple[float, int]:
    """How well a delimiter fits: the share of rows cut alike, times how clean the cells are; then the header's cells."""
    try:
        header, *rows = list(split_cells(lines, delimiter))
    except (csv.Error, ValueError):
        return 0, 0
    counts = [len(row) for row in rows]
    commonest = max(sorted(set(counts)), key=counts.count, default=0)
    if commonest < 2:
        return 0, 0 if rows else len(header)
    cells = [cell for row in rows for cell in row]
    weight = sum(_weight(cell.strip(), delimiter) for cell in cells) / len(cells)
    return counts.count(commonest) / len(rows) * weight, len(header)


def _weight(cell: str, delimiter: str) -> float:
    """1 for a number or a missing cell; less for a word, nothing for one with another delimiter in it."""
    if is_missing(cell) or read_number(cell if delimiter == "," else cell.replace(",", ".")) is not None:
        return 1
    return 0 if any(mark in cell for mark in DELIMITERS) else 0.5


def split_cells(lines: Iterable[str], delimiter: str, strict: bool = False) -> Reader:
    """Return csv's reader of lines; strict: a quote that is out of place is a csv.Error."""
    ended = (f"{line}\n" for line in lines)
    return csv.reader(ended, delimiter=delimiter, skipinitialspace=True, strict=strict)


def _take_header_from_comment(written: Written) -> None:
    """Take the last comment above a first row of numbers alone as the header, if it has as many cells: numpy writes so."""
    lines = written.lines
    first = next((at for at, line in enumerate(lines) if line.strip()), None)
    above = [at for at in written.comments if first is not None and at < first]
    if first is None or not above:
        return
    row = next(iter(split_cells([lines[first]], written.delimiter)))
    header = written.comments[above[-1]].lstrip().removeprefix("#").strip(" ")
    names = next(iter(split_cells([header], written.delimiter)), [])
    if len(names) == len(row) and all(read_number(cell.replace(",", ".")) is not None for cell in row):
        del written.comments[above[-1]]
        lines[above[-1]] = header
        written.notices += (f"Line {above[-1] + 1}, a comment, was read as the header: {header}.",)
