"""Tensors as a .safetensors file and back, in every type that torch and the format share; numpy has no bfloat16."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from levsha.errors import LevshaError


def pack(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Return named tensors as the bytes of a .safetensors file; LevshaError names one of a type that the format has not."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        packed = tensor.detach().cpu().contiguous()
        apart[name] = packed.clone() if packed.data_ptr() in seen else packed  # two names of one tensor are refused
        seen.add(packed.data_ptr())
    try:
        return safetensors.torch.save(apart, metadata)
    except (KeyError, safetensors.SafetensorError) as error:
        kinds = ", ".join(sorted({str(t.dtype) for t in tensors.values()}))
        raise LevshaError(
            f"a .safetensors file: cannot hold all of {kinds} ({error}); convert that part of the model, or train without a folder."
        ) from None


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return metadata and tensors of a .safetensors file; LevshaError where it cannot be read."""
    try:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        return json.loads(data[8 : 8 + length]).get("__metadata__", {}), safetensors.torch.load(data)
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception as error:  # the parser's own exceptions have no common base
        raise LevshaError(f"{path}: is no sound .safetensors file ({error}).") from None


def type_name(dtype: torch.dtype) -> str:
    """Return a type's name in a hash: numpy's where numpy has it.

    >>> type_name(torch.float32), type_name(torch.bfloat16)
    ('<f4', 'bfloat16')
    """
    return _NUMPY.get(dtype) or str(dtype).removeprefix("torch.")


_NUMPY = {
    torch.float64: "<f8", torch.float32: "<f4", torch.float16: "<f2", torch.int64: "<i8", torch.int32: "<i4", torch.int16: "<i2",
    torch.int8: "|i1", torch.uint8: "|u1", torch.uint16: "<u2", torch.uint32: "<u4", torch.uint64: "<u8", torch.bool: "|b1",
}  # fmt: skip
