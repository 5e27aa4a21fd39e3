"""Steps: what one integer of each value stands for, from the float net on real data; legend: N examples, O channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from levsha.arith import INT16_MAX
from levsha.errors import LevshaError
from levsha.lower.cell import Cell
from levsha.lower.node import SAME, Clip, Function, Node, Trace
from levsha.lower.options import Options
from levsha.lower.reads import is_far, is_padded, never_negative_of, requantised, steps_by_channel

LARGEST_LOGIT = 16_000  # what the largest output seen becomes; int16 leaves as much again above it
SIGNED_TOP = 127  # largest magnitude of a signed value between layers
BYTE_TOP = 255  # of a value that has a step and a zero of its own for each channel
STATE_TOP = 1 << 14  # what 1 becomes in the states of a recurrent layer
TABLE = 256  # entries of an activation's table
OBSERVED = 99.99  # percentile of the observer of that name
TABLE_PERCENTILE = 99.95  # of what goes into a table
SMALLEST_STEP = 1e-9
LOOKED_AT = 1 << 20  # values of one layer, at most, when its step is chosen
CANDIDATES = np.concatenate(
    [np.geomspace(0.02, 0.5, 12), np.linspace(0.55, 1.0, 10)]
)  # shares of the largest magnitude


@dataclass(frozen=True)
class Pins:
    """What a recipe knows and calibration need not find out.

    steps, zeros, ranges (lo, hi): of values by name; scales: all of that, and the table, at once. weights: integers (O, I) and scale (O,)
    of layers by name, for weights that are on their grid already; columns: what their inputs' steps were worth in it (see Weights).
    """

    steps: Mapping[str, float | np.ndarray] = field(default_factory=dict)
    zeros: Mapping[str, float | np.ndarray] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=dict)
    weights: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scale:
    """What the integers lo..hi of a value stand for: real = zero + step * integer, step and zero one for all or one a channel.

    Where a table makes the value, the table, and the real value `low` of its index 0 and `width` between two of them. inner: from where to
    where the values inside a recurrent layer reach, by name.
    """

    step: float | np.ndarray
    zero: float | np.ndarray
    lo: int
    hi: int
    table: np.ndarray | None = None
    low: float = 0.0
    width: float = 1.0
    inner: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def percentile_step(h: np.ndarray, percentile: float, top: int) -> float:
    """Return the step by which this percentile of h becomes `top`."""
    return max(SMALLEST_STEP, float(np.percentile(h, percentile))) / top


def mean_square_step(h: np.ndarray, top: int) -> float:
    """Return the step of magnitudes with the least mean square error of rounding to 0..top steps and clipping.

    >>> round(255 * mean_square_step(np.array([0.0] * 9999 + [18.0]), 255), 9)   # what is rare and large is kept
    18.0
    """
    some_N = np.abs(h[:: -(-h.size // LOOKED_AT)]).ravel()
    return max(SMALLEST_STEP / top, _mean_square_step(some_N, float(np.abs(h).max(initial=0.0)), top))


def min_max_step(h: np.ndarray, top: int) -> float:
    """Return the step by which the largest magnitude becomes `top`."""
    return max(SMALLEST_STEP, float(np.abs(h).max(initial=0.0))) / top


def mean_square_steps(x_NO: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return step and zero (O,) of each channel with the least mean square error of rounding to zero + 0..top steps and clipping.

    The lowest value, often the usual one, is kept and becomes 0, which kernels skip. A constant channel has the least step of all,
    so that it does not coarsen the weights beside it.

    >>> step_O, zero_O = mean_square_steps(np.array([[0.0], [0.0], [18.0]]), 255)
    >>> (zero_O + 255 * step_O).tolist()   # a rare flag is kept
    [18.0]
    """
    above_NO = x_NO - x_NO.min(0)
    step_O = np.array(
        [_mean_square_step(above_N, float(above_N.max()), top) for above_N in np.ascontiguousarray(above_NO.T)]
    )
    moving_O = step_O > 0
    return np.where(moving_O, step_O, step_O[moving_O].min(initial=1.0)), x_NO.min(0)


