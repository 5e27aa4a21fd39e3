"""Tables of numbers to learn from: buried spheres, diabetes, digits, or the user's own CSV file."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from levsha.errors import LevshaError, check_range

FEWEST_ROWS, MOST_ROWS = 20, 1_000_000
WANTED = "give a .csv file: a header of names, then rows of numbers"
LARGEST = 1e30  # a CSV cell beyond it would overflow once squared in float32 or summed
GRAVITATION, MICROGAL = 6.67430e-11, 1e8  # m^3 / (kg s^2), CODATA 2018; microgal in 1 m/s^2
STATIONS_M = np.linspace(-110, 110, 12)
# Wide enough that least squares fails, big enough that the noise of a field gravimeter, 2 uGal, hides no sphere.
CENTRE_M, DEPTH_M, RADIUS_M, CONTRAST_KG_M3 = (-40, 40), (20, 60), (10, 20), (300, 800)


@dataclass(frozen=True)
class Table:
    """Examples as columns of numbers; legend: N examples, I inputs, O outputs."""

    name: str
    about: str  # one sentence: what it is, where it is from, under which licence
    x_NI: np.ndarray  # float64, finite
    y_NO: np.ndarray  # numbers: float64 (N, O); classes: int64 labels (N,) from 0
    features: tuple[str, ...]
    units: tuple[str, ...]  # of the features, "" where there is none
    outputs: tuple[str, ...]  # names of the targets, or of the classes
    output_unit: str  # "" for classes
    image: tuple[int, int] | None = None  # (rows, columns) where the inputs are a picture

    @property
    def is_classes(self) -> bool:
        """Whether y_NO holds class labels and not numbers."""
        return self.y_NO.ndim == 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 of inputs, targets, names and units; not of the file's name."""
        names = [self.x_NI.shape, self.y_NO.shape, self.features, self.units, self.outputs, self.output_unit]
        sha = hashlib.sha256(repr(names).encode())
        sha.update(self.x_NI.astype("<f8").tobytes())
        sha.update(self.y_NO.astype("<i8" if self.is_classes else "<f8").tobytes())
        return sha.hexdigest()


def sphere_gravity(mass_N: np.ndarray, centre_N: np.ndarray, depth_N: np.ndarray, station_S: np.ndarray) -> np.ndarray:
    """Return the vertical gravity anomaly (N, S) in microgal of spheres of excess mass (kg) at stations on a line (m).

    A sphere pulls like a point mass at its centre: Telford, Geldart, Sheriff, Applied Geophysics, 2nd ed., chapter 2.

    >>> sphere_gravity(np.array([2e6]), np.array([0.0]), np.array([20.0]), np.array([0.0, 20.0])).round(2)
    array([[33.37, 11.8 ]])
    """
    square_NS = (station_S - centre_N[:, None]) ** 2 + depth_N[:, None] ** 2
    return MICROGAL * GRAVITATION * (mass_N * depth_N)[:, None] / (square_NS * np.sqrt(square_NS))


def _make_gravity(samples: int, noise: float, seed: int) -> Table:
    check_range("samples", samples, FEWEST_ROWS, MOST_ROWS)
    check_range("noise", noise, 0, 1000)
    check_range("seed", seed, 0, 2**32 - 1)
    # Drawn sphere by sphere, the noise apart: more samples begin with the fewer, other noise keeps the spheres.
    low, high = zip(CENTRE_M, DEPTH_M, (0, 1), CONTRAST_KG_M3, strict=True)
    centre_N, depth_N, share_N, contrast_N = np.random.default_rng([2000, seed]).uniform(low, high, (samples, 4)).T
    radius_N = RADIUS_M[0] + share_N * (np.minimum(RADIUS_M[1], 0.8 * depth_N) - RADIUS_M[0])  # it stays underground
    mass_N = 4 / 3 * np.pi * radius_N * radius_N * radius_N * contrast_N
    x_NI = sphere_gravity(mass_N, centre_N, depth_N, STATIONS_M)
    x_NI += noise * np.random.default_rng([2001, seed]).standard_normal(x_NI.shape)
    about = (
        f"Synthetic gravity surveys of one buried sphere each: 12 readings on a line, with {noise:g} uGal of Gaussian "
        "noise, and the depth of the sphere's centre (formula: Telford, Geldart, Sheriff, Applied Geophysics, 1990)."
    )
    features = tuple(f"g({station:g} m)" for station in STATIONS_M)
    return Table("gravity", about, x_NI, depth_N[:, None].copy(), features, ("uGal",) * 12, ("depth",), "m")


