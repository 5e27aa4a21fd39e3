"""Layer normalisation: a LayerNorm, whose integers are requantised with weights and biases; legend: R rows, I elements of a row."""

from __future__ import annotations

import math

import numpy as np

from levsha.arith import INT16_MAX
from levsha.ir import Op, Value
from levsha.lower.calibrate import Scale
from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Sums
from levsha.lower.rules.several import requantised
from levsha.lower.weights import Known
from levsha.ops import LayerNorm
from levsha.ops.layer_norm import MOST_BITS, MOST_WIDTH, ONE, TOP

MOST = 8191  # of what is requantised first


def lower(node: Node, context: Context) -> Sums:
    """Return the normalised rows; values whose elements differ in step or zero, or that are too wide, are requantised first."""
    known, size = context.known[node.inputs[0]], node.shape[-1]
    ops: list[Op] = []
    if np.size(known.step) > 1 or np.size(known.zero) > 1 or not _fits(known.value, size):
        ends = np.stack(
            [known.spread(known.zero) + end * known.spread(known.step) for end in (known.value.lo, known.value.hi)]
        )
        most = min(MOST, math.isqrt(TOP // 2 // size))
        scale = Scale(float(np.abs(ends).max()) / most, 0.0, -most, most)
        ops.append(requantised(f"{node.output}_alike", known, scale))
        known = Known(Value(known.value.shape, -most, most), scale.step, 0.0, ops[-1].name)
    width, epsilon = known.value.hi - known.value.lo + 1, _epsilon(node, known)
    bits = next(bits for bits in range(MOST_BITS, -1, -1) if width << bits <= MOST_WIDTH)
    room = TOP - 2 - size * (width * width + 1) // 4  # an epsilon beyond it leaves nothing of the values anyway
    op = LayerNorm(name=node.name, inputs=(known.name,), size=size, epsilon=min(epsilon, room), bits=bits)
    factor_O = np.broadcast_to(node.factor_O * math.sqrt(size) / ONE, (max(np.size(node.factor_O), size),))
    offset_O = np.broadcast_to(node.offset_O, factor_O.shape).astype(np.float64)
    return Sums((*ops, op), node.name, factor_O, offset_O, INT16_MAX, np.full(factor_O.shape, float(INT16_MAX)))


def _epsilon(node: Node, known: Known) -> int:
    """What is added to the sum of squares, in steps."""
    return int(np.rint(node.shape[-1] * node.epsilon / float(np.ravel(known.step)[0]) ** 2))


def _fits(x: Value, size: int) -> bool:
    width = x.hi - x.lo + 1
    return width <= MOST_WIDTH and size * (width * width + 1) // 4 + 2 < TOP // 2
