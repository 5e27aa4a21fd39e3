"""Nodes of several values: their sum, their product, one behind the other; legend: K values, C channels, O outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from levsha.arith import INT16_MAX, INT32_MAX, half
from levsha.ir import Op, Value
from levsha.lower.calibrate import BYTE_TOP, SIGNED_TOP, Scale
from levsha.lower.node import Node, alike
from levsha.lower.rounding import round_layer
from levsha.lower.rules.base import Context, Layer, Sums
from levsha.lower.rules.same import fewest
from levsha.lower.weights import Known
from levsha.ops import Concat, Lookup, Multiply, ScaledAdd
from levsha.ops.requantize import MOST_SHIFT


def lower_add(node: Node, context: Context) -> Layer:
    """Return a ScaledAdd: every value is scaled to the output's step, and rounded once, together."""
    scale = context.scales[node.output]
    unit, origin, lo, hi = (scale.step, scale.zero, scale.lo, scale.hi)
    if scale.table is not None:
        unit, origin, lo, hi = scale.width, scale.low, 0, len(scale.table) - 1
    known = [context.known[name] for name in node.inputs]
    factor = [node.factor_O * f * k.step / unit for f, k in zip(node.factors, known, strict=True)]
    offset = (
        node.offset_O - origin + sum(node.factor_O * f * k.zero for f, k in zip(node.factors, known, strict=True))
    ) / unit
    width = max(np.size(part) for part in (*factor, offset))
    factor_KC = np.stack([np.broadcast_to(np.ravel(part), (width,)) for part in factor])
    multiplier_KC, bias_C, shift = round_terms(
        factor_KC, np.broadcast_to(np.ravel(offset), (width,)), [max(-k.value.lo, k.value.hi) for k in known]
    )
    name = node.output if scale.table is None else f"{node.output}_index"
    op: list[Op] = [
        ScaledAdd(
            name=name, inputs=tuple(k.name for k in known), multiplier_KC=multiplier_KC, bias_C=bias_C, shift=shift,
            rounding=half(shift), lo=lo, hi=hi, step=unit if isinstance(unit, float) else 1.0,
        )
    ]  # fmt: skip
    if scale.table is not None:
        op.append(Lookup(name=node.output, inputs=(name,), table=scale.table))
    return Layer(node, tuple(op), None, None, scale)


def round_terms(
    factor_KC: np.ndarray, offset_C: np.ndarray, reach_K: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the multipliers and biases of a sum of terms, and the largest shift for which 16 and 32 bits hold them.

    factor_KC, offset_C: what they should be. reach_K: the largest magnitude of each term.
    """
    reach_K1 = np.array(reach_K, np.float64)[:, None]
    shift = min(MOST_SHIFT, math.floor(math.log2(INT16_MAX / max(1e-9, float(np.abs(factor_KC).max())))))
    while shift > 0:
        m_KC, b_C = np.rint(factor_KC * 2.0**shift), np.rint(offset_C * 2.0**shift)
        if ((np.abs(m_KC) * reach_K1).sum(0) + np.abs(b_C)).max() + half(shift) <= INT32_MAX:
            break
        shift -= 1
    m_KC, b_C = np.rint(factor_KC * 2.0**shift).clip(-INT16_MAX, INT16_MAX), np.rint(offset_C * 2.0**shift)
    return m_KC.astype(np.int64), b_C.clip(-(INT32_MAX >> 1), INT32_MAX >> 1).astype(np.int64), shift


def lower_multiply(node: Node, context: Context) -> Sums:
    """Return the product of two values as sums; what counts from a zero of its own is requantised first."""
    made = [_from_zero(node, context.known[name], k) for k, name in enumerate(node.inputs)]
    ops = [op for some, *_ in made for op in some]
    (_, a, step_a, most_a), (_, b, step_b, most_b) = made
    first, second, factor, offset_O = alike(node.shape, step_a, step_b, node.factor_O, node.offset_O)
    factor_O, width = first * second * factor, factor.size
    most = most_a * most_b
    ops.append(Multiply(name=node.name, inputs=(a, b)))
    return Sums(tuple(ops), node.name, factor_O, offset_O, most, np.full(width, float(most)))


def _from_zero(node: Node, known: Known, k: int) -> tuple[list[Op], str, float | np.ndarray, int]:
    """Ops that make a value count from 0, its name, its step and its largest magnitude."""
    lo, hi = known.value.lo, known.value.hi
    if not np.any(known.zero):
        return [], known.name, known.step, max(-lo, hi)
    ends = np.stack([np.asarray(known.zero) + end * np.asarray(known.step) for end in (lo, hi)])
    step = float(np.abs(ends).max()) / SIGNED_TOP
    scale = Scale(step, 0.0, -SIGNED_TOP, SIGNED_TOP)
    name = f"{node.output}_from{k}"
    return [requantised(name, known, scale)], name, step, SIGNED_TOP


def requantised(name: str, known: Known, scale: Scale) -> Op:
    """Return the op that gives a value another scale."""
    factor, offset = np.asarray(known.step) / scale.step, (np.asarray(known.zero) - scale.zero) / scale.step
    width = max(factor.size, offset.size)
    factor_O, offset_O = (np.broadcast_to(np.ravel(part), (width,)).astype(np.float64) for part in (factor, offset))
    reach = max(-known.value.lo, known.value.hi)
    step = scale.step if isinstance(scale.step, float) else 1.0
    layer = round_layer(None, factor_O, offset_O, reach, scale.lo, scale.hi, step)
    return layer.requantize(name, known.name)


def know_concat(node: Node, parts: Sequence[Known], joint: Known) -> Known:
    """Return what is known of values one behind the other: that each channel keeps its own step and zero, so that nothing is rounded again,
    or what is known where all share one step.

    They keep them where all are bytes of one type and other integers are made of the result.
    """
    leading = math.prod(node.shape[:-1])
    widths = [part.value.size // leading for part in parts]
    alike = {part.value.c_type for part in parts} in ({"uint8_t"}, {"int8_t"})
    kept = all(
        np.size(what) in (1, n) for part, n in zip(parts, widths, strict=True) for what in (part.step, part.zero)
    )
    if joint.value.hi > BYTE_TOP or not alike or not kept:
        return joint
    step_C, zero_C = (
        np.concatenate([np.broadcast_to(np.ravel(what), (n,)) for what, n in zip(whats, widths, strict=True)])
        for whats in ([part.step for part in parts], [part.zero for part in parts])
    )
    lo, hi = min(part.value.lo for part in parts), max(part.value.hi for part in parts)
    return Known(Value(node.shape, lo, hi), fewest(step_C), fewest(zero_C), node.output)


def lower_concat(node: Node, context: Context) -> Layer:
    """Return a Concat; a value that does not keep its own step is requantised to the joint one first."""
    made, scale = context.known[node.output], context.scales[node.output]
    assert node.activation is None
    step_C, zero_C = (np.broadcast_to(what, node.shape[-1:]) for what in (made.step, made.zero))
    ops: list[Op] = []
    names = []
    at = 0
    for k, source in enumerate(node.inputs):
        known = context.known[source]
        own = slice(at, at := at + known.value.size // math.prod(node.shape[:-1]))
        names.append(known.name)
        if not (np.all(known.step == step_C[own]) and np.all(known.zero == zero_C[own])):
            names[-1] = f"{node.output}_part{k}"
            ops.append(requantised(names[-1], known, scale))
    op = Concat(name=node.output, inputs=tuple(names), leading=node.shape[:-1])
    return Layer(node, (*ops, op), None, None, replace(scale, step=made.step, zero=made.zero))
