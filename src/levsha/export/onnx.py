"""ONNX of integers alone, which computes what the interpreter computes, bit for bit; docs/formats.md says what is in the file."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from levsha import __version__
from levsha.builder import held
from levsha.errors import LevshaError
from levsha.export.base import Source
from levsha.export.outline import outline
from levsha.ir import Graph, Value
from levsha.meaning import Meaning
from levsha.net import Net

OPSET, IR_VERSION = 17, 8  # of 2022: read by ONNX Runtime from 1.12 on
BATCH = "N"


def write(source: Source) -> dict[str, bytes]:
    """Return the net as NAME.onnx; LevshaError where the package onnx is missing."""
    return {f"{source.name}.onnx": model(source.integer).SerializeToString(deterministic=True)}


def model(net: Net) -> Any:
    """Return the net as an onnx.ModelProto: inputs and outputs by their names, of shape (N, *shape), in their narrowest types."""
    onnx, graph = _onnx(), net.graph
    builder = Builder(onnx, graph)
    infos = {name: _info(onnx, name, value, net.meaning) for name, value in graph.values.items()}
    inner = [info for name, info in infos.items() if name in builder.made and name not in graph.outputs]
    proto = onnx.helper.make_graph(
        builder.nodes, "net", [infos[name] for name in graph.inputs], [infos[name] for name in graph.outputs],
        list(builder.constants.values()), value_info=inner,
    )  # fmt: skip
    found = onnx.helper.make_model(
        proto, producer_name="Levsha", producer_version=__version__, ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)], doc_string=net.meaning.about or net.title,
    )  # fmt: skip
    about = {
        key: text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
        for key, text in outline(net).items()
    }
    onnx.helper.set_model_props(found, about)
    onnx.checker.check_model(found, full_check=True)
    return found


def _onnx() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise LevshaError(f"--to onnx: needs the package onnx ({error}): .venv/bin/pip install onnx.") from None


def _info(onnx: Any, name: str, value: Value, meaning: Meaning) -> Any:
    """A value's type, shape and, in words, range and meaning."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    own = Meaning(
        meaning.notes.get(name, ""),
        {key: quantities for key, quantities in meaning.quantities.items() if key == name},
        {key: names for key, names in meaning.classes.items() if key == name},
    )
    ranges = "" if value.ranges is None else "; of each: " + ", ".join(f"{lo}..{hi}" for lo, hi in value.ranges)
    text = "\n".join([f"{value.lo}..{value.hi}{ranges}", *own.lines()])
    return onnx.helper.make_tensor_value_info(name, kind, [BATCH, *value.shape], doc_string=text)


