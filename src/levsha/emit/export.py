"""A graph in two forms that other programs can read: JSON for people, a packed binary for machines (docs/formats.md)."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import numpy as np

from levsha.formats import Format
from levsha.ir import C_TYPES, Graph, Op
from levsha.store import graph_hash

MAGIC = b"LEVSHA1\n"


def to_json(graph: Graph) -> str:
    """Return the whole net as JSON, every weight as an integer."""
    ops = [_fields(op) | {key: array.tolist() for key, array in _arrays(op).items()} for op in graph.ops]
    return json.dumps(_outline(graph) | {"ops": ops}) + "\n"


def to_binary(graph: Graph) -> bytes:
    """Return the net packed: magic, length of a JSON header, header, then every constant as it lies in flash."""
    payload, ops = bytearray(), []
    for op in graph.ops:
        shapes = {key: {"shape": array.shape} for key, array in _arrays(op).items()}
        constants = []
        for name, constant in op.constants().items():
            data = np.ravel(constant.data).astype(C_TYPES[constant.c_type][2]).tobytes()
            constants.append({"name": name, "type": constant.c_type, "offset": len(payload), "bytes": len(data)})
            payload += data
        singles = {key: array.tolist() for key, array in _arrays(op).items() if array.size == 1}
        ops.append(_fields(op) | shapes | singles | {"constants": constants})
    header = json.dumps(_outline(graph) | {"ops": ops}).encode()
    return MAGIC + struct.pack("<I", len(header)) + header + bytes(payload)


def _outline(graph: Graph) -> dict[str, Any]:
    inputs = [
        {"name": name, "shape": v.shape, "lo": v.lo, "hi": v.hi, "total": v.total} for name, v in graph.inputs.items()
    ]
    return {"sha256": graph_hash(graph), "inputs": inputs, "outputs": graph.outputs}


def _arrays(op: Op) -> dict[str, np.ndarray]:
    return {f.name: getattr(op, f.name) for f in dataclasses.fields(op) if isinstance(getattr(op, f.name), np.ndarray)}


def _fields(op: Op) -> dict[str, Any]:
    fields: dict[str, Any] = {"op": type(op).__name__}
    for f in dataclasses.fields(op):
        value = getattr(op, f.name)
        if isinstance(value, Format):
            fields[f.name] = value.name
        elif not isinstance(value, np.ndarray):
            fields[f.name] = value
    return fields
