"""Where the elements of a call's value lie in an integer value: reshapes, transposes and slices cost nothing until somebody needs them done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class View:
    """value: the name of what holds the elements. index: of the call's shape, into the value as it lies in memory; -1: the fill. sole:
    nobody else reads the value."""

    value: str
    index: np.ndarray
    fill: float = 0.0
    sole: bool = True

    @classmethod
    def whole(cls, value: str, shape: tuple[int, ...], order: tuple[int, ...] | None = None) -> View:
        """Return the view of a new value; order: the call's axes as they lie in memory, as they stand where none is given."""
        order = order or tuple(range(len(shape)))
        numbers = np.arange(int(np.prod(shape, dtype=np.int64))).reshape([shape[axis] for axis in order])
        return cls(value, numbers.transpose(np.argsort(order)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The call's shape."""
        return self.index.shape

    @property
    def is_filled(self) -> bool:
        """Whether any element is the fill."""
        return bool((self.index < 0).any())

    def is_whole(self, size: int) -> bool:
        """Whether it holds each of `size` elements just once."""
        return self.index.size == size and not self.is_filled and len(np.unique(self.index)) == size

    def laid(self, axes: tuple[int, ...]) -> View:
        """Return the view with its axes in another order."""
        return replace(self, index=self.index.transpose(axes))


class Peeled(NamedTuple):
    """An image without its border of fill, and how much that is: top, left, bottom, right."""

    inner: np.ndarray
    pads: tuple[int, int, int, int]


def peel(index_HWC: np.ndarray) -> Peeled:
    """Return an image without the rows and columns at its border that are all fill.

    >>> peel(np.array([[[-1], [-1]], [[-1], [5]]])).pads
    (1, 1, 0, 0)
    """
    real_HW: Any = (index_HWC >= 0).any(axis=2)
    rows, columns = np.flatnonzero(real_HW.any(axis=1)), np.flatnonzero(real_HW.any(axis=0))
    if not len(rows):
        return Peeled(index_HWC, (0, 0, 0, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    pads = (int(top), int(left), int(index_HWC.shape[0] - bottom), int(index_HWC.shape[1] - right))
    return Peeled(index_HWC[top:bottom, left:right], pads)
