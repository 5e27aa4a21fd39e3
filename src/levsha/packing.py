"""What a net's file holds, in as few bytes as it takes: JSON and arrays, weights in their format, deflated together.

A preset dictionary (RFC 1950) knows the words that every net's JSON has, so that these cost next to nothing in a file of a few kilobytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from levsha.formats import FORMATS, Format

DIGEST = 32  # bytes
# The likeliest last. It decides what files mean: a change of it needs another kind of file.
WORDS = b""""format":"two_bit_z80","format":"int16","format":"binary","format":"ternary","format":"two_bit","format":"int3","format":"int4",
{"op":"NgramCounts",{"op":"Scan",{"op":"ScaledAdd",{"op":"Gather",{"op":"LayerNorm",{"op":"SumPool",{"op":"Multiply",{"op":"Concat",{"op":"Embed",{"op":"Lookup",{"op":"Add",
.body.init",.multiplier_KC",.table",.table_VE",.index",.extra_O",.pad_I","float":{"r2":0.99,"rmse":0."fine_tuned":{"keep":1.0,"distil":0.5,"best_epoch":"history":[{"epoch":"step":"loss":"validation_loss":
 lie outside what the rows that calibrate reach, and are taken as its end: calibrate with rows like those that it meets.
"The input goes in as real numbers, each channel by a step and a zero of its own.","The input goes in as whole numbers 0..255, as they are."
,"binary",[10,"ternary",["two_bit",["int3",["int4",["int16",[128]],[64]],[32]],
{"graph":{"inputs":{"input":{"shape":[28,28,1],"lo":0,"hi":255,"total":null}},"ops":[
{"op":"Conv","name":"layer_0","inputs":["input"],"shape":[28,28,1],"kernel":[3,3],"strides":[1,1],"dilations":[1,1],"pads":[0,0,0,0],"format":"int8","groups":1,"pad_I":null,"sum_bits":32},
{"op":"Requantize","name":"layer_0_out","inputs":["layer_0"],"bias_shift":13,"shift":22,"rounding":2097152,"lo":0,"hi":255,"step":0.00
{"op":"MaxPool","name":"layer_2_out","inputs":["layer_0_out"],"shape":[26,26,8],"kernel":[2,2],"strides":[2,2],"dilations":[1,1],"pads":[0,0,0,0]},
{"op":"Dense","name":"layer_7","inputs":["layer_5_out"],"format":"int8","sum_bits":32},
{"op":"Requantize","name":"output","inputs":["layer_7"],"bias_shift":6,"shift":15,"rounding":16384,"lo":-32767,"hi":32767,"step":0.001,"pre_shift":1},
{"op":"Argmax","name":"class","inputs":["output"]}],"outputs":["class","output"]},
"about":{"title":"Sequential","meaning":{"about":"Sequential, as integers.","quantities":{"input":[{"name":"input","unit":"","step":0.00392156862745098,"zero":0.0}],"output":[{"name":"output","unit":"","step":0.001,"zero":0.0}]},
"classes":{"class":["0","1","2","3","4","5","6","7","8","9"]},"notes":{"input":"axes (1, 28, 28) in the model; here (28, 28, 1), the last fastest"},"layouts":{"input":[[1,28,28],[1,2,0]],"output":[[10],[0]]}},
"application":{"name":"sensor","name":"vector"},"application":{"name":"image","unsure_below":0},"about":{"import_difference":0.0,"notices":["The input goes in as bytes: 255 stands for 1."],"findings":[],
"weights":{"layer_0":"exact scale","scale of the largest","refined rounding"},"rows":{"calibrated":2000,"measured":10000},"against":"the float model","against":"y",
"float":{"accuracy":"error_rms":0.0,"agreement":100.0},"integer":{"accuracy":"error_rms":0.00"agreement":99.}}},
"arrays":[["layer_0.weight_OI","int8",[8,9]],["layer_0_out.multiplier_O","int16",[8]],["layer_0_out.bias_O","int16",[16]],["output.multiplier_O","int16",[10]],["output.bias_O","int16",[10]]]}"""


def pack_content(content: Mapping[str, Any], digest: bytes, arrays: Mapping[str, np.ndarray], formats: Mapping[str, Format]) -> bytes:  # fmt: skip
    """Return content (JSON), a digest of 32 bytes and integer arrays as bytes; formats: of the arrays that are packed weights."""
    table, payload = [], b""
    for name, array in arrays.items():
        weights = formats.get(name)
        payload += (
            weights.pack(array.ravel()).tobytes() if weights else array.astype(array.dtype.newbyteorder("<")).tobytes()
        )
        table.append([name, weights.name if weights else array.dtype.name, array.shape])
    text = json.dumps({**content, "arrays": table}, separators=(",", ":"), ensure_ascii=False).encode()
    return digest + _deflated(struct.pack("<I", len(text)) + text + payload)


def unpack_content(packed: bytes) -> tuple[dict[str, Any], bytes, dict[str, np.ndarray]]:
    """Return what was packed; ValueError, KeyError or zlib.error where it is damaged."""
    stream = zlib.decompressobj(zdict=WORDS)
    whole = stream.decompress(packed[DIGEST:]) + stream.flush()
    (length,) = struct.unpack("<I", whole[:4].ljust(4, b"\0"))
    content, at, arrays = json.loads(whole[4 : 4 + length]), 4 + length, {}
    for name, kind, shape in content.pop("arrays"):
        count = int(np.prod(shape))
        weights = FORMATS.get(kind)
        size = weights.packed_bytes(count) if weights else count * np.dtype(kind).itemsize
        data = whole[at : at + size]
        at += size
        found = weights.unpack(np.frombuffer(data, np.uint8), count) if weights else np.frombuffer(data, np.dtype(kind).newbyteorder("<"))  # fmt: skip
        arrays[name] = found.reshape(shape).astype(weights.type if weights else kind)
    if at != len(whole):
        raise ValueError(f"{len(whole)} bytes where {at} are described")
    return content, packed[:DIGEST], arrays


def _deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY, WORDS)
    return stream.compress(data) + stream.flush()
