"""The step of each value chosen by what it costs at the net's outputs: as far as the largest, clipped at percentiles or by least square error, one
for all or one a channel.

A value is rounded in an otherwise float net, and the outputs are compared with those of the float net, on as many rows as a second or two
allows. Steps by channel are tried as the other rows have them: a channel seldom shows how far it can reach. Legend: N examples, O outputs, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from levsha.lower.calibrate import (
    BYTE_TOP,
    SIGNED_TOP,
    Options,
    Pins,
    Scale,
    mean_square_steps,
    min_max_step,
    percentile_step,
    range_of,
    table_scale,
)  # fmt: skip
from levsha.lower.means import difference, held_out, round_value
from levsha.lower.node import SAME, Clip, Function, Node, Trace
from levsha.lower.reads import requantised, steps_by_channel
from levsha.lower.rules.same import know
from levsha.lower.rules.several import know_concat
from levsha.lower.weights import Known, columns_of, quantise

LOOKED_AT = 1 << 17  # elements, at most, that percentiles and least squares go by
BUDGET = 24_000_000_000  # multiply-accumulates, about
FEWEST, MOST = 12, 256  # rows
PERCENTILES = (99.9, 99.99)
TABLE_PERCENTILES = (99.8, 99.99, 100.0)
CLOSE = 0.03  # steps that differ by less are one
SAVED = 0.1  # of the loss, by another choice than the usual one, at least
ERRORS = 2.0  # of the mean of what is saved, in standard errors
SMALLEST_SHARE = 1 / 4  # of the largest channel's step, by which others have theirs
TRIED = 6  # choices of a value, about


@dataclass(frozen=True)
class _Trial:
    """The float net on a few rows. known: every real value; outputs: names of those that nobody reads."""

    nodes: Sequence[Node]
    known: Mapping[str, Tensor]
    outputs: Sequence[str]

    def losses(self, k: int, scale: Scale, changed: Mapping[str, Node]) -> np.ndarray:
        """Return the mean square (N,) by which outputs differ when the value of node k is rounded, in units of their spread; changed: nodes
        in the place of those of the same name."""
        made = dict(self.known)
        node = self.nodes[k]
        z = node.before_activation(*(self.known[name] for name in node.inputs))
        made[node.output] = round_value(node, z, scale)
        touched = {self.nodes[k].output}
        for node in self.nodes[k + 1 :]:
            if touched & set(node.inputs):
                z = changed.get(node.name, node).before_activation(*(made[name] for name in node.inputs))
                if node.name in changed:  # offsets will make up for means
                    float_z = node.before_activation(*(self.known[name] for name in node.inputs))
                    z += (float_z - z).flatten(0, -2).mean(0)
                made[node.output] = node.activate(z)
                touched.add(node.output)
        parts = [difference(made[name], self.known[name]) for name in self.outputs if name in touched]
        return np.sum(parts, 0) if parts else np.zeros(len(next(iter(self.known.values()))))


def _is_better(new_N: np.ndarray, old_N: np.ndarray) -> bool:
    """Whether losses are lower by a tenth, and by more than chance on so few rows explains."""
    saved_N = old_N - new_N
    error = float(saved_N.std(ddof=1)) / math.sqrt(len(saved_N)) if len(saved_N) > 1 else math.inf
    return float(saved_N.mean()) > max(SAVED * float(old_N.mean()), ERRORS * error)


@torch.inference_mode()
def choose_scales(
    nodes: Sequence[Node], known: Mapping[str, Known], x: Mapping[str, Tensor], traces: Mapping[str, Trace],
    scales: Mapping[str, Scale], options: Options, pins: Pins,
) -> list[dict[str, Scale]]:  # fmt: skip
    """Return two more choices of the scale of every value by name: that of `scales`, or another that costs less at the outputs when it alone
    is rounded; first with one step for all of a value, then with one a channel where that costs less still.

    known: what `scales` mean. x, traces: of the sources and of every value (N, *shape). What is pinned stays, and so do outputs.
    """
    read, one, own, known = requantised(nodes), dict(scales), dict(scales), dict(known)
    trial = _trial(nodes, x, traces, len(scales), read)
    for k, node in enumerate(nodes):
        if node.output in read and _is_free(node, pins):
            trace, usual = traces[node.output], scales[node.output]
            one[node.output] = _best(usual, _others(node, trace, usual, options), partial(trial.losses, k, changed={}))
            own[node.output] = _with_own(trial, k, known, trace, one[node.output], options)
            known |= _known_again(k, nodes, known, own[node.output])
    return [one, own]


def _with_own(trial: _Trial, k: int, known: Mapping[str, Known], trace: Trace, one: Scale, options: Options) -> Scale:
    """The scale of the value of node k, with a step for each channel where that is better than one for all."""
    node, nodes = trial.nodes[k], trial.nodes
    if not steps_by_channel(node, nodes):
        return one
    rows = len(trace.h) - held_out(len(trace.h))
    tried = _own(node, Trace(trace.z[:rows], trace.h[:rows]) if rows else trace, one, options)
    best = _best(one, tried, lambda scale: trial.losses(k, scale, _reread(k, nodes, known, scale, options)))
    return best if best is one else _own(node, trace, one, options)[next(i for i, s in enumerate(tried) if s is best)]


def _best(usual: Scale, others: Sequence[Scale], losses: Callable[[Scale], np.ndarray]) -> Scale:
    best, least_N = usual, losses(usual) if others else np.zeros(0)
    for scale in others:
        if _is_better(new_N := losses(scale), least_N):
            best, least_N = scale, new_N
    return best


def _trial(nodes: Sequence[Node], x: Mapping[str, Tensor], traces: Mapping[str, Trace], values: int, read: set[str]) -> _Trial:  # fmt: skip
    work = max(1, sum(_macs(node) for node in nodes)) * max(1, values) * TRIED // 2
    rows = int(np.clip(BUDGET // work, FEWEST, MOST))
    rows = min(rows, held_out(len(next(iter(x.values())))))
    known = {name: part[-rows:] for name, part in x.items()}
    known |= {name: trace.h[-rows:] for name, trace in traces.items()}
    return _Trial(nodes, known, [node.output for node in nodes if node.output not in read])


def _macs(node: Node) -> int:
    size = math.prod(node.shape)
    return size if node.weight_OI is None or node.kind == "embed" else size * node.weight_OI.shape[1]


def _is_free(node: Node, pins: Pins) -> bool:
    """Whether the scale of a node's value can be chosen."""
    pinned = {*pins.steps, *pins.zeros, *pins.ranges, *pins.scales}
    plain = node.kind == "affine" and node.activation is None  # has the best step of each channel
    return node.kind not in (*SAME, "embed", "recurrent") and not plain and node.output not in pinned


