"""A packed binary for machines (docs/formats.md): a JSON header, then every constant as it lies in program memory."""

from __future__ import annotations

import json
import struct

import numpy as np

from levsha.export.base import Source
from levsha.export.outline import arrays_of, fields_of, outline
from levsha.ir import C_TYPES, Constant, Op, Value

MAGIC = b"LEVSHA1\n"


def write(source: Source) -> dict[str, bytes]:
    """Return the net packed as NAME.bin: magic, length of the header, header, constants."""
    payload, ops, graph = bytearray(), [], source.integer.graph
    for op in graph.ops:
        shapes = {key: {"shape": array.shape} for key, array in arrays_of(op).items()}
        constants = []
        code = op.code(graph.values[op.name], *(graph.values[name] for name in op.inputs))
        for name, constant in (code.constants | _apart(op)).items():
            data = np.ravel(constant.data).astype(C_TYPES[constant.c_type][2]).tobytes()
            constants.append({"name": name, "type": constant.c_type, "offset": len(payload), "bytes": len(data)})
            payload += data
        singles = {key: array.tolist() for key, array in arrays_of(op).items() if array.size == 1}
        ops.append(fields_of(op) | shapes | singles | {"constants": constants})
    header = json.dumps(outline(source.integer) | {"ops": ops}).encode()
    return {f"{source.name}.bin": MAGIC + struct.pack("<I", len(header)) + header + bytes(payload)}


def _apart(op: Op) -> dict[str, Constant]:
    """The arrays that the C does without; their names have a dot, which no name in C has."""
    arrays = {f"{op.name}.{field}": getattr(op, field) for field in op.apart if getattr(op, field) is not None}
    return {
        label: Constant(Value(array.shape, int(array.min()), int(array.max())).c_type, array)
        for label, array in arrays.items()
    }
