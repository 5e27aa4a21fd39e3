"""Pictures of another size: every pixel the mean of the area that it covers.  Legend: N images, C channels, H rows, W columns."""

from __future__ import annotations

import numpy as np

CHUNK = 1 << 22  # numbers worked on at a time


def average_areas(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return uint8 images (..., H, W) as (..., rows, columns): the means of the areas, exactly, halves rounded up.

    >>> average_areas(np.array([[0, 0, 9, 9], [0, 1, 9, 9]], np.uint8), 1, 2), average_areas(np.array([[0, 90, 255]], np.uint8), 1, 2)
    (array([[0, 9]], dtype=uint8), array([[ 30, 200]], dtype=uint8))
    """
    height, width = x.shape[-2:]
    if (height, width) == (rows, columns):
        return x
    down, across = shares(height, rows), shares(width, columns)
    images = x.reshape(-1, height, width)
    step = max(1, CHUNK // (height * width))
    parts = [_averaged(images[start : start + step], down, across) for start in range(0, len(images), step)]
    return np.concatenate(parts).reshape(*x.shape[:-2], rows, columns)


def _averaged(images: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Sums in float64, which holds these whole numbers exactly, since it is much faster than int64."""
    sums = (down @ images.astype(np.float64) @ across.T).astype(np.int64)
    area = len(images[0]) * len(images[0, 0])
    return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def shares(old: int, new: int) -> np.ndarray:
    """Return how much of each old pixel lies in each new one, (new, old), in units of 1 / new of an old one."""
    edges_N, edges_O = np.arange(new + 1) * old, np.arange(old + 1) * new
    overlap = np.minimum(edges_N[1:, None], edges_O[None, 1:]) - np.maximum(edges_N[:-1, None], edges_O[None, :-1])
    return np.maximum(overlap, 0).astype(np.float64)