def _others(node: Node, trace: Trace, usual: Scale, options: Options) -> list[Scale]:
    """Other scales of a value, one step for all."""
    if isinstance(node.activation, Function):
        z = trace.z.double().numpy()
        return [table_scale(node.activation, z, percentile, False) for percentile in TABLE_PERCENTILES]
    h, top = np.abs(trace.h.double().numpy()), max(usual.hi, -usual.lo)
    top = max(top, SIGNED_TOP)
    steps = [float(np.max(usual.step))]
    some = h[:: -(-h.size // LOOKED_AT)]
    for step in (min_max_step(h, top), *(percentile_step(some, percentile, top) for percentile in PERCENTILES)):
        if all(abs(step / other - 1) > CLOSE for other in steps):
            steps.append(step)
    clip = _clip(node, usual)
    return [Scale(step, 0.0, *range_of(clip, step, False, options)) for step in steps[1:]]


def _clip(node: Node, usual: Scale) -> Clip:
    """What a value is clipped to; one that is never negative counts as clipped at 0."""
    if isinstance(node.activation, Clip):
        return node.activation
    return Clip(0.0 if usual.lo == 0 and not np.any(usual.zero) else -math.inf, math.inf)


def _own(node: Node, trace: Trace, usual: Scale, options: Options) -> list[Scale]:
    """Scales with a step for each channel, by least square error and to the largest; where values have both signs, with a zero for each."""
    clip, h = _clip(node, usual), trace.h.double().numpy()
    rows_NC = h.reshape(-1, h.shape[-1])
    ends = [rows_NC.max(0), rows_NC.min(0), np.zeros(h.shape[-1])]
    rows_NC = np.concatenate([rows_NC[:: -(-h.size // LOOKED_AT)], ends])
    if clip.lo == 0:
        found = mean_square_steps(rows_NC, options.top)[0], rows_NC.max(0) / options.top
        least = float(max(step_C.max() for step_C in found)) * SMALLEST_SHARE
        return [Scale(step_C.clip(least, clip.hi / options.top), 0.0, 0, options.top) for step_C in found]
    if clip.lo != -math.inf or clip.hi != math.inf:
        return []
    step_C, zero_C = mean_square_steps(rows_NC, BYTE_TOP)
    step_C = np.maximum(step_C, step_C.max() * SMALLEST_SHARE)
    return [
        Scale(step_C, -step_C * np.rint(-zero_C / step_C), 0, BYTE_TOP)
    ]  # a real 0, which padding is, has an integer


def _known_again(k: int, nodes: Sequence[Node], known: Mapping[str, Known], scale: Scale) -> dict[str, Known]:
    """What is known of the value of node k, and of whatever only moves it, with another scale."""
    node = nodes[k]
    table = np.array([scale.lo, scale.hi]) if scale.table is None else scale.table
    value = replace(known[node.output].value, lo=int(table.min()), hi=int(table.max()))
    found = {node.output: replace(known[node.output], value=value, step=scale.step, zero=scale.zero)}
    for other in nodes[k + 1 :]:
        if other.kind in SAME and other.inputs[0] in found:
            found[other.output] = know(other, found[other.inputs[0]])
        elif other.kind == "concat" and found.keys() & set(other.inputs):
            parts = [found.get(name, known[name]) for name in other.inputs]
            found[other.output] = know_concat(other, parts, known[other.output])
    return found


def _reread(
    k: int, nodes: Sequence[Node], known: Mapping[str, Known], scale: Scale, options: Options
) -> dict[str, Node]:
    """The layers that read the value of node k, with their weights as they are rounded for this scale."""
    moved = _known_again(k, nodes, known, scale)
    again, found = {**known, **moved}, {}
    for node in nodes[k + 1 :]:
        if node.kind in ("linear", "conv") and moved.keys() & set(node.inputs):
            weights = quantise(node, options.format_of(node.name), columns_of(node, again)[1])
            found[node.name] = replace(node, weight_OI=torch.from_numpy(weights.real()).float())
    return found
