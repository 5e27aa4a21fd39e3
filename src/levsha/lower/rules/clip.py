"""No activation, or one that only clips: requantising does it on the way."""

from __future__ import annotations

from levsha.lower.calibrate import Scale
from levsha.lower.node import Node
from levsha.lower.rounding import round_layer
from levsha.lower.rules.base import Layer, Sums


def finish(node: Node, sums: Sums, scale: Scale) -> Layer:
    """Return the layer: sums, requantised to lo..hi."""
    factor_O, offset_O = sums.factor_O / scale.step, (sums.offset_O - scale.zero) / scale.step
    step = scale.step if isinstance(scale.step, float) else 1.0
    layer = round_layer(
        sums.integers, factor_O, offset_O, sums.proven, scale.lo, scale.hi, step, sums.reach_O, sums.most_error
    )
    return Layer(node, (*sums.ops, layer.requantize(node.output, sums.source)), sums, layer, scale)
