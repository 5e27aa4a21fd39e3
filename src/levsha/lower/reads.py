"""What is made of the values of a net: which become other integers, and which are never negative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levsha.lower.node import SAME, Clip, Function, Node

CARRIES = ("linear", "conv", "sum", "add", "affine")  # kinds whose integers may have steps by channel
TAKES = ("linear", "conv", "sum", "add", "affine", "concat", *SAME)  # kinds that read such integers

FAR = 8  # spans from 0


def is_far(h: np.ndarray) -> bool:
    """Say whether values lie much farther from 0 than from each other: then they count from their middle.

    >>> is_far(np.array([101324.0, 101326.0])), is_far(np.array([-1.0, 1.0]))
    (True, False)
    """
    return 0 < float(np.ptp(h)) * FAR < float(np.abs(h).min())


def requantised(nodes: Sequence[Node]) -> set[str]:
    """Return the values of which other integers are made; what only moves to an output stays as fine as it is."""
    found: set[str] = set()
    for node in reversed(nodes):
        rescales = node.kind == "affine" and node.activation is None
        if not (node.kind in (*SAME, "concat") or rescales) or node.output in found:
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


def steps_by_channel(node: Node, nodes: Sequence[Node]) -> bool:
    """Say whether a value can have a step for each channel at no cost: its layer has factors by channel, and all who read it."""
    if node.kind not in CARRIES or isinstance(node.activation, Function) or node.shape[-1] == 1:
        return False
    if node.factor_O.size not in (1, node.shape[-1]) or node.offset_O.size not in (1, node.shape[-1]):
        return False
    return stays_apart(node.output, node.shape[-1], nodes, TAKES)


def stays_apart(name: str, channels: int, nodes: Sequence[Node], kinds: Sequence[str] | None = None) -> bool:
    """Say whether all who read a value see its channels, the last axis, apart: they have factors by channel, or pass it on as it is.

    kinds: those that may read it, any where none are given.
    """
    known = {name: channels}  # of the value, and of what passes it on
    for node in nodes:
        read = [known[name] for name in node.inputs if name in known]
        if not read:
            continue
        seen = (
            [node.window.shape[2]] if node.window is not None else [node.cell.inputs] if node.cell is not None else []
        )
        if (kinds is not None and node.kind not in kinds) or any(width != read[0] for width in seen):
            return False
        if node.kind == "gather" and not keeps_channels(node, read[0]):
            return False
        known |= {node.output: node.shape[-1]} if node.kind in (*SAME, "concat") else {}
    return True


def is_padded(name: str, nodes: Sequence[Node]) -> bool:
    """Say whether some node reads a value with padding around it, or with a fill between its elements, which stand for a real number."""
    names = {name}
    for node in nodes:
        if names & set(node.inputs):
            filled = node.kind == "gather" and node.index is not None and bool((node.index < 0).any())
            if filled or (node.kind == "conv" and node.window is not None and any(node.window.pads)):
                return True
            names |= {node.output} if node.kind in (*SAME, "concat") else set()
    return False


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
