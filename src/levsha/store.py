"""A graph as one file, with a hash of everything that decides what it computes: a .safetensors file of one tensor, the bytes that `stored` packs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.formats import FORMATS, Format
from levsha.ir import Graph, Op, Value
from levsha.ops import OPS
from levsha.packing import pack_content, unpack_content

KIND, OLDER = "levsha-net-2", "levsha-net-1"
_TYPES = (np.int8, np.int16, np.int32, np.int64)


def save_graph(graph: Graph, path: Path, about: dict[str, Any] | None = None) -> str:
    """Write a graph and return its hash; `about` is kept beside it and does not enter the hash."""
    header, tensors = _describe(graph)
    digest = _digest(header, tensors)
    content = {"graph": json.loads(header), "about": about or {}}
    packed = pack_content(content, bytes.fromhex(digest), tensors, _formats(graph))
    write_file(path, stable(save({"net": np.frombuffer(packed, np.uint8)}, {"kind": KIND})))
    return digest


def graph_hash(graph: Graph) -> str:
    """Return the SHA-256 of a graph's ops, ranges and weights, as hexadecimal digits."""
    return _digest(*_describe(graph))


def load_graph(path: Path) -> tuple[Graph, dict[str, Any]]:
    """Read a graph and what was kept beside it; LevshaError names a file that is no net, is damaged or was altered."""
    metadata, tensors = read_safetensors(path)
    if metadata.get("kind") not in (KIND, OLDER):
        raise LevshaError(
            f"{path}: is {metadata.get('kind', 'no Levsha file')!r}; an integer net ({KIND}) is needed, such as RUN/nets/VARIANT.safetensors."
        )
    try:
        if metadata["kind"] == KIND:
            metadata, tensors = _unpacked(tensors["net"].tobytes())
        if _digest(metadata["graph"], tensors) != metadata["hash"]:
            raise LevshaError(
                f"{path}: its hash does not match its content; the file was altered. Make it again with levsha run."
            )
        return _rebuild(json.loads(metadata["graph"]), tensors), json.loads(metadata["about"])
    except (KeyError, TypeError, ValueError, IndexError, zlib.error) as error:
        raise LevshaError(f"{path}: its header is damaged ({error}). Make it again with levsha run.") from None


def _unpacked(packed: bytes) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays as the older kind of file has them."""
    content, digest, tensors = unpack_content(packed)
    return {"graph": json.dumps(content["graph"]), "hash": digest.hex(), "about": json.dumps(content["about"])}, tensors


def _formats(graph: Graph) -> dict[str, Format]:
    """The format of each matrix of weights, by the name of its array."""
    found: dict[str, Format] = {}
    for op in graph.ops:
        for field in dataclasses.fields(op):
            value = getattr(op, field.name)
            if isinstance(value, Format):
                found[f"{op.name}.weight_OI"] = value
            elif isinstance(value, Graph):
                found |= {f"{op.name}.{field.name}.{key}": inner for key, inner in _formats(value).items()}
    return found


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return metadata and arrays of a .safetensors file; LevshaError where it cannot be read."""
    try:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        return json.loads(data[8 : 8 + length]).get("__metadata__", {}), load(data)
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception as error:  # the parser's own exceptions have no common base
        raise LevshaError(f"{path}: is no sound .safetensors file ({error}).") from None


def stable(file: bytes) -> bytes:
    """Return a .safetensors file with its header in sorted order: the library's own order differs from call to call."""
    (length,) = struct.unpack("<Q", file[:8])
    header = json.dumps(json.loads(file[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + file[8 + length :]


def _describe(graph: Graph) -> tuple[str, dict[str, np.ndarray]]:
    header, tensors = _parts(graph)
    return json.dumps(header), tensors


def _parts(graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What JSON holds of a graph, and its arrays; a field that is a graph is described likewise, inside."""
    tensors: dict[str, np.ndarray] = {}
    ops = []
    for op in graph.ops:
        fields: dict[str, Any] = {"op": type(op).__name__}
        for field in dataclasses.fields(op):
            value = getattr(op, field.name)
            if field.name in op.later and value is op.later[field.name]:
                continue
            if isinstance(value, np.ndarray):
                tensors[f"{op.name}.{field.name}"] = _narrow(value)
            elif isinstance(value, Graph):
                fields[field.name], inner = _parts(value)
                tensors |= {f"{op.name}.{field.name}.{key}": array for key, array in inner.items()}
            else:
                fields[field.name] = value.name if isinstance(value, Format) else value
        ops.append(fields)
    inputs = {name: describe_value(v) for name, v in graph.inputs.items()}
    return {"inputs": inputs, "ops": ops, "outputs": graph.outputs}, tensors


def describe_value(value: Value) -> dict[str, Any]:
    """Return what is proven of an input, for a header."""
    ranges = {} if value.ranges is None else {"ranges": value.ranges}
    return {"shape": value.shape, "lo": value.lo, "hi": value.hi, "total": value.total, **ranges}


def _value(about: dict[str, Any]) -> Value:
    ranges = tuple((lo, hi) for lo, hi in about["ranges"]) if "ranges" in about else None
    return Value(tuple(about["shape"]), about["lo"], about["hi"], about["total"], ranges=ranges)


def _rebuild(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Graph:
    inputs = {name: _value(about) for name, about in header["inputs"].items()}
    ops: list[Op] = []
    for fields in header["ops"]:
        kind = OPS[fields.pop("op")]
        own = _under(tensors, fields["name"])
        values = {key: _field(value, _under(own, key)) for key, value in fields.items()}
        values |= {key: array for key, array in own.items() if "." not in key}
        if "format" in values:
            values["format"] = FORMATS[values["format"]]
        ops.append(kind(**values))
    return Graph(inputs, tuple(ops), tuple(header["outputs"]))


def _field(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    """A field from JSON: what is an object there was a graph."""
    if isinstance(value, dict):
        return _rebuild(value, tensors)
    return tuple(value) if isinstance(value, list) else value


def _under(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with this one, without it."""
    return {key.split(".", 1)[1]: array for key, array in tensors.items() if key.split(".", 1)[0] == name}


def _narrow(array: np.ndarray) -> np.ndarray:
    for kind in _TYPES:
        if np.array_equal(array.astype(kind), array):
            return np.ascontiguousarray(array.astype(kind))
    raise AssertionError("a graph holds integers")


def _digest(header: str, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}".encode() + tensors[name].astype("<i8").tobytes())
    return digest.hexdigest()
