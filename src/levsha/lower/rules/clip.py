"""No activation, or one that only clips: requantising does it on the way."""

from __future__ import annotations

import numpy as np

from levsha.lower.calibrate import Scale
from levsha.lower.node import Node, alike
from levsha.lower.rounding import round_layer
from levsha.lower.rules.base import Layer, Sums


def finish(node: Node, sums: Sums, scale: Scale) -> Layer:
    """Return the layer: sums, requantised to lo..hi."""
    factor, offset, step_O, zero, reach_O, proven_O = alike(
        node.shape, sums.factor_O, sums.offset_O, scale.step, scale.zero, sums.reach_O, sums.proven
    )
    proven = sums.proven if isinstance(sums.proven, int) else proven_O.astype(np.int64)
    factor_O, offset_O = factor / step_O, (offset - zero) / step_O
    step = scale.step if isinstance(scale.step, float) else 1.0
    layer = round_layer(
        sums.integers, factor_O, offset_O, proven, scale.lo, scale.hi, step, reach_O, sums.most_error
    )
    return Layer(node, (*sums.ops, layer.requantize(node.output, sums.source)), sums, layer, scale)
