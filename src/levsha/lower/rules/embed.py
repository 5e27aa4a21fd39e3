"""Rows of a table by number: the table is what is rounded."""

from __future__ import annotations

import numpy as np

from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Layer
from levsha.ops import Embed


def lower(node: Node, context: Context) -> Layer:
    """Return an Embed of int8 entries, at the output's step."""
    scale = context.scales[node.output]
    assert node.weight_OI is not None and node.activation is None
    table_VE = np.rint(node.weight_OI.detach().double().numpy() / scale.step).clip(scale.lo, scale.hi).astype(np.int64)
    known = context.known[node.inputs[0]]
    return Layer(node, (Embed(name=node.output, inputs=(known.name,), table_VE=table_VE),), None, None, scale)
