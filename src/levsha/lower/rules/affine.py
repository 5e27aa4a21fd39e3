"""A node that works element by element, such as standardising a sensor's readings: no sums, just requantising."""

from __future__ import annotations

import numpy as np

from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Sums

MOST_ERROR = 0.001  # of a multiplier: what is lost of a reading here is lost to all layers


def lower(node: Node, context: Context) -> Sums:
    """Return the input itself as what is requantised; each element has a step, a zero and a reach of its own."""
    (source,) = node.inputs
    known = context.known[source]
    ends = np.maximum(-known.value.lows, known.value.highs)
    factor_O, offset_O = (
        np.atleast_1d(part) for part in (node.factor_O * known.step, node.offset_O + node.factor_O * known.zero)
    )
    width = max(factor_O.size, offset_O.size, ends.size)
    factor_O, offset_O, reach_O = (np.broadcast_to(part.ravel(), (width,)) for part in (factor_O, offset_O, ends))
    return Sums((), known.name, factor_O, offset_O, reach_O, reach_O, most_error=MOST_ERROR)
