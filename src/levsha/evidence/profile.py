"""Where a net's cycles go: the net is built up to the end of each layer in turn, and the difference is that layer's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from levsha.errors import LevshaError
from levsha.ir import Graph
from levsha.targets import Target

ROWS = 2  # vectors that are run: cycles depend on how many activations are zero


def layer_cycles(
    graph: Graph, target: Target, layers: Sequence[Sequence[str]], inputs: Mapping[str, np.ndarray]
) -> list[int | None]:
    """Return the cycles of each layer, the mean over a few vectors; None where that could not be measured.

    layers: the names of the ops of each, in the graph's order. inputs: integers (N, *shape), of which the first rows are run. Whatever a
    layer shares with the one before, such as a loop, counts for the later one.
    """
    place = {op.name: k for k, op in enumerate(graph.ops, 1)}
    found: list[int | None] = []
    before: int | None = 0
    for ops in layers:
        if not ops:
            found.append(0)
            continue
        total = _cycles(graph.prefix(max(place[name] for name in ops)), target, inputs)
        found.append(None if total is None or before is None else max(0, total - before))
        before = total if total is not None else before
    return found


def _cycles(graph: Graph, target: Target, inputs: Mapping[str, np.ndarray]) -> int | None:
    few = {name: x[:ROWS] for name, x in inputs.items()}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            cycles = target.run(graph, few, Path(scratch)).cycles
        except LevshaError:
            return None
    return None if cycles is None else int(cycles.sum(1).mean())
