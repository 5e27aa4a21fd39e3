"""Rows by number: from memory, or from a file that may be larger than memory."""

from __future__ import annotations

import hashlib
import os
import weakref
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from levsha.data.kinds import check_kind
from levsha.data.numbers import Numbers, as_tensor, native, raw_bytes
from levsha.errors import LevshaError

FINGERPRINT_ROWS = 4096


class Rows(Protocol):
    """A table of rows that can be picked by number."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def take(self, index_N: Tensor) -> Tensor:
        """Return the chosen rows; the next call may overwrite them."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the rows, by which other data is told from the same."""
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
        count = index_N.size(0)  # quicker than len
        room = self.room.get(count)
        if room is None:
            with torch.inference_mode(False):  # else autograd could not use it in a later training
                room = self.room[count] = self.rows.new_empty(count, *self.rows.shape[1:])
        return torch.index_select(self.rows, 0, index_N if self.rows.is_cpu else index_N.to(self.rows.device), out=room)

    def fingerprint(self) -> str:
        """Return a hash of all rows."""
        return hashlib.sha256(raw_bytes(self.rows).data).hexdigest()


class Mapped:
    """Rows of a memory-mapped array, read from its file one by one: memory stays flat however large the file is.

    The mapping itself is left alone: one page fault can map 2 MB around the row that is read, and rows come in no order.
    """

    def __init__(self, array: np.ndarray, dtype: torch.dtype, device: str = "cpu") -> None:
        self.array, self.dtype, self.device = array, dtype, device
        self.row_bytes = array[:1].nbytes
        self.native = native(array.dtype)
        self.file, self.start = _open_rows(array)
        if self.file is not None:
            weakref.finalize(self, os.close, self.file)

    def __len__(self) -> int:
        return len(self.array)

    def take(self, index_N: Tensor) -> Tensor:
        """Return a copy of the chosen rows."""
        rows = self.array[index_N.numpy()] if self.file is None else self._read(self.file, index_N.tolist())
        return torch.from_numpy(rows.astype(self.native, copy=False)).to(self.device, self.dtype)

    def fingerprint(self) -> str:
        """Return a hash of the number of rows and of some of them, evenly spread: the whole file may be too much to read."""
        chosen = torch.linspace(0, len(self) - 1, min(len(self), FINGERPRINT_ROWS), dtype=torch.float64).long()
        digest = hashlib.sha256(str(len(self)).encode())
        for part in chosen.split(256):
            digest.update(raw_bytes(self.take(part)).data)
        return digest.hexdigest()

    def _read(self, file: int, index: list[int]) -> np.ndarray:
        size, start, stride = self.row_bytes, self.start, self.array.strides[0]
        data = bytearray().join([os.pread(file, size, start + number * stride) for number in index])
        if len(data) != size * len(index):
            name = getattr(_memmap_of(self.array), "filename", "data")
            raise LevshaError(f"{name}: was cut short while it was read; write it again and repeat the command.")
        return np.frombuffer(data, self.array.dtype).reshape(len(index), *self.array.shape[1:])


def _memmap_of(array: np.ndarray) -> np.memmap | None:
    """The memory-mapped array of a whole file behind an array, through any number of views."""
    found, base = None, array
    while isinstance(base, np.ndarray):
        found = base if isinstance(base, np.memmap) else found
        base = base.base
    return found


def _open_rows(array: np.ndarray) -> tuple[int | None, int]:
    """A descriptor of an array's file and where its first row starts; None where rows are no runs of bytes in that file."""
    whole = _memmap_of(array)
    if whole is None or not whole.filename or whole.mode == "c" or not hasattr(os, "pread"):
        return None, 0
    start = whole.offset + array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    try:
        file = os.open(whole.filename, os.O_RDONLY)
    except OSError:
        return None, 0
    if array[:1].flags.c_contiguous and os.pread(file, array[:1].nbytes, start) == array[:1].tobytes():
        return file, start
    os.close(file)
    return None, 0


def map_rows(path: Path) -> np.ndarray:
    """Return a .npy file as an array that stays on the disk; LevshaError names a file that is none."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror or error}); give a .npy file.") from None
    except (ValueError, EOFError) as error:
        raise LevshaError(f"{path}: is no sound .npy file ({error}); write it with numpy.save.") from None
    if not isinstance(array, np.ndarray) or array.ndim < 1 or array.dtype.kind not in "fiu":
        raise LevshaError(f"{path}: holds no rows of numbers; write an array of floats or integers with numpy.save.")
    return array


def readable(data: Numbers, name: str = "data") -> Tensor | np.ndarray:
    """Return data as a tensor, or as it is where it is an array on the disk; LevshaError where it holds no numbers."""
    if isinstance(data, np.ndarray) and _memmap_of(data) is not None:
        check_kind(data.dtype, name)
        return data
    return as_tensor(data, name)


def as_rows(data: Numbers, dtype: torch.dtype, device: str = "cpu", name: str = "data") -> Rows:
    """Return data as rows: a memory-mapped array stays on the disk, anything else becomes one tensor of `dtype`.

    name: what an error calls the data. Raises LevshaError for what holds no numbers.
    """
    found = readable(data, name)
    if isinstance(found, np.ndarray):
        return Mapped(found, dtype, device)
    return Resident(found.to(device, dtype).contiguous())
