"""Rows of data: checked, and divided into those that calibrate and those that measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from levsha.arrays import as_array
from levsha.errors import LevshaError, check_number

MEASURED = 5  # one row in so many is measured, where the others are learned from and no test data is given
MOST = 1 << 30  # of a seed, and of rows

Rows = tuple[np.ndarray, np.ndarray | None]  # inputs and answers


def checked_data(x: Any, y: Any, test: Any) -> tuple[np.ndarray, np.ndarray | None, Rows | None]:
    """Return inputs (N, *shape), answers (N,) or (N, O) or None, and the pair of both to measure on, or None, as arrays.

    LevshaError for anything but finite numbers, for other than one answer a row, and for test rows of another shape than x has.
    """
    x, y = _checked_pair(x, y, "x", "y")
    if test is None:
        return x, y, None
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise LevshaError(
            f"test: is of type {type(test).__name__}; give a pair, test=(x, y), y None where none is known."
        )
    x_T, y_T = _checked_pair(test[0], test[1], "test x", "test y")
    if x_T.shape[1:] != x.shape[1:]:
        raise LevshaError(f"test x: has rows of shape {x_T.shape[1:]}, x of {x.shape[1:]}; give rows alike.")
    return x, y, (x_T, y_T)


def check_choices(layers: Any, classes: Any, calibration_rows: Any, seed: Any) -> None:
    """Raise LevshaError for arguments of a conversion that cannot be meant so."""
    check_number("calibration-rows", calibration_rows, 1, MOST, whole=True)
    check_number("seed", seed, 0, MOST, whole=True)
    if layers is not None and not isinstance(layers, Mapping):
        raise LevshaError(
            f"layers: is of type {type(layers).__name__}; give formats by the pattern of a name: layers={{'conv1': 'int8'}}."
        )
    if classes is not None and (isinstance(classes, str) or not isinstance(classes, Sequence)):
        raise LevshaError(f"classes: is of type {type(classes).__name__}; give a list of names, one for each class.")


def _checked_pair(x: Any, y: Any, x_name: str, y_name: str) -> Rows:
    x = check_rows(x, x_name)
    if y is None:
        return x, None
    y = check_answers(y, y_name)
    check_length(x, y, y_name, x_name)
    return x, y


def check_answers(y: Any, what: str) -> np.ndarray:
    """Return answers as an array; LevshaError where they are no numbers, not finite, or not one or more for each row."""
    try:
        found = as_array(y, what)
    except LevshaError as error:
        raise LevshaError(
            f"{error} Classes are given by number, from 0: numpy.unique(y, return_inverse=True) numbers names."
        ) from None
    if not found.ndim or not found.size:
        raise LevshaError(
            f"{what}: is of shape {found.shape}; one answer for each row is needed, (rows,) or (rows, outputs)."
        )
    _check_finite(found, what)
    return found


def check_rows(x: Any, what: str) -> np.ndarray:
    """Return data as an array; LevshaError where there is no row, or a number is not finite."""
    found = as_array(x, what, "numbers of shape (rows, ...)")
    if found.ndim < 2 or not found.size:
        raise LevshaError(
            f"{what}: is {found.dtype} of shape {found.shape}; numbers of shape (rows, ...) are needed, at least one row."
        )
    _check_finite(found, what)
    return found


def _check_finite(found: np.ndarray, what: str) -> None:
    bad = ~np.isfinite(found.reshape(len(found), -1)).all(1) if found.dtype.kind == "f" else np.zeros(0, bool)
    if bad.any():
        raise LevshaError(
            f"{what}: {int(bad.sum())} of {len(found)} rows hold NaN or infinity, the first is row {int(bad.argmax())}; leave them out."
        )


def check_length(x: np.ndarray, y: np.ndarray | None, what: str, x_name: str = "x") -> None:
    """Raise LevshaError where there is not one answer for each row."""
    if y is not None and len(y) != len(x):
        raise LevshaError(f"{what}: has {len(y)} rows, {x_name} has {len(x)}; one for each is needed.")


def split_rows(count: int, most: int, seed: int, test_given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that calibrate, at most `most`, and those that measure: other ones, where no test data is given.

    Those that calibrate come in a random order: where only some are looked at, they are no better and no worse than the others.

    LevshaError for a single row without test data.
    """
    order = np.random.default_rng([9000, seed]).permutation(count)
    if test_given:
        return order[:most], order[:0]
    if count < 2:
        raise LevshaError(
            "x: has 1 row; give two or more, of which half calibrates and half measures, or a hundred and more, which is better."
        )
    cut = max(1, min(most, count // 2))
    return order[:cut], np.sort(order[cut:])


def measured_rows(count: int, seed: int, test_given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn from, in a random order, and those to measure on, none where test data is given."""
    order = np.random.default_rng([9200, seed]).permutation(count)
    measured = 0 if test_given else max(1, count // MEASURED)
    if measured == count:
        raise LevshaError(f"x: has {count} rows; give more, or data to measure on as test=(x, y).")
    return order[measured:], order[:measured]
