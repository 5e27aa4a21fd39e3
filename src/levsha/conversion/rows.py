"""Rows of data: checked, and divided into those that calibrate and those that measure."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.errors import LevshaError

MEASURED = 5  # one row in so many is measured, where the others are learned from and no test data is given


def check_rows(x: Any, what: str) -> np.ndarray:
    """Return data as an array; LevshaError where there is no row, or a number is not finite."""
    found = np.asarray(x)
    if found.dtype == object or found.dtype.kind not in "uifb" or found.ndim < 2 or not len(found):
        raise LevshaError(
            f"{what}: is {found.dtype} of shape {found.shape}; numbers of shape (rows, ...) are needed, at least one row."
        )
    bad = ~np.isfinite(found.reshape(len(found), -1)).all(1) if found.dtype.kind == "f" else np.zeros(0, bool)
    if bad.any():
        raise LevshaError(
            f"{what}: {int(bad.sum())} of {len(found)} rows hold NaN or infinity, the first is row {int(bad.argmax())}; leave them out."
        )
    return found


def check_length(x: np.ndarray, y: np.ndarray | None, what: str) -> None:
    """Raise LevshaError where there is not one answer for each row."""
    if y is not None and len(y) != len(x):
        raise LevshaError(f"{what}: has {len(y)} rows, x has {len(x)}; one for each is needed.")


def split_rows(count: int, most: int, seed: int, test_given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that calibrate, at most `most`, and those that measure: other ones, where no test data is given.

    LevshaError for a single row without test data.
    """
    order = np.random.default_rng([9000, seed]).permutation(count)
    if test_given:
        return np.sort(order[:most]), order[:0]
    if count < 2:
        raise LevshaError(
            "x: has 1 row; give two or more, of which half calibrates and half measures, or a hundred and more, which is better."
        )
    cut = max(1, min(most, count // 2))
    return np.sort(order[:cut]), np.sort(order[cut:])


def measured_rows(count: int, seed: int, test_given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn from, in a random order, and those to measure on, none where test data is given."""
    order = np.random.default_rng([9200, seed]).permutation(count)
    measured = 0 if test_given else max(1, count // MEASURED)
    if measured == count:
        raise LevshaError(f"x: has {count} rows; give more, or data to measure on as test=(x, y).")
    return order[measured:], order[:measured]
