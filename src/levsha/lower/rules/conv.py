"""A convolution: a Conv, whose padding is read as what stands for 0; legend: O outputs, I inputs of one output, C channels."""

from __future__ import annotations

import numpy as np

from levsha.ir import Op, Value
from levsha.lower.calibrate import BYTE_TOP, Scale
from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Sums
from levsha.lower.rules.same import fewest
from levsha.lower.rules.several import requantised
from levsha.lower.weights import Known, columns_of, taps_of
from levsha.ops import Conv


def lower(node: Node, context: Context) -> Sums:
    """Return the sums of a convolution; where its input counts from a zero of its own, that goes into the offset."""
    window, known, weights = node.window, context.known[node.inputs[0]], context.weights[node.name]
    assert window is not None and node.weight_OI is not None
    before, known = _holding_nothing(node, known)
    pad_I = _pad(node, known)
    op = Conv(
        name=node.name, inputs=(known.name,), shape=window.shape, kernel=window.kernel, strides=window.strides,
        dilations=window.dilations, pads=window.pads, groups=window.groups, weight_OI=weights.integers_OI,
        format=context.options.format_of(node.name), pad_I=pad_I, sum_bits=context.options.sum_bits,
    )  # fmt: skip
    x = Value(window.shape, known.value.lo, known.value.hi)
    out = op.infer(x)
    ends = np.stack([weights.integers_OI * x.lo, weights.integers_OI * x.hi])
    reach_O = np.maximum(np.maximum(ends.max(0), 0).sum(1), -np.minimum(ends.min(0), 0).sum(1))
    step_in = columns_of(node, {node.inputs[0]: known})[0]
    factor_O = node.factor_O * weights.scale_O * step_in
    offset_O = node.offset_O + node.factor_O * _from_zero(node, known) + context.shifts.get(node.name, 0.0)
    return Sums((*before, op), node.name, factor_O, offset_O, max(-out.lo, out.hi), reach_O, weights, step_in)


def _holding_nothing(node: Node, known: Known) -> tuple[list[Op], Known]:
    """The input with an integer for 0 in every channel, which padding needs: as it is, or requantised so that its range holds 0.

    Steps keep their ratios, so that the weights' columns stay what they are.
    """
    assert node.window is not None
    nothing_C = -np.atleast_1d(np.asarray(known.zero, np.float64)) / known.step
    lo, hi = known.value.lo, known.value.hi
    if not any(node.window.pads) or ((nothing_C >= lo - 0.5).all() and (nothing_C <= hi + 0.5).all()):
        return [], known
    low_C, high_C = np.minimum(lo, nothing_C), np.maximum(hi, nothing_C)
    wider = float((high_C - low_C).max()) / BYTE_TOP
    step = np.asarray(known.step) * wider
    zero = -step * np.rint((nothing_C - low_C) / wider)
    scale = Scale(fewest(step), fewest(zero), 0, BYTE_TOP)
    op = requantised(f"{node.name}_padded", known, scale)
    return [op], Known(Value(known.value.shape, 0, BYTE_TOP), scale.step, scale.zero, op.name)


def _pad(node: Node, known: Known) -> np.ndarray | None:
    """The integer of each channel that stands for 0, or comes nearest to it; None where that is 0, or nothing is padded."""
    assert node.window is not None
    if not any(node.window.pads) or not np.any(known.zero):
        return None
    nearest_C = np.rint(-np.asarray(known.zero) / known.step).clip(known.value.lo, known.value.hi)
    return np.broadcast_to(nearest_C, (node.window.shape[2],)).astype(np.int64)


def _from_zero(node: Node, known: Known) -> np.ndarray | float:
    """What a convolution makes of its input's zero, the padding's too."""
    if not np.any(known.zero):
        return 0.0
    assert node.weight_OI is not None
    return (node.weight_OI.detach().double().numpy() * taps_of(node, np.asarray(known.zero))).sum(1)
