"""The meaning of a graph.  If a target disagrees with this file, the target is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from levsha.errors import LevshaError
from levsha.ir import Graph, Value


def interpret(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every value of the graph, inputs included, for a batch.

    inputs: integers of shape (N, *shape) by input name, inside the proven range of that input (else LevshaError).
    """
    known: dict[str, np.ndarray] = {}
    for name, value in graph.inputs.items():
        known[name] = _checked(name, value, inputs)
    for op in graph.ops:
        known[op.name] = op.run(*(known[name] for name in op.inputs))
    return known


def _checked(name: str, value: Value, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in inputs:
        raise LevshaError(f"interpret: input {name!r} is missing; given: {', '.join(inputs) or 'none'}.")
    x = np.asarray(inputs[name])
    if x.shape[1:] != value.shape or x.dtype.kind not in "iu":
        raise LevshaError(
            f"interpret: input {name!r} is {x.dtype} of shape {x.shape}; needed: integers of shape (N, {', '.join(map(str, value.shape))})."
        )
    outside = (x < value.lows) | (x > value.highs)
    if outside.any():
        at = tuple(np.argwhere(outside)[0])
        lo, hi = (np.broadcast_to(ends, value.shape)[at[1:]] for ends in (value.lows, value.highs))
        raise LevshaError(
            f"interpret: input {name!r} holds {x[at]} at {list(map(int, at))}; its proven range there is {lo}..{hi}."
        )
    return x.astype(np.int64)
