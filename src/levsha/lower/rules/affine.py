"""A node that works element by element, such as standardising a sensor's readings: no sums, just requantising."""

from __future__ import annotations

import numpy as np

from levsha.lower.node import Node, alike
from levsha.lower.rules.base import Context, Sums

MOST_ERROR = 0.001  # of a multiplier: what is lost of a reading here is lost to all layers


def lower(node: Node, context: Context) -> Sums:
    """Return the input itself as what is requantised; each element has a step, a zero and a reach of its own."""
    (source,) = node.inputs
    known = context.known[source]
    ends = np.maximum(-known.value.lows, known.value.highs)
    factor, offset, step, zero, reach_O = alike(node.shape, node.factor_O, node.offset_O, known.step, known.zero, ends)
    reach_O = reach_O.astype(ends.dtype)
    return Sums((), known.name, factor * step, offset + factor * zero, reach_O, reach_O, most_error=MOST_ERROR)
