"""What makes no new integers: a maximum, a move to other places, or integers that stand for something else than before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from levsha.ir import Value
from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Layer
from levsha.lower.weights import Known
from levsha.ops import Gather, MaxPool


def know(node: Node, read: Known) -> Known:
    """Return what is known of the output, from what is known of the input."""
    if node.kind == "alias":
        step, zero = fewest(node.factor_O * read.step), fewest(node.factor_O * read.zero + node.offset_O)
        return replace(read, step=step, zero=zero)
    lo, hi = read.value.lo, read.value.hi
    if node.kind == "max":
        return Known(Value(node.shape, lo, hi), read.step, read.zero, node.output)
    assert node.index is not None
    index = np.maximum(node.index, 0)
    step, zero = (fewest(read.spread(what).ravel()[index], node.shape[-1]) for what in (read.step, read.zero))
    fill = _fill(node, read) if (node.index < 0).any() else lo
    return Known(Value(node.shape, min(lo, fill), max(hi, fill)), step, zero, node.output)


def fewest(numbers: float | np.ndarray, channels: int = 0) -> float | np.ndarray:
    """Return one number where all are equal, one a channel where that is enough."""
    flat = np.asarray(numbers, np.float64).ravel()
    if (flat == flat[0]).all():
        return float(flat[0])
    if channels and flat.size % channels == 0 and (flat.reshape(-1, channels) == flat[:channels]).all():
        return flat[:channels]
    return flat


def _fill(node: Node, read: Known) -> int:
    """The integer that stands for the fill; it needs one step and one zero."""
    return int(np.rint((node.fill - float(np.ravel(read.zero)[0])) / float(np.ravel(read.step)[0])))


def lower_max(node: Node, context: Context) -> Layer:
    """Return a MaxPool: the largest integer stands for the largest value."""
    window, known = node.window, context.known[node.inputs[0]]
    assert window is not None and node.activation is None
    op = MaxPool(
        name=node.output, inputs=(known.name,), shape=window.shape, kernel=window.kernel, strides=window.strides,
        dilations=window.dilations, pads=window.pads,
    )  # fmt: skip
    return Layer(node, (op,), None, None, None)


def lower_gather(node: Node, context: Context) -> Layer:
    """Return a Gather."""
    known = context.known[node.inputs[0]]
    assert node.index is not None and node.activation is None
    fill = _fill(node, known) if (node.index < 0).any() else 0
    return Layer(node, (Gather(name=node.output, inputs=(known.name,), index=node.index, fill=fill),), None, None, None)


def lower_alias(node: Node, context: Context) -> Layer:
    """Return nothing to compute."""
    return Layer(node, (), None, None, None)
