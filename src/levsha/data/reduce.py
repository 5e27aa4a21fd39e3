"""Images of fewer pixels: each new one is the mean of the area it covers.  Legend: N images, C channels, H rows, W columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from levsha.data.sample_set import Samples
from levsha.errors import LevshaError, check_range

LARGEST_SIZE = 4096  # pixels a side
ROWS = 2048  # images at a time


def reduce_area(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return images uint8 (N, C, H, W) with so many rows and columns, not more than they have, rounded to the nearest, halves up.

    Sums of whole numbers: the same on every machine.

    >>> reduce_area(np.array([[[[0, 9, 9]]]], np.uint8), 1, 2).tolist()   # (0 + 9 / 2) / 1.5 and 9
    [[[[3, 9]]]]
    """
    down, across = _overlaps(x.shape[2], rows), _overlaps(x.shape[3], columns)
    area = x.shape[2] * x.shape[3]
    parts = []
    for start in range(0, len(x), ROWS):
        sums = (
            down @ x[start : start + ROWS].astype(np.float64) @ across.T
        )  # exact: whole numbers far below 2 to the power 53
        parts.append((2 * sums.astype(np.int64) + area) // (2 * area))
    return np.concatenate(parts).astype(np.uint8)


def _overlaps(before: int, after: int) -> np.ndarray:
    """By how much each new pixel covers each old one, in units of 1 / after of an old one: (after, before), rows add up to `before`."""
    ends_new, ends_old = np.arange(after + 1) * before, np.arange(before + 1) * after
    low = np.maximum(ends_new[:-1, None], ends_old[None, :-1])
    high = np.minimum(ends_new[1:, None], ends_old[None, 1:])
    return np.maximum(high - low, 0).astype(np.float64)


def reduced(samples: Samples, size: int | None, where: str) -> Samples:
    """Return samples that are images of bytes with `size` pixels each way; as they are where it is None.

    Images are (N, H, W) or (N, C, H, W). LevshaError where the samples are no such images, or have fewer pixels.
    """
    if size is None:
        return samples
    check_range("size", size, 1, LARGEST_SIZE)
    x = samples.x
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise LevshaError(
            f"--size: is {size}, but {where} holds {x.dtype} of shape {x.shape[1:]}; images of bytes (rows, columns) can be reduced. Leave it out."
        )
    rows, columns = x.shape[-2:]
    if size > min(rows, columns):
        raise LevshaError(
            f"--size: is {size}, but the images of {where} are {columns} x {rows}; they can be reduced, not enlarged: give {min(rows, columns)} or less."
        )
    if (rows, columns) == (size, size):
        return samples
    small = reduce_area(x.reshape(len(x), -1, rows, columns), size, size).reshape(*x.shape[:-2], size, size)
    notice = f"Reduced from {columns} x {rows} to {size} x {size} pixels, each the mean of its area."
    return replace(samples, x=small, notices=(*samples.notices, notice))
