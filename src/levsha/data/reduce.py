"""Samples that are images, of fewer pixels.  Legend: N images, C channels, H rows, W columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from levsha.data.area import average_areas
from levsha.data.sample_set import Samples
from levsha.errors import LevshaError, check_range

LARGEST_SIZE = 4096  # pixels a side


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
    notice = f"Reduced from {columns} x {rows} to {size} x {size} pixels, each the mean of its area."
    return replace(samples, x=average_areas(x, size, size), notices=(*samples.notices, notice))
