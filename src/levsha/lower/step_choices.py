"""Scales that a value may have, each as a function of what the float net made of it; legend: N examples, C channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from levsha.lower.calibrate import (
    BYTE_TOP,
    SIGNED_TOP,
    SMALLEST_STEP,
    TABLE_PERCENTILE,
    Scale,
    mean_square_step,
    mean_square_steps,
    min_max_step,
    percentile_step,
    range_of,
    table_scale,
)  # fmt: skip
from levsha.lower.node import Clip, Function, Node, Trace
from levsha.lower.options import Options

Choice = Callable[[Trace], Scale]
LOOKED_AT = 1 << 17  # elements, at most, that percentiles and least squares go by
PERCENTILES = (99.9, 99.99)
TABLES = (
    (99.8, 0.0),
    (100.0, 0.0),
    (100.0, 0.1),
    (100.0, 0.3),
)  # percentiles, and how much further a table reaches on both sides
SMALLEST_SHARE = 1 / 64  # of the largest channel's step, by which others have theirs


def joint_choices(node: Node, usual: Scale, options: Options) -> list[Choice]:
    """Return ways to have one step for all of a value, or a table: first the way in which `usual` was made."""
    if isinstance(node.activation, Function):
        ways = ((options.percentile or TABLE_PERCENTILE, 0.0), *TABLES)
        return [partial(_table, node.activation, percentile, further) for percentile, further in ways]
    top = max(usual.hi, -usual.lo, SIGNED_TOP)
    steps: list[Callable[[np.ndarray], float]] = [
        lambda h: mean_square_step(h, top) if options.percentile is None else percentile_step(h, options.percentile, top),
        lambda h: min_max_step(h, top),
        *(partial(_percentile, percentile, top) for percentile in PERCENTILES),
    ]  # fmt: skip
    return [partial(_joint, _clip(node, usual), options, step) for step in steps]


def _table(activation: Function, percentile: float, further: float, trace: Trace) -> Scale:
    z = trace.z.double().numpy()
    return table_scale(activation, z, percentile, False, further)


def _percentile(percentile: float, top: int, h: np.ndarray) -> float:
    return percentile_step(h[:: -(-h.size // LOOKED_AT)], percentile, top)


def _joint(clip: Clip, options: Options, step_of: Callable[[np.ndarray], float], trace: Trace) -> Scale:
    step = step_of(np.abs(trace.h.double().numpy()))
    return Scale(step, 0.0, *range_of(clip, step, False, options))


def channel_choices(node: Node, usual: Scale, options: Options) -> list[Choice]:
    """Return ways to have a step for each channel: by least square error, or to the largest; where values have both signs, a zero too."""
    clip = _clip(node, usual)
    if clip.lo == 0:
        return [partial(_by_channel, clip, options, square) for square in (True, False)]
    return [_from_zeros] if clip.lo == -math.inf and clip.hi == math.inf else []


def _by_channel(clip: Clip, options: Options, square: bool, trace: Trace) -> Scale:
    rows_NC = _rows(trace)
    step_C = mean_square_steps(rows_NC, options.top)[0] if square else rows_NC.max(0) / options.top
    return Scale(step_C.clip(step_C.max() * SMALLEST_SHARE, clip.hi / options.top), 0.0, 0, options.top)


def equalised_choices(node: Node, nodes: Sequence[Node], usual: Scale, options: Options) -> list[Choice]:
    """Return steps for each channel behind a clip from 0 that share what is lost between the value and the weights that read it, the larger the step of a
    channel the larger its weights in integers (cross-layer equalisation: Nagel et al. 2019, Data-Free Quantization); none where others read the value."""
    clip, reach_C = _clip(node, usual), _weights_of(node, nodes)
    return [partial(_equalised, reach_C, clip, options)] if clip.lo == 0 and reach_C is not None else []


def _equalised(reach_C: np.ndarray, clip: Clip, options: Options, trace: Trace) -> Scale:
    most_C = _rows(trace).max(0)
    step_C = np.sqrt(most_C / np.maximum(reach_C, reach_C.max() * SMALLEST_SHARE**2))
    moving_C = most_C > 0
    least = float((most_C[moving_C] / step_C[moving_C]).max(initial=SMALLEST_STEP)) / options.top  # nothing is clipped
    step_C = np.maximum(step_C * least, SMALLEST_STEP)
    return Scale(step_C.clip(step_C.max() * SMALLEST_SHARE, clip.hi / options.top), 0.0, 0, options.top)


def _weights_of(node: Node, nodes: Sequence[Node]) -> np.ndarray | None:
    """The largest weight that reads each channel (C,) of a node's value, or of what only moves it; None where it is not read by weights alone."""
    names, channels, found = {node.output}, node.shape[-1], []
    for reader in nodes:
        if not names & set(reader.inputs):
            continue
        if reader.kind in ("max", "alias"):
            names.add(reader.output)
        elif (
            reader.kind not in ("linear", "conv")
            or len(reader.inputs) > 1
            or reader.weight_OI is None
            or (reader.window is not None and reader.window.groups > 1)
        ):
            return None
        else:
            by_channel = reader.weight_OI.detach().double().numpy().reshape(-1, channels)
            found.append(np.abs(by_channel).max(0))
    return np.max(found, 0) if found and np.max(found) > 0 else None


def _from_zeros(trace: Trace) -> Scale:
    step_C, zero_C = mean_square_steps(_rows(trace), BYTE_TOP)
    step_C = np.maximum(step_C, step_C.max() * SMALLEST_SHARE)
    # a real 0, which padding is, has an integer
    return Scale(step_C, -step_C * np.rint(-zero_C / step_C), 0, BYTE_TOP)


def _rows(trace: Trace) -> np.ndarray:
    """Some of the rows of a value's channels (N, C), among them their ends and 0."""
    rows_NC = trace.h.double().numpy().reshape(-1, trace.h.shape[-1])
    some_NC = rows_NC[:: -(-rows_NC.size // LOOKED_AT)]
    return np.concatenate([some_NC, [rows_NC.max(0), rows_NC.min(0), np.zeros(rows_NC.shape[1])]])


def _clip(node: Node, usual: Scale) -> Clip:
    """What a value is clipped to; one that is never negative counts as clipped at 0."""
    if isinstance(node.activation, Clip):
        return node.activation
    return Clip(0.0 if usual.lo == 0 and not np.any(usual.zero) else -math.inf, math.inf)
