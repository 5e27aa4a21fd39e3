"""A table to learn from: examples as columns of numbers, and how they are split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

FEWEST_ROWS = 20


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
    notices: tuple[str, ...] = ()  # sentences: what was read of a file, what was left out, what looks odd

    @property
    def is_classes(self) -> bool:
        """Whether y_NO holds class labels and not numbers."""
        return self.y_NO.ndim == 1

    @cached_property
    def constant_I(self) -> np.ndarray:
        """Which inputs (bool) are the same in every row: nothing can be learnt from them."""
        return self.x_NI.min(0) == self.x_NI.max(0)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of inputs, targets, names and units; not of the file's name, nor of the notices."""
        names = [self.x_NI.shape, self.y_NO.shape, self.features, self.units, self.outputs, self.output_unit]
        sha = hashlib.sha256(repr(names).encode())
        sha.update(self.x_NI.astype("<f8").tobytes())
        sha.update(self.y_NO.astype("<i8" if self.is_classes else "<f8").tobytes())
        return sha.hexdigest()


def split_table(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices to train (70 %), validate (15 %) and test (15 %) on: a permutation of 0..count-1 cut in three.

    >>> [len(part) for part in split_table(442, 0)]
    [310, 66, 66]
    """
    order_N = np.random.default_rng([1001, seed]).permutation(count)
    held_out = (15 * count + 50) // 100
    return order_N[2 * held_out :], order_N[:held_out], order_N[held_out : 2 * held_out]
