"""Standardising columns: means and standard deviations of any scale; legend: N rows, C columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from levsha.errors import LevshaError

SMALLEST_SPREAD = 1e-290  # of a column: below, its steps would no longer be normal float64 numbers


@dataclass(frozen=True)
class Standard:
    """What is subtracted from each column and what it is divided by, 1 where it is constant.

    constant_C: which columns are the same in every row, as booleans: they say nothing, and become 0.
    """

    mean_C: np.ndarray
    std_C: np.ndarray
    constant_C: np.ndarray

    @classmethod
    def of(cls, x_NC: np.ndarray, names: Sequence[str], where: str) -> Standard:
        """Return that of columns; LevshaError names one whose spread is too small to be divided by.

        >>> Standard.of(np.array([[1e-165, 5.0], [3e-165, 5.0]]), ("a", "b"), "table").constant_C.tolist()
        [False, True]
        """
        exponent_C = np.frexp(np.abs(x_NC).max(0))[1]
        near_one_NC = np.ldexp(x_NC, -exponent_C)  # exact; the squares of columns of any scale are then within float64
        mean_C, std_C = np.ldexp(near_one_NC.mean(0), exponent_C), np.ldexp(near_one_NC.std(0), exponent_C)
        constant_C = (x_NC.min(0) == x_NC.max(0)) | (near_one_NC.std(0) == 0)
        tiny_C = ~constant_C & (std_C < SMALLEST_SPREAD)
        if tiny_C.any():
            at = int(tiny_C.argmax())
            raise LevshaError(
                f"{where}: column {names[at]!r} varies by only {std_C[at]:.3g}; {SMALLEST_SPREAD:g} or more is needed. Give it in a "
                "smaller unit, or leave it out."
            )
        return cls(mean_C, np.where(constant_C, 1.0, std_C), constant_C)

    @classmethod
    def none(cls, columns: int) -> Standard:
        """Return what changes nothing."""
        return cls(np.zeros(columns), np.ones(columns), np.zeros(columns, bool))

    def apply(self, x_NC: np.ndarray) -> np.ndarray:
        """Return columns of mean 0 and deviation 1; 0 for those that were constant, whatever they are now."""
        return np.where(self.constant_C, 0.0, (x_NC - self.mean_C) / self.std_C)

    def undo(self, x_NC: np.ndarray) -> np.ndarray:
        """Return what `apply` was given."""
        return x_NC * self.std_C + self.mean_C
