"""Columns of a CSV file: cells as numbers, what is missing, names and units; legend: N rows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from levsha.errors import LevshaError

LARGEST = 1e30  # a cell beyond it would overflow once squared in float32 or summed
SMALLEST = 1e-30  # values that differ by less would underflow once squared
MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "-nan", "null", "-"))
TRUTH = {"true": 1.0, "false": 0.0}
TIME = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(\D|$)|(\d{4}-\d\d-\d\dT)?\d{1,2}:\d\d(\D|$)")
THOUSANDS = re.compile(r"[+-]?[1-9]\d?\d?,\d{3}")
UNIT = re.compile(
    r"(?P<name>.*\S)(,\s+(?P<a>[^\s,;()\[\]]{1,12})|\s*\[(?P<b>[^\[\]]{1,20})\]|\s*\((?P<c>[^()]{1,20})\))"
)


def is_missing(cell: str) -> bool:
    """Return whether a stripped cell stands for no value: empty, -, NA, N/A, NaN or null, in capitals or not."""
    return cell.lower() in MISSING


def read_number(cell: str) -> float | None:
    """Return the number in a cell, None where there is none that is finite and at most LARGEST in size.

    >>> read_number(" -1.5e3 "), read_number("1_000"), read_number("nan"), read_number("1e31")
    (-1500.0, None, None, None)
    """
    try:
        value = float(cell)
    except ValueError:
        return None
    # 1_000 is a number to Python alone
    return value if abs(value) <= LARGEST and "_" not in cell else None


def split_unit(header: str) -> tuple[str, str]:
    """Return the name and the unit in a header, "" where it has none.

    >>> split_unit("Temp, °C"), split_unit("Sun [kW/m2]"), split_unit("T (°C)"), split_unit("g(-110 m)"), split_unit("a,b")
    (('Temp', '°C'), ('Sun', 'kW/m2'), ('T', '°C'), ('g(-110 m)', ''), ('a,b', ''))
    """
    found = UNIT.fullmatch(header)
    if not found:
        return header, ""
    name, unit = found["name"].strip(), (found["a"] or found["b"] or found["c"]).strip()
    # f(x) is a name, T(°C) is not; nor is the end of a list of words a unit
    called = found["c"] is not None and header[found.end("name")] == "(" and not re.match(r"[°%µμΩ]", unit)
    listed = found["a"] is not None and "," in name
    return (header, "") if called or listed or not re.search(r"[^\W\d_]|[°%‰]", unit) else (name, unit)


def split_units(headers: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and units of headers; whole headers where two names would become one."""
    pairs = [split_unit(header) for header in headers]
    names = [name for name, _ in pairs]
    return pairs if len(set(names)) == len(names) else [(header, "") for header in headers]


@dataclass(frozen=True)
class Column:
    """A column of a file, its cells stripped; value_N: nan where a cell holds no number; line_N: where its rows begin."""

    path: Path
    header: str
    at: int  # from 1
    line_N: np.ndarray
    cells: tuple[str, ...]
    value_N: np.ndarray
    missing_N: np.ndarray
    mark: str = "point"  # of its decimals

    @property
    def where(self) -> str:
        """What to call it in an error."""
        return f"{self.path}: column {self.at} {self.header!r}"

    def place(self, n: int) -> str:
        """What to call one of its cells in an error."""
        return f"{self.path}: line {self.line_N[n]}, column {self.at} {self.header!r}"

    @cached_property
    def bad_N(self) -> np.ndarray:
        """Which cells hold something that is no number."""
        return np.isnan(self.value_N) & ~self.missing_N

    @property
    def is_text(self) -> bool:
        """Whether at least half of the cells that hold something hold no number."""
        bad = int(self.bad_N.sum())
        return bad > 0 and 2 * bad >= int((~self.missing_N).sum())

    @property
    def is_truth(self) -> bool:
        """Whether every cell that holds something says true or false."""
        words = {self.cells[n].lower() for n in np.flatnonzero(~self.missing_N)} if self.bad_N.any() else set()
        return bool(words) and words <= set(TRUTH)

    @property
    def looks_like_time(self) -> bool:
        """Whether the first cells with words in them are dates or hours."""
        words = [self.cells[n] for n in np.flatnonzero(self.bad_N)[:5]]
        return bool(words) and all(TIME.match(word) for word in words)

    @property
    def counts_up(self) -> bool:
        """Whether its numbers grow by one from row to row."""
        return len(self.value_N) > 1 and bool((np.diff(self.value_N) == 1).all())

    def as_truth(self) -> Column:
        """Return the column with 1 for true and 0 for false."""
        value_N = np.array([TRUTH.get(cell.lower(), math.nan) for cell in self.cells])
        return replace(self, value_N=value_N)

    def kept(self, row_N: np.ndarray) -> Column:
        """Return the column with only the chosen rows (bool)."""
        cells = tuple(cell for cell, keep in zip(self.cells, row_N.tolist(), strict=True) if keep)
        arrays = {"line_N": self.line_N[row_N], "value_N": self.value_N[row_N], "missing_N": self.missing_N[row_N]}
        return replace(self, cells=cells, **arrays)

    def with_decimal_commas(self) -> Column:
        """Return the column with 13,7 read as 13.7; cells with a decimal point are no numbers any more."""
        pointed = [cell.replace(".", "?").replace(",", ".") for cell in self.cells]
        return replace(self, value_N=read_numbers(pointed), mark="comma")