def _mean_square_step(above_N: np.ndarray, largest: float, top: int) -> float:
    """The best step of values from 0 to the largest; 0 where all are 0."""
    if largest == 0:
        return 0.0
    steps = largest / top * CANDIDATES[::-1]
    room_N, errors = np.empty_like(above_N), []
    for step in steps:
        np.divide(above_N, step, out=room_N)
        np.rint(room_N, out=room_N)
        np.clip(room_N, 0, top, out=room_N)
        room_N *= step
        room_N -= above_N
        errors.append(np.square(room_N, out=room_N).mean())
    return float(steps[int(np.argmin(errors))])


def affine_scale(trace: Trace, one: bool, padded: bool) -> Scale:
    """Return a scale with a step and a zero for each channel, or one for all; padded: a real 0, which padding is, has an integer."""
    h = trace.h.double().numpy()
    rows_NC = h if h.ndim == 2 and not one else h.reshape(-1, 1 if one else h.shape[-1])[:: -(-h.size // LOOKED_AT)]
    if not padded:
        step_C, zero_C = mean_square_steps(rows_NC, BYTE_TOP)
    else:
        step_C, zero_C = mean_square_steps(np.concatenate([rows_NC, np.zeros((1, rows_NC.shape[1]))]), BYTE_TOP)
        zero_C = -step_C * np.rint(-zero_C / step_C)
    return Scale(float(step_C[0]), float(zero_C[0]), 0, BYTE_TOP) if one else Scale(step_C, zero_C, 0, BYTE_TOP)


def scale_of(node: Node, trace: Trace, last: bool, options: Options, pins: Pins, never_negative: bool = False) -> Scale:
    """Return the scale of a node's value, chosen from what the float net did except for what is pinned.

    last: no node makes other integers of it. never_negative: that is known of the value, whatever its activation.
    """
    zero, pinned = pins.zeros.get(node.output, 0.0), pins.steps.get(node.output)
    if isinstance(node.activation, Function):
        return table_scale(node.activation, trace.z.double().numpy(), options.percentile or TABLE_PERCENTILE, last)
    h = trace.h.double().numpy()
    if not h.any():
        h = np.ones_like(
            h
        )  # what never leaves 0 may have any step; a tiny one would ask for factors that nothing holds
    clip = (
        node.activation if isinstance(node.activation, Clip) else Clip(0.0 if never_negative else -math.inf, math.inf)
    )
    if last and options.measured and pinned is None and math.isinf(clip.hi - clip.lo) and is_far(h):
        middle = float(h.max() + h.min()) / 2  # from 0, the steps would be too coarse to tell one output from the next
        return Scale(float(np.ptp(h)) / 2 / LARGEST_LOGIT, middle, -INT16_MAX, INT16_MAX)
    step = _step_of(clip, h, last, options) if pinned is None else pinned
    lo, hi = pins.ranges.get(node.output, range_of(clip, step, last, options))
    return Scale(step, zero, lo, hi)


def _step_of(clip: Clip, h: np.ndarray, last: bool, options: Options) -> float:
    if last:
        return min_max_step(h, LARGEST_LOGIT)
    top = options.top if clip.lo == 0 else SIGNED_TOP
    percentile = OBSERVED if options.observer == "percentile" else options.percentile
    if options.observer == "min-max":
        return min_max_step(h, top)
    if percentile is None or options.observer == "mean-square":
        return mean_square_step(h, top)
    return percentile_step(np.abs(h), percentile, top)


def range_of(clip: Clip, step: float | np.ndarray, last: bool, options: Options) -> tuple[int, int]:
    """Return the integers that are needed, within those that there are."""
    most = INT16_MAX if last else options.top if clip.lo == 0 else SIGNED_TOP
    least = np.min(step)
    lo, hi = (int(np.rint(np.clip(end / least, -most, most))) for end in (clip.lo, clip.hi))
    return lo, max(hi, lo + 1)


def table_scale(activation: Function, z: np.ndarray, percentile: float, last: bool, further: float = 0.0) -> Scale:
    """Return the scale of what a table makes of z; the table reaches over all but a share of z on both sides, or a share further."""
    low, high = np.percentile(z, (100 - percentile, percentile)).tolist()
    low, high = low - further * (high - low), high + further * (high - low)
    width = max(SMALLEST_STEP, high - low) / (TABLE - 1)
    with torch.inference_mode():
        values = activation(low + width * torch.arange(TABLE, dtype=torch.float64)).numpy()
    most, least = (
        (LARGEST_LOGIT, -LARGEST_LOGIT) if last else (BYTE_TOP, 0) if values.min() >= 0 else (SIGNED_TOP, -SIGNED_TOP)
    )
    step = max(SMALLEST_STEP, float(np.abs(values).max())) / most
    return Scale(step, 0.0, least, most, np.rint(values / step).astype(np.int64), low, width)


@torch.inference_mode()
def recurrent_scale(cell: Cell, x: Tensor, last: bool) -> Scale:
    """Return the scale of a recurrent layer's states, and how far what is inside it reaches, for inputs (N, ...) of T * I elements.

    last: no node makes other integers of them: they stay as fine as the layer keeps them.
    """
    found: dict[str, list[Tensor]] = {}
    for inner in cell.passes(x):
        for name, value in inner.items():
            found.setdefault(name, []).append(value)
    ends = {
        name: (min(float(v.min()) for v in values), max(float(v.max()) for v in values))
        for name, values in found.items()
    }
    h, most = torch.stack(found["h"]).double().numpy(), max(map(abs, ends["h"]))
    least, top = (0, BYTE_TOP) if cell.kind == "rnn_relu" else (-SIGNED_TOP, SIGNED_TOP)
    if not last:
        return Scale(min(max(most, SMALLEST_STEP) / top, mean_square_step(h, top)), 0.0, least, top, inner=ends)
    if cell.kind == "rnn_relu":
        return Scale(max(most, SMALLEST_STEP) / LARGEST_LOGIT, 0.0, 0, INT16_MAX, inner=ends)
    return Scale(1 / STATE_TOP, 0.0, 1 - STATE_TOP, STATE_TOP - 1, inner=ends)


def calibrate(
    nodes: Sequence[Node], x: Mapping[str, Tensor], traces: Mapping[str, Trace], options: Options, pins: Pins
) -> dict[str, Scale]:
    """Return the scale of every node's value by name: pinned, or chosen from what the float net did; LevshaError where that is not finite.

    x: what it did it to; traces: of `run_float`. Nodes that make no integers of their own have none.
    """
    read, never_negative = requantised(nodes), never_negative_of(nodes)
    for node in nodes:
        if not len(traces[node.output].z) or not bool(traces[node.output].z.isfinite().all()):
            raise LevshaError(
                f"lower: {node.name}: its values on the calibration data are missing or not finite; give finite data, at least one row."
            )
    known, scales = {**x, **{name: trace.h for name, trace in traces.items()}}, {}
    for node in nodes:
        last = node.output not in read
        if node.output in pins.scales:
            scales[node.output] = pins.scales[node.output]
        elif node.cell is not None:
            scales[node.output] = recurrent_scale(node.cell, known[node.inputs[0]], last)
        elif node.kind == "affine" and node.activation is None and node.output not in pins.steps and not last:
            one, padded = not steps_by_channel(node, nodes), is_padded(node.output, nodes)
            scales[node.output] = affine_scale(traces[node.output], one, padded)
        elif node.kind not in SAME:
            trace = traces[node.output]
            scales[node.output] = scale_of(node, trace, last, options, pins, node.output in never_negative)
    return scales