def _bundled(name: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise LevshaError(f"{name}: comes with scikit-learn ({error}); run: pip install scikit-learn") from None
    return datasets


def _make_diabetes(samples: int, noise: float, seed: int) -> Table:
    found = _bundled("diabetes").load_diabetes(scaled=False)
    about = (
        "442 people with diabetes, ten measurements each, and its progress a year later (Efron, Hastie, Johnstone "
        "and Tibshirani, Least Angle Regression, 2004); ships with scikit-learn, which states no licence of the data."
    )
    serum = ("total cholesterol", "low-density lipoproteins", "high-density lipoproteins", "total cholesterol / HDL")
    serum += ("log of triglycerides", "blood sugar")  # the source gives no units for them, and calls s5 a "possibly"
    features = ("age", "sex", "bmi", "bp", *(f"s{number} {what}" for number, what in enumerate(serum, 1)))
    units = ("years", "", "kg/m^2", "mmHg", *("",) * len(serum))
    x_NI, y_NO = found.data.astype(np.float64), found.target.astype(np.float64)[:, None]
    return Table("diabetes", about, x_NI, y_NO, features, units, ("disease progression after a year",), "")


def _make_digits(samples: int, noise: float, seed: int) -> Table:
    found = _bundled("digits").load_digits()
    about = (
        "1797 handwritten digits of 8 x 8 pixels, 0 to 16 (Alpaydin, Kaynak, Optical Recognition of Handwritten "
        "Digits, UCI Machine Learning Repository, CC BY 4.0: its test set, as it ships with scikit-learn)."
    )
    features = tuple(f"pixel ({row}, {column})" for row in range(8) for column in range(8))
    x_NI, y_N = found.data.astype(np.float64), found.target.astype(np.int64)
    return Table("digits", about, x_NI, y_N, features, ("",) * 64, tuple("0123456789"), "", (8, 8))


Make = Callable[[int, float, int], Table]
TABLES: dict[str, Make] = {"gravity": _make_gravity, "diabetes": _make_diabetes, "digits": _make_digits}


def load_table(source: str, samples: int = 4000, noise: float = 2.0, seed: int = 0, target: str | None = None) -> Table:
    """Return a table by its name in TABLES, or from a CSV file: any source with a dot or a slash in it.

    samples (20 to 1 000 000), noise (uGal, 0 to 1000) and seed make gravity what it is; real tables come whole.
    target: the CSV column to learn, by default the last. LevshaError says what is wrong, in which line and column.
    """
    if any(mark in source for mark in "./\\"):
        return _read_csv(Path(source), target)
    if source not in TABLES:
        raise LevshaError(f"{source!r}: is no table; there are {', '.join(TABLES)}, or give the path of a .csv file.")
    if target is not None:
        raise LevshaError(
            f"--target-column: is {target!r}, but {source} has a target of its own; leave --target-column out."
        )
    return TABLES[source](samples, noise, seed)


def split_table(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices to train (70 %), validate (15 %) and test (15 %) on: a permutation of 0..count-1 cut in three.

    >>> [len(part) for part in split_table(442, 0)]
    [310, 66, 66]
    """
    order_N = np.random.default_rng([1001, seed]).permutation(count)
    held_out = (15 * count + 50) // 100
    return order_N[2 * held_out :], order_N[:held_out], order_N[held_out : 2 * held_out]


def _read_csv(path: Path, target: str | None) -> Table:
    lines, rows = _split_rows(path, _read_text(path))
    columns = _read_header(path, lines[0], rows[0])
    at = len(columns) - 1
    if target is not None:
        if target not in columns:
            raise LevshaError(
                f"{path}: has no column {target!r} for --target-column; its columns are {', '.join(columns)}."
            )
        at = columns.index(target)
    if len(rows) <= FEWEST_ROWS:
        raise LevshaError(f"{path}: has {len(rows) - 1} rows below the header; at least {FEWEST_ROWS} are needed.")
    values_NC = _read_cells(path, lines[1:], rows[1:], columns)
    x_NI, y_NO = np.delete(values_NC, at, 1), values_NC[:, at : at + 1].copy()
    if y_NO.min() == y_NO.max():
        found = f"column {at + 1} {columns[at]!r}, the target, is {y_NO[0, 0]:g} in every row"
        raise LevshaError(f"{path}: {found}: nothing to learn; name another column with --target-column.")
    features = columns[:at] + columns[at + 1 :]
    about = f"The file {path.name}: {len(y_NO)} rows of {len(features)} inputs and the target {columns[at]}."
    return Table(path.name, about, x_NI, y_NO, features, ("",) * len(features), (columns[at],), "")


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except IsADirectoryError:
        raise LevshaError(f"{path}: is a folder; {WANTED}.") from None
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}); {WANTED}.") from None
    if b"\0" in raw:
        raise LevshaError(f"{path}: is no text (a zero byte at {raw.index(0)}); {WANTED}, as UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"line {raw.count(10, 0, error.start) + 1}: byte 0x{raw[error.start]:02x}"
        raise LevshaError(f"{path}: {found} is not UTF-8; save the file as UTF-8.") from None


def _split_rows(path: Path, text: str) -> tuple[list[int], list[list[str]]]:
    """Return the line on which each row begins, from 1, and its cells; blank lines are left out."""
    begins, lines, rows = 1, [], []
    try:
        delimiter = max(",;\t", key=lambda mark: _count_cells(text, mark))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                lines.append(begins)
                rows.append(row)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise LevshaError(f"{path}: line {begins}: is not CSV ({error}); correct the quotes in it.") from None
    if not rows:
        raise LevshaError(f"{path}: is empty; {WANTED}.")
    return lines, rows


def _count_cells(text: str, delimiter: str) -> list[int]:
    """Return how many cells the first two rows have: the fewest, for a name may hold a delimiter too, then each."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    counts = [len(row) for row in islice(filter(any, reader), 2)]
    return [min(counts) if len(counts) == 2 else 0, *counts]


def _read_header(path: Path, line: int, row: list[str]) -> tuple[str, ...]:
    columns, where = tuple(name.strip() for name in row), f"{path}: line {line}"
    if not any(math.isnan(_read_number(name)) for name in columns):
        raise LevshaError(f"{where}: no header: first line must hold names, not just numbers; add a line of names.")
    if len(columns) == 1:
        raise LevshaError(f"{where}: has 1 column, {columns[0]!r}; write 2 or more, cut by comma, semicolon or tab.")
    for at, name in enumerate(columns):
        if not name or not name.isprintable():  # a line break would get into reports and C comments
            raise LevshaError(f"{where}, column {at + 1}: the name is {name!r}; give every column a printable name.")
        if columns.index(name) < at:
            first = columns.index(name) + 1
            raise LevshaError(f"{where}, column {at + 1}: {name!r} names column {first} too; rename one of them.")
    return columns


def _read_cells(path: Path, lines: list[int], rows: list[list[str]], columns: tuple[str, ...]) -> np.ndarray:
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(columns):
            found = f"has {len(row)} cells, the header has {len(columns)}"
            raise LevshaError(f"{path}: line {line}: {found}; write one number a column, with a decimal point.")
    values_NC = np.array([[_read_number(cell) for cell in row] for row in rows])
    for n, at in np.argwhere(np.isnan(values_NC))[:1].tolist():
        cell, where = rows[n][at].strip()[:40], f"line {lines[n]}, column {at + 1} {columns[at]!r}"
        raise LevshaError(
            f"{path}: {where}: is {repr(cell) if cell else 'empty'}; allowed are finite numbers with a decimal point, "
            f"at most {LARGEST:g} in size; correct it or delete the line."
        )
    return values_NC


def _read_number(cell: str) -> float:
    """Return the number in a cell, nan where there is none; 1_000 is one to Python alone, and so none here."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if abs(value) <= LARGEST and "_" not in cell else math.nan
