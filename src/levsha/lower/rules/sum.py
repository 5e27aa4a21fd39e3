"""The sum of each window, from which a mean is requantised; legend: C channels."""

from __future__ import annotations

import math

import numpy as np

from levsha.ir import Value
from levsha.lower.node import Node, alike
from levsha.lower.rules.base import Context, Sums
from levsha.ops import SumPool


def lower(node: Node, context: Context) -> Sums:
    """Return a SumPool; the factor of the node makes means of its sums."""
    window, known = node.window, context.known[node.inputs[0]]
    assert window is not None
    op = SumPool(
        name=node.name, inputs=(known.name,), shape=window.shape, kernel=window.kernel, strides=window.strides,
        dilations=window.dilations, pads=window.pads,
    )  # fmt: skip
    out = op.infer(Value(window.shape, known.value.lo, known.value.hi))
    proven = max(-out.lo, out.hi)
    factor, offset, step, zero, count = alike(
        node.shape, node.factor_O, node.offset_O, known.step, known.zero, _count(node)
    )
    factor_O, offset_O = factor * step, offset + factor * zero * count
    return Sums((op,), node.name, factor_O, offset_O, proven, np.full(factor_O.size, float(proven)))


def _count(node: Node) -> np.ndarray | float:
    """How many real elements each window has: one number where that is the same for all, else one an element of the output."""
    window = node.window
    assert window is not None
    if not any(window.pads):
        return float(math.prod(window.kernel))
    ones = SumPool(
        name="n", inputs=("x",), shape=(*window.shape[:2], 1), kernel=window.kernel, strides=window.strides,
        dilations=window.dilations, pads=window.pads,
    ).run(np.ones((1, *window.shape[:2], 1), np.int64))  # fmt: skip
    return np.broadcast_to(ones[0], node.shape).astype(np.float64).ravel()
