"""Counting what is learnt: every op of a graph, those of bodies that run for each row among them."""

from __future__ import annotations

from collections.abc import Iterator

from levsha.ir import Graph, Op
from levsha.ops.conv import Conv
from levsha.ops.dense import Dense
from levsha.ops.embed import Embed
from levsha.ops.scan import Scan


def every_op(graph: Graph) -> Iterator[tuple[str, Op]]:
    """Yield every op with the name of the layer it belongs to: the op's own, or that of the Scan whose body holds it."""
    for op in graph.ops:
        yield op.name, op
        if isinstance(op, Scan):
            yield from ((op.name, inner) for _, inner in every_op(op.body))


def weights_of(graph: Graph) -> dict[str, int]:
    """Return how many weights each layer has: elements of its matrices and of its table, of layers that have any."""
    found: dict[str, int] = {}
    for layer, op in every_op(graph):
        size = op.weight_OI.size if isinstance(op, Dense | Conv) else op.table_VE.size if isinstance(op, Embed) else 0
        if size:
            found[layer] = found.get(layer, 0) + int(size)
    return found
