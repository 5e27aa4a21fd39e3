"""A packed binary for machines (docs/formats.md): a JSON header, then every constant as it lies in program memory."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from levsha.export.base import Source
from levsha.export.outline import describe_op, outline
from levsha.ir import C_TYPES, Constant, Graph, Op, Value

MAGIC = b"LEVSHA1\n"


def write(source: Source) -> dict[str, bytes]:
    """Return the net packed as NAME.bin: magic, length of the header, header, constants."""
    payload, ops, graph = bytearray(), [], source.integer.graph
    for op in graph.ops:
        constants = []
        code = op.code(graph.values[op.name], *(graph.values[name] for name in op.inputs))
        for name, constant in (code.constants | _apart(op, op.name)).items():
            data = np.ravel(constant.data).astype(C_TYPES[constant.c_type][2]).tobytes()
            constants.append({"name": name, "type": constant.c_type, "offset": len(payload), "bytes": len(data)})
            payload += data
        ops.append(describe_op(op, _shown) | {"constants": constants})
    header = json.dumps(outline(source.integer) | {"ops": ops}).encode()
    return {f"{source.name}.bin": MAGIC + struct.pack("<I", len(header)) + header + bytes(payload)}


def _shown(array: np.ndarray) -> Any:
    return array.tolist() if array.size == 1 else {"shape": array.shape}


def _apart(op: Op, name: str) -> dict[str, Constant]:
    """The arrays that the C does without, of ops inside this one too; their names have a dot, which no name in C has."""
    arrays = {f"{name}.{field}": getattr(op, field) for field in op.apart if getattr(op, field) is not None}
    found = {
        label: Constant(Value(array.shape, int(array.min()), int(array.max())).c_type, array)
        for label, array in arrays.items()
    }
    for body in (value for value in vars(op).values() if isinstance(value, Graph)):
        for inner in body.ops:
            found |= _apart(inner, f"{name}_step_{inner.name}")
    return found
