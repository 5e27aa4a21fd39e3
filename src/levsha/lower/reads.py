"""What is made of the values of a net: which become other integers, and which are never negative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levsha.lower.node import SAME, Clip, Node


def requantised(nodes: Sequence[Node]) -> set[str]:
    """Return the values of which other integers are made; what only moves to an output stays as fine as it is."""
    found: set[str] = set()
    for node in reversed(nodes):
        if node.kind not in (*SAME, "concat") or node.output in found:
            found |= set(node.inputs)
    return found


def keeps_channels(node: Node, channels: int) -> bool:
    """Say whether a gather from a value of so many channels, the last axis, leaves each channel of its own one channel of it alone.

    Only then a channel of the output has one step and one zero, where the input's channels have steps and zeros of their own.
    """
    assert node.index is not None
    if (node.index < 0).any():
        return False  # the fill is one integer, and would stand for another number in each channel
    rows = (node.index.ravel() % channels).reshape(-1, node.shape[-1])
    return bool((rows == rows[0]).all())


def never_negative_of(nodes: Sequence[Node]) -> set[str]:
    """Return the values that are sums, means and products of what a clip keeps from being negative."""
    found: set[str] = set()
    for node in nodes:
        inherits = node.kind in ("sum", "add", "multiply", "concat", *SAME) and all(
            name in found for name in node.inputs
        )
        kept = (
            inherits
            and node.activation is None
            and np.min(node.factor_O) >= 0 <= np.min(node.offset_O)
            and min(node.factors, default=0) >= 0
        )
        if kept or (isinstance(node.activation, Clip) and node.activation.lo >= 0):
            found.add(node.output)
    return found
