"""Rows by number: from memory, or from a file that may be larger than memory."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from levsha.errors import LevshaError

TOUCHED_ROWS = 512  # after so many rows the mapping's pages go back: a fault maps up to 64 KB around the row it reads


class Rows(Protocol):
    """A table of rows that can be picked by number."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def take(self, index_N: Tensor) -> Tensor:
        """Return the chosen rows; the next call may overwrite them."""
        ...


class Resident:
    """Rows that lie in memory, in the type and on the device where they are used."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.room: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index_N: Tensor) -> Tensor:
        """Return the chosen rows, in the same memory for every batch of a size."""
        room = self.room.get(len(index_N))
        if room is None:
            room = self.room[len(index_N)] = self.rows.new_empty(len(index_N), *self.rows.shape[1:])
        return torch.index_select(self.rows, 0, index_N, out=room)


class Mapped:
    """Rows of a memory-mapped array; what was read is given back soon, so that memory stays flat however large the file is."""

    def __init__(self, array: np.ndarray, dtype: torch.dtype, device: str = "cpu") -> None:
        self.array, self.dtype, self.device = array, dtype, device
        self.mapping = _mapping(array)
        self.touched = 0

    def __len__(self) -> int:
        return len(self.array)

    def take(self, index_N: Tensor) -> Tensor:
        """Return a copy of the chosen rows."""
        rows = torch.from_numpy(self.array[index_N.numpy()]).to(self.device, self.dtype)
        self.touched += len(index_N)
        if self.mapping and self.touched >= TOUCHED_ROWS:
            self.mapping.madvise(mmap.MADV_DONTNEED)
            self.touched = 0
        return rows


def _mapping(array: np.ndarray) -> mmap.mmap | None:
    """The mapping behind an array, through any number of views; it is asked not to read ahead, since rows come in no order."""
    base: object = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "_mmap", None) or getattr(base, "base", None)
    if not isinstance(base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    base.madvise(mmap.MADV_RANDOM)
    return base


def map_rows(path: Path) -> np.ndarray:
    """Return a .npy file as an array that stays on the disk; LevshaError names a file that is none."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror or error}); give a .npy file.") from None
    except ValueError as error:
        raise LevshaError(f"{path}: is no sound .npy file ({error}); write it with numpy.save.") from None
    if not isinstance(array, np.ndarray) or array.ndim < 1 or array.dtype.kind not in "fiu":
        raise LevshaError(f"{path}: holds no rows of numbers; write an array of floats or integers with numpy.save.")
    return array


def as_rows(data: Tensor | np.ndarray, dtype: torch.dtype, device: str = "cpu") -> Rows:
    """Return data as rows: a memory-mapped array stays on the disk, anything else becomes one tensor of `dtype`."""
    if isinstance(data, np.ndarray) and _mapping(data):
        return Mapped(data, dtype, device)
    return Resident(torch.as_tensor(data).to(device, dtype).contiguous())
