"""Facts about an ONNX graph: where a node stands, which are needed, what a node of constants makes, which shapes ONNX infers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def place_of(node: NodeProto, number: int) -> str:
    """Return where a node stands: in the user's source where torch has left its trace, else by name.

    torch writes frames from the outermost on; the last one outside of its own files is the user's.
    """
    name = f'node "{node.name}"' if node.name else f"node {number}"
    notes = {note.key: note.value for note in node.metadata_props}
    frames = re.findall(
        r'File "([^"]+)", line (\d+), in [^\n]*(?:\n\s+(.+))?', notes.get("pkg.torch.onnx.stack_trace", "")
    )
    own = [frame for frame in frames if not re.search(r"(^|[/\\])torch[/\\]", frame[0])]
    if not own:
        return f"{name} ({node.op_type})"
    file, line, text = own[-1]
    base = re.split(r"[/\\]", file)[-1]
    return f"{base}, line {line}: {text.strip()} ({name}, {node.op_type})"


def compute_constant(
    proto: NodeProto, feeds: Mapping[str, np.ndarray], opsets: Mapping[str, int], ir_version: int
) -> list[np.ndarray] | None:
    """Return what a node makes of constants: by ONNX's reference, else by ONNX Runtime; None where neither can."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    try:
        return [np.asarray(x) for x in ReferenceEvaluator(proto, opsets=dict(opsets)).run(None, dict(feeds))]
    except Exception:  # the reference raises many kinds; ONNX Runtime is asked next
        pass
    try:
        import onnxruntime

        ins = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in feeds.items()
        ]
        outs = [helper.make_empty_tensor_value_info(name) for name in proto.output if name]
        sets = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        model = helper.make_model(
            helper.make_graph([proto], "constant", ins, outs), opset_imports=sets, ir_version=ir_version
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(x) for x in session.run(None, dict(feeds))]
    except Exception:  # many kinds too; the node stays as it is, and is refused by name if it cannot become a call
        return None


def attributes(proto: NodeProto) -> dict[str, Any]:
    """Return a node's attributes as plain values: numbers, bytes, lists, arrays."""
    from onnx import helper, numpy_helper

    found = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    return {name: numpy_helper.to_array(v) if hasattr(v, "raw_data") else v for name, v in found.items()}


def _inner(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """All nodes, those inside of others too."""
    for node in nodes:
        yield node
        for a in node.attribute:
            if a.HasField("g"):
                yield from _inner(a.g.node)


def read_names(nodes: Iterable[NodeProto]) -> set[str]:
    """Return all names that nodes read, those inside of them too."""
    return {name for node in _inner(nodes) for name in node.input}


def needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= read_names([node])
            wanted |= {value.name for a in node.attribute if a.HasField("g") for value in a.g.output}
    return kept[::-1]


def inferred(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes that ONNX infers, for a batch of one where the file leaves it open."""
    from onnx import ModelProto, shape_inference

    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_value = dim.dim_value or 1
    try:
        graph = shape_inference.infer_shapes(fixed, data_prop=True).graph
    except Exception:
        return {}
    found = {}
    for value in (*graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found
