"""A linear node: a Dense for each input and their sum, the one that changes fastest first; legend: O outputs, I inputs."""

from __future__ import annotations

import numpy as np

from levsha.ir import Op, Value
from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Sums
from levsha.lower.weights import columns_of, parts_of
from levsha.ops import Add, Dense


def lower(node: Node, context: Context) -> Sums:
    """Return the sums of a layer; where its inputs count from a zero of their own, that goes into the offset."""
    assert node.weight_OI is not None, node.name
    weights, known, options = context.weights[node.name], context.known, context.options
    parts = parts_of(node, weights.integers_OI, known)
    names = [node.name] if len(parts) == 1 else [f"{node.name}_{name.removesuffix('_counts')}" for name in node.inputs]
    ops: list[Op] = [
        Dense(
            name=name,
            inputs=(known[source].name,),
            weight_OI=part_OI,
            format=options.format_of(node.name),
            sum_bits=options.sum_bits,
        )
        for name, (source, part_OI) in zip(names, parts, strict=True)
    ]
    total = names[-1]
    for k, name in enumerate(reversed(names[:-1]), 2):
        total = node.name if k == len(names) else f"{node.name}_sum{k}"
        ops.append(Add(name=total, inputs=(ops[-1].name if k > 2 else names[-1], name)))
    ends = [bounds(part_OI, known[source].value) for source, part_OI in parts]
    lo_O, hi_O = sum(lo for lo, _ in ends), sum(hi for _, hi in ends)
    proven = max(-sum(int(lo.min()) for lo, _ in ends), sum(int(hi.max()) for _, hi in ends))
    step_in = columns_of(node, known)[0]
    factor_O = node.factor_O * weights.scale_O * step_in
    reach_O = np.maximum(-lo_O, hi_O)
    offset_O = node.offset_O + _from_zeros(node, context) + context.shifts.get(node.name, 0.0)
    return Sums(tuple(ops), total, factor_O, offset_O, proven, reach_O, weights, step_in)


def bounds(weight_OI: np.ndarray, x: Value) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest sum of each output, as Dense proves them for all."""
    lows, highs = (np.broadcast_to(end, x.shape).ravel() for end in (x.lows, x.highs))
    ends = np.stack([weight_OI * lows, weight_OI * highs])
    hi_O, lo_O = np.maximum(ends.max(0), 0).sum(1), np.minimum(ends.min(0), 0).sum(1)
    if x.total is not None:
        most_O = np.abs(weight_OI).max(1) * x.total
        hi_O, lo_O = np.minimum(hi_O, most_O), np.maximum(lo_O, -most_O)
    return lo_O, hi_O


def _from_zeros(node: Node, context: Context) -> np.ndarray | float:
    """What a layer makes of its inputs' zeros."""
    known = [context.known[name] for name in node.inputs]
    if not any(np.any(k.zero) for k in known):
        return 0.0
    assert node.weight_OI is not None
    zero_I = np.concatenate([k.spread(k.zero).ravel() for k in known])
    return node.factor_O * (node.weight_OI.detach().double().numpy() @ zero_I)
