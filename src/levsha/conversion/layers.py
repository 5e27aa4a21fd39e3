"""A net layer by layer: where it stands in the user's source, what it multiplies, what it takes."""

from __future__ import annotations

from typing import Any

from levsha.ir import Graph, constant_bytes
from levsha.lower import Lowered


def layer_rows(lowered: Lowered) -> list[dict[str, Any]]:
    """Return a row for each layer: name, kind, ops, place, shape and range of its output, multiply-accumulates, bytes learnt."""
    graph, rows = lowered.graph, []
    for layer in lowered.layers:
        macs, learnt = 0, 0
        for op in layer.ops:
            x = [graph.values[name] for name in op.inputs]
            macs += op.macs(graph.values[op.name], *x)
            learnt += _learnt(graph, op.name)
        known = lowered.known[layer.node.output]
        rows.append({
            "name": layer.node.name, "kind": layer.node.kind, "ops": [op.name for op in layer.ops], "place": layer.node.place,
            "shape": list(layer.node.shape), "lo": known.value.lo, "hi": known.value.hi, "macs": macs, "bytes": learnt,
        })  # fmt: skip
    return rows


def _learnt(graph: Graph, name: str) -> int:
    op = next(op for op in graph.ops if op.name == name)
    alone = Graph({n: graph.values[n] for n in dict.fromkeys(op.inputs)}, (op,))
    return constant_bytes(alone)
