"""Any other activation: the sums become the index of a table."""

from __future__ import annotations

from levsha.lower.calibrate import Scale
from levsha.lower.node import Node
from levsha.lower.rounding import round_layer
from levsha.lower.rules.base import Layer, Sums
from levsha.ops import Lookup


def finish(node: Node, sums: Sums, scale: Scale) -> Layer:
    """Return the layer: sums, requantised to an index, looked up."""
    assert scale.table is not None
    factor_O, offset_O = sums.factor_O / scale.width, (sums.offset_O - scale.low) / scale.width
    last = len(scale.table) - 1
    layer = round_layer(
        sums.integers, factor_O, offset_O, sums.proven, 0, last, scale.width, sums.reach_O, sums.most_error
    )
    index = f"index{node.output[3:]}" if node.output.startswith("act") else f"{node.output}_index"
    ops = (layer.requantize(index, sums.source), Lookup(name=node.output, inputs=(index,), table=scale.table))
    return Layer(node, (*sums.ops, *ops), sums, layer, scale)
