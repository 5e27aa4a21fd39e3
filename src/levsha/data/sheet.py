"""A CSV file as named columns of text, each row with its line; the library pandas cuts the cells."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from levsha.data.columns import read_number
from levsha.data.dialect import DELIMITERS, WANTED, Written, read_written, split_cells
from levsha.errors import LevshaError


@dataclass(frozen=True)
class Sheet:
    """The cells of a file below its header; legend: N rows, C columns."""

    path: Path
    headers: tuple[str, ...]
    cell_NC: np.ndarray  # of str
    line_N: np.ndarray  # on which a row begins, from 1
    header_line: int
    width: int  # cells of the header, those of empty columns without a name included
    written: Written
    notices: tuple[str, ...]

    def check_quotes(self) -> None:
        """Raise LevshaError where a quote is out of place: pandas reads over it, and a cell looks odd."""
        _check_shape(self.path, self.written, self.width)

    def describe_dialect(self) -> str:
        """Return how the file is written, in words."""
        encoding = f", in {self.written.encoding}" if self.written.encoding else ""
        return f"separated by {DELIMITERS[self.written.delimiter]}{encoding}"


def read_sheet(path: Path) -> Sheet:
    """Return a file's cells; blank lines, rows of empty cells alone and comments are left out.

    LevshaError where it is no CSV, where a row has more or fewer cells than the header, or a column's name is missing.
    """
    written = read_written(path)
    filled = [at for at, line in enumerate(written.lines) if line.strip(f" {written.delimiter}\t\"'")]
    if not filled:
        raise LevshaError(f"{path}: is empty; {WANTED}.")
    try:
        width = len(next(iter(split_cells(written.lines[filled[0] :], written.delimiter))))
    except csv.Error as error:
        raise LevshaError(f"{path}: line {filled[0] + 1}: is not CSV ({error}); correct the quotes in it.") from None
    cell_RC = _cut_cells(path, written, width)
    line_R = np.arange(1, len(cell_RC) + 1)
    if any('"' in line for line in written.lines):  # a quoted cell may hold line breaks
        breaks_R = np.array([sum(cell.count("\n") for cell in row) for row in cell_RC.tolist()], dtype=np.int64)
        line_R[1:] += np.cumsum(breaks_R)[:-1]
    full_R = np.array([any(cell.strip() for cell in row) for row in cell_RC.tolist()], dtype=bool)
    if not full_R.any():
        raise LevshaError(f"{path}: is empty; {WANTED}.")
    return _named(path, written, cell_RC[full_R], line_R[full_R])


def _cut_cells(path: Path, written: Written, width: int) -> np.ndarray:
    """Return a file's cells, a row for each record, blank ones included, so that rows can be counted back to lines."""
    import pandas  # takes half a second, and only a file needs it

    try:
        frame = pandas.read_csv(
            io.StringIO("\n".join(written.lines)), sep=written.delimiter, header=None, names=range(width + 1), index_col=False,
            dtype=object, keep_default_na=False, na_filter=False, skip_blank_lines=False, skipinitialspace=True,
        )  # fmt: skip
    except pandas.errors.ParserError as error:
        _check_shape(path, written, width)
        raise LevshaError(f"{path}: is not CSV ({str(error).strip()}); correct that line.") from None
    cell_RC = frame.to_numpy()
    # pandas fills up a short row with empty cells, so a row has to be counted where the last cell is empty
    doubtful = (cell_RC[:, width - 1] == "").any() or (cell_RC[:, width] != "").any()
    if doubtful or any(line.rstrip(" ").endswith(written.delimiter) for line in written.lines):
        _check_shape(path, written, width)
    return cell_RC[:, :width]


def _check_shape(path: Path, written: Written, width: int) -> None:
    """Raise LevshaError for the first row that has another number of cells than the header, or a quote out of place."""
    reader, begins = split_cells(written.lines, written.delimiter, strict=True), 1
    try:
        for row in reader:
            if len(row) != width and any(cell.strip() for cell in row):
                found = f"has {len(row)} cells, the header has {width}"
                raise LevshaError(f"{path}: line {begins}: {found}; write one value a column, with a decimal point.")
            begins = reader.line_num + 1
    except csv.Error as error:
        raise LevshaError(f"{path}: line {begins}: is not CSV ({error}); correct the quotes in it.") from None


def _named(path: Path, written: Written, cell_RC: np.ndarray, line_R: np.ndarray) -> Sheet:
    """Return the sheet; columns at its end that have neither name nor cells are left out."""
    names, cell_NC = [name.replace("\xa0", " ").strip() for name in cell_RC[0]], cell_RC[1:]
    width, notices = len(names), written.notices
    while width > 1 and not names[width - 1] and not any(cell.strip() for cell in cell_NC[:, width - 1]):
        width -= 1
    if width < len(names):
        notices += (f"{len(names) - width} empty columns without a name, at the end, are left out.",)
    if written.comments:
        first = min(written.comments) + 1
        notices += (f"Comments, lines that begin with #, are left out: {len(written.comments)}, first line {first}.",)
    _check_header(f"{path}: line {line_R[0]}", names[:width])
    begins, line_N = int(line_R[0]), line_R[1:]
    return Sheet(path, tuple(names[:width]), cell_NC[:, :width], line_N, begins, len(names), written, notices)


def _check_header(where: str, names: list[str]) -> None:
    if all(read_number(name.replace(",", ".")) is not None for name in names):
        raise LevshaError(f"{where}: no header: first line must hold names, not just numbers; add a line of names.")
    for at, name in enumerate(names):
        if (at and not name) or not name.isprintable():  # a line break would get into reports and C comments
            raise LevshaError(f"{where}, column {at + 1}: the name is {name!r}; give every column a printable name.")
        if names.index(name) < at:
            first = names.index(name) + 1
            raise LevshaError(f"{where}, column {at + 1}: {name!r} names column {first} too; rename one of them.")