def read_column(path: Path, header: str, at: int, line_N: np.ndarray, cells: Sequence[str]) -> Column:
    """Return a column of cells; numbers have a decimal point."""
    stripped = tuple(cell.strip() for cell in cells)
    value_N = read_numbers(stripped)
    missing_N = np.isnan(value_N)
    missing_N[missing_N] = [is_missing(stripped[n]) for n in np.flatnonzero(missing_N)]
    return Column(path, header, at, line_N, stripped, value_N, missing_N)


def read_numbers(cells: Sequence[str]) -> np.ndarray:
    """Return the numbers in cells (N,), nan where there is none: read_number for many."""
    try:
        value_N = np.array(cells, dtype=object).astype(np.float64)
        if (np.abs(value_N) <= LARGEST).all() and "_" not in "".join(cells):
            return value_N
    except ValueError:
        pass
    numbers = [read_number(cell) for cell in cells]
    return np.array([math.nan if number is None else number for number in numbers])


def find_decimal_commas(columns: Sequence[Column]) -> bool:
    """Return whether the numbers have decimal commas: where more of them have one than have a point.

    Nothing tells 1,234 from a thousand where every comma is followed by three digits and other cells of the column have
    none: LevshaError.
    """
    rows_of = [[n for n in np.flatnonzero(column.bad_N).tolist() if _has_comma(column.cells[n])] for column in columns]
    commas = sum(map(len, rows_of))
    if not commas or commas <= sum(_count_points(column) for column in columns):
        return False
    pairs = [(column, rows) for column, rows in zip(columns, rows_of, strict=True) if rows]
    if all(THOUSANDS.fullmatch(column.cells[n]) for column, rows in pairs for n in rows):
        for column, rows in pairs:
            if len(rows) < len(column.cells) - int(column.missing_N.sum()):
                raise LevshaError(
                    f"{column.place(rows[0])}: is {column.cells[rows[0]]!r}: a thousand or a decimal comma? Write it without "
                    "a mark of thousands, or with a decimal point."
                )
    return True


def _has_comma(cell: str) -> bool:
    return "." not in cell and read_number(cell.replace(",", ".")) is not None


def _count_points(column: Column) -> int:
    return sum("." in column.cells[n] for n in np.flatnonzero(~np.isnan(column.value_N)))


def check_numbers(column: Column) -> None:
    """Raise LevshaError where a cell holds no number."""
    bad_n = np.flatnonzero(column.bad_N)
    if not len(bad_n):
        return
    more = f" (and {len(bad_n) - 1} more cells of this column are no numbers)" if len(bad_n) > 1 else ""
    raise LevshaError(
        f"{column.place(bad_n[0])}: is {column.cells[bad_n[0]][:40]!r}{more}; allowed are finite numbers with a decimal "
        f"{column.mark}, without marks of thousands, at most {LARGEST:g} in size; correct it or delete the line."
    )


def check_scale(column: Column) -> None:
    """Raise LevshaError where the numbers differ, but by so little that their squares would be zero."""
    spread = float(column.value_N.max() - column.value_N.min())
    if 0 < spread < SMALLEST:
        raise LevshaError(
            f"{column.where}: its values differ by {spread:g} at most; allowed is {SMALLEST:g} or more; give it in a "
            "larger scale, such as another unit."
        )