class Builder:
    """Nodes and constants of a graph; see levsha.builder.OnnxBuilder, which this is.

    made: the values whose tensors bear their own names. Others are held in a wider type than they have, under another name.
    """

    def __init__(self, onnx: Any, graph: Graph) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[tuple[Any, ...], Any] = {}
        self._onnx, self._graph = onnx, graph
        self._kinds = {name: value.dtype.name for name, value in graph.inputs.items()}
        self._taken = set(graph.values)
        self._casts: dict[tuple[str, str], str] = {}
        self._tensors: Mapping[str, str] = {}
        self._values: Mapping[str, Value] = {}
        self._path = ""
        tensors = self.inline(graph, {name: name for name in graph.inputs})
        self.made = {name for name, tensor in tensors.items() if name == tensor and name not in graph.inputs}
        for name in graph.outputs:
            if tensors[name] != name:
                self._path, kind = name, graph.values[name].dtype.name
                same = self.kind(tensors[name]) == kind
                operator, attributes = ("Identity", {}) if same else ("Cast", {"to": self._code(kind)})
                self._add(operator, [tensors[name]], [name], attributes)

    def inline(self, graph: Graph, tensors: Mapping[str, str]) -> dict[str, str]:
        outer, known = (self._tensors, self._values, self._path), dict(tensors)
        for op in graph.ops:
            self._tensors, self._values = known, graph.values
            self._path = f"{outer[2]}.{op.name}" if outer[2] else op.name
            out, start = graph.values[op.name], len(self.nodes)
            tensor = self.cast(op.onnx(self, out, *(graph.values[name] for name in op.inputs)), held(out))
            if graph is self._graph and held(out) == out.dtype.name:
                tensor = self._renamed(tensor, op.name, start)
            known[op.name] = tensor
        self._tensors, self._values, self._path = outer
        return known

    def scan(self, body: Graph, starts: Mapping[str, str], rows: str, last: bool) -> str:
        """Loop along the first axis, the only one that every runtime knows."""
        row = list(body.inputs)[-1]
        given = [self.cast(tensor, held(body.inputs[name])) for name, tensor in (*starts.items(), (row, rows))]
        given[-1] = self._swapped(given[-1], len(body.inputs[row].shape))
        graph, kinds = self._body(body, last)
        names = [self._fresh(f"{self._path}.Scan") for _ in kinds]
        self._kinds |= dict(zip(names, kinds, strict=True))
        self._add("Scan", given, names, {"body": graph, "num_scan_inputs": 1})
        return names[0] if last else self._swapped(names[-1], len(body.values[body.outputs[0]].shape))

    def _swapped(self, tensor: str, axes: int) -> str:
        """Return a tensor with its first two axes swapped; axes: how many follow."""
        return self.node("Transpose", [tensor], perm=[1, 0, *range(2, 2 + axes)])

    def _body(self, body: Graph, last: bool) -> tuple[Any, list[str]]:
        """Return the graph that a loop runs for each row, and the types of its outputs: the states, and unless `last` what is stacked."""
        outer, casts = self.nodes, dict(self._casts)
        self.nodes, ports = [], {name: self._fresh(f"{self._path}.{name}") for name in body.inputs}
        self._kinds |= {port: held(body.inputs[name]) for name, port in ports.items()}
        tensors = self.inline(body, ports)
        states = list(zip(body.inputs, body.outputs, strict=False))  # the row, the last input, is no state
        made = [(name, self.cast(tensors[name], held(body.inputs[state]))) for state, name in states]
        made += [] if last else [(body.outputs[0], tensors[body.outputs[0]])]
        outs = {self.node("Identity", [tensor]): body.values[name].shape for name, tensor in made}
        ins = [self._port(port, body.inputs[name].shape) for name, port in ports.items()]
        graph = self._onnx.helper.make_graph(self.nodes, self._path, ins, [self._port(*out) for out in outs.items()])
        self.nodes, self._casts = outer, casts  # what the body computed is known only there
        return graph, [self.kind(out) for out in outs]

    def _port(self, tensor: str, shape: Sequence[int]) -> Any:
        return self._onnx.helper.make_tensor_value_info(tensor, self._code(self.kind(tensor)), [BATCH, *shape])

    def _renamed(self, tensor: str, name: str, start: int) -> str:
        """Call the tensor by the value's own name, if a node since `start` made it."""
        if not any(tensor in node.output for node in self.nodes[start:]):
            return tensor
        for node in self.nodes[start:]:
            for names in (node.input, node.output):
                names[:] = [name if other == tensor else other for other in names]
        self._kinds[name] = self._kinds.pop(tensor)
        self._casts = {
            (name if one == tensor else one, kind): name if other == tensor else other
            for (one, kind), other in self._casts.items()
        }
        return name

    def read(self, value: str, kind: str = "") -> str:
        tensor = self._tensors[value]
        return self.cast(tensor, kind) if kind else self.cast(tensor, held(self._values[value]))

    def unsigned(self, value: str) -> tuple[str, int]:
        tensor = self.read(value)
        if self.kind(tensor) == "uint8":
            return tensor, 0
        assert self.kind(tensor) == "int8"
        if (tensor, "unsigned") not in self._casts:
            moved = self.node("Add", [self.cast(tensor, "int32"), self.constant(128, "int32")])
            self._casts[tensor, "unsigned"] = self.cast(moved, "uint8")
        return self._casts[tensor, "unsigned"], 128

    def kind(self, tensor: str) -> str:
        return self._kinds[tensor]

    def cast(self, tensor: str, kind: str) -> str:
        if self.kind(tensor) == kind:
            return tensor
        if (tensor, kind) not in self._casts:
            self._casts[tensor, kind] = self.node("Cast", [tensor], kind, to=self._code(kind))
        return self._casts[tensor, kind]

    def constant(self, array: Any, kind: str) -> str:
        wide = np.asarray(array, np.int64)
        data = np.ascontiguousarray(wide.astype(kind)).reshape(wide.shape)
        assert (data == wide).all(), f"{self._path}: a constant does not fit {kind}"
        key = (kind, data.shape, data.tobytes())
        if key not in self.constants:
            name = self._fresh(f"{self._path}.constant")
            self.constants[key] = self._onnx.numpy_helper.from_array(data, name)
            self._kinds[name] = kind
        return self.constants[key].name

    def node(
        self, operator: str, inputs: Sequence[str], kind: str = "", **attributes: int | str | Sequence[int]
    ) -> str:
        name = self._fresh(f"{self._path}.{operator}")
        self._kinds[name] = kind or self.kind(inputs[0])
        self._add(operator, inputs, [name], attributes)
        return name

    def _add(self, operator: str, inputs: Sequence[str], outputs: list[str], attributes: Mapping[str, Any]) -> None:
        name = self._fresh(f"{outputs[0]}.{operator}") if outputs[0] in self._graph.values else outputs[0]
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, outputs, name, **attributes))

    def _fresh(self, name: str) -> str:
        found, count = name, 1
        while found in self._taken:
            count += 1
            found = f"{name}_{count}"
        self._taken.add(found)
        return found

    def _code(self, kind: str) -> int:
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
