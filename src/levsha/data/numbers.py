"""Whatever people keep numbers in, as a tensor: arrays of any byte order and stride, lists, tables; what is no number is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from levsha.data.kinds import check_kind
from levsha.errors import LevshaError

Numbers = Tensor | np.ndarray | Sequence[Any]


def as_tensor(data: Numbers, name: str = "data") -> Tensor:
    """Return numbers as a dense tensor without gradients, in their own type; memory is shared where that is possible.

    data: a tensor, a numpy array of any byte order and stride, nested lists, a table that numpy can read. name: what an error
    calls them. Raises LevshaError for what holds no numbers, or rows of different lengths.

    >>> as_tensor(np.array([1.0, 2.0], ">f4")[::-1])
    tensor([2., 1.])
    >>> as_tensor([["1.5"]], "inputs")
    Traceback (most recent call last):
    levsha.errors.LevshaError: inputs: hold text, the first at [0, 0] is '1.5'; convert it with .astype('float32'); classes: numpy.unique(y, return_inverse=True)[1].
    """
    if isinstance(data, Tensor):
        return _plain(data, name)
    if isinstance(data, list | tuple) and data and isinstance(data[0], Tensor):
        return _stacked(data, name)
    array = _array(data, name)
    if min(array.strides) < 0:  # numpy calls a reversed axis of length one contiguous; torch refuses it
        array = array.copy()
    return torch.from_numpy(np.require(array, native(array.dtype), ["C", "W"]))


def native(dtype: np.dtype) -> np.dtype:
    """Return the type that torch reads in place of a numpy type of numbers: in this machine's byte order, 64 bits at most."""
    return np.dtype("f8") if dtype.kind == "f" and dtype.itemsize > 8 else dtype.newbyteorder("=")


def raw_bytes(tensor: Tensor) -> np.ndarray:
    """Return a tensor's bytes (uint8) in its order: also of types that numpy has not, such as bfloat16."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _plain(data: Tensor, name: str) -> Tensor:
    if data.is_nested or data.layout is not torch.strided:
        raise LevshaError(f"{name}: are a sparse or nested tensor; give a dense one, such as x.to_dense().")
    if data.is_quantized or data.is_complex():
        raise LevshaError(f"{name}: are of {data.dtype}; give real floats or integers.")
    return data.detach()


def _stacked(data: Sequence[Any], name: str) -> Tensor:
    try:
        return torch.stack([_plain(torch.as_tensor(part), name) for part in data])
    except (RuntimeError, TypeError, ValueError) as error:
        raise LevshaError(f"{name}: cannot be one tensor ({_first_line(error)}); give rows of one shape.") from None


def _array(data: Any, name: str) -> np.ndarray:
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        count = int(np.ma.count_masked(data))
        raise LevshaError(f"{name}: {count} values are masked; fill them with .filled(value), or remove those rows.")
    try:
        array = np.asarray(data)
        array = np.array(array.tolist()) if array.dtype.kind == "O" and array.ndim else array
    except (ValueError, TypeError, RuntimeError) as error:
        raise LevshaError(f"{name}: are no table of numbers ({_first_line(error)}); give rows of one shape.") from None
    if not array.ndim:
        raise LevshaError(f"{name}: are one {type(data).__name__}; give a tensor, a numpy array or a list of rows.")
    first = next(_no_numbers(data, array), "")
    if array.dtype.kind == "O":
        raise LevshaError(f"{name}: hold Python objects{first}; give floats or integers of 64 bits.")
    check_kind(array.dtype, name, first)
    return array


def _no_numbers(data: Any, array: np.ndarray) -> Iterator[str]:
    """Say where the first value is that is no number, if the array has such a type."""
    if array.dtype.kind in "OUSTMmc":
        objects = np.asarray(data, dtype=object)
        for at, value in np.ndenumerate(objects):
            if not isinstance(value, Real):
                yield f", the first at [{', '.join(map(str, at))}] is {value!r}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
