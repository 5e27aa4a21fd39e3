"""A packed binary for machines, the smallest file that holds a whole net (docs/formats.md): a JSON header and every array, both deflated."""

from __future__ import annotations

import dataclasses
import json
import zlib
from typing import Any

import numpy as np

from levsha.export.base import Source
from levsha.export.outline import describe_op, outline
from levsha.ir import Op
from levsha.ops import OPS

MAGIC = b"LEVSHA2\n"
TYPES = ("int8", "int16", "int32", "int64")


def write(source: Source) -> dict[str, bytes]:
    """Return the net packed as NAME.bin: magic, header, arrays in the order in which the header names them."""
    payload = bytearray()

    def packed(op: Op, field: str, array: np.ndarray) -> dict[str, Any]:
        weights = getattr(op, "format", None) if field == "weight_OI" else None
        kind = next(name for name in TYPES if np.array_equal(array.astype(name), array))
        data = weights.pack(array.ravel()) if weights else array.astype(np.dtype(kind).newbyteorder("<"))
        payload.extend(data.tobytes())
        return {"shape": array.shape} | ({} if weights else {"type": kind})

    whole = outline(source.integer) | {"ops": [describe_op(op, packed) for op in source.integer.graph.ops]}
    header = json.dumps(_terse(whole), separators=(",", ":"), ensure_ascii=False).encode()
    return {f"{source.name}.bin": MAGIC + _deflated(header) + _deflated(bytes(payload))}


def _terse(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph without what is as usual: fields of ops, and totals that are not known."""
    ends = {
        key: [{k: v for k, v in end.items() if v is not None} for end in graph[key]] for key in ("inputs", "outputs")
    }
    return graph | ends | {"ops": [_terse_op(op) for op in graph["ops"]]}


def _terse_op(op: dict[str, Any]) -> dict[str, Any]:
    usual = {field.name: field.default for field in dataclasses.fields(OPS[op["op"]])}
    kept = {key: value for key, value in op.items() if key not in usual or value != usual[key]}
    return {key: _terse(value) if isinstance(value, dict) and "ops" in value else value for key, value in kept.items()}


def _deflated(data: bytes) -> bytes:
    """Raw deflate: the hash in the header is of everything that the net computes with."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()
