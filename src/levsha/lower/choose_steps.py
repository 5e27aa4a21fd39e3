"""The step of each value chosen by what it costs at the net's outputs: as far as the largest, clipped at percentiles or by least square error, one
for all or one a channel.

A value is rounded in an otherwise float net, and the outputs are compared with those of the float net, on as many rows as a second or two
allows. Scales are tried as the other rows have them, since few rows seldom show how far a value can reach. Legend: N examples, O outputs, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from levsha.lower.calibrate import Pins, Scale
from levsha.lower.means import difference, held_out, is_better, round_value
from levsha.lower.node import SAME, Node, Trace
from levsha.lower.options import Options
from levsha.lower.reads import TAKES, requantised, stays_apart, steps_by_channel
from levsha.lower.rules.same import know
from levsha.lower.rules.several import know_concat
from levsha.lower.step_choices import Choice, channel_choices, equalised_choices, joint_choices
from levsha.lower.weights import Known, columns_of, quantise

BUDGET = 24_000_000_000  # multiply-accumulates, about
FEWEST, MOST = 12, 256  # rows
CLOSE = 0.03  # steps that differ by less are one
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
            fitted = _best(trace, joint_choices(node, usual, options), partial(trial.losses, k, changed={}))
            one[node.output] = usual if fitted is None else fitted
            own[node.output] = _with_own(trial, k, known, trace, one[node.output], options)
            known |= _known_again(k, nodes, known, own[node.output])
    return [one, own]


def _with_own(trial: _Trial, k: int, known: Mapping[str, Known], trace: Trace, one: Scale, options: Options) -> Scale:
    """The scale of the value of node k, with a step for each channel where that is better than one for all."""
    node, nodes = trial.nodes[k], trial.nodes
    if not options.does("steps") or not steps_by_channel(node, nodes):
        return one
    choices = [lambda _: one, *channel_choices(node, one, options)]
    if options.does("equalise"):
        choices += equalised_choices(node, nodes, one, options)
    found = _best(trace, choices, lambda scale: trial.losses(k, scale, _reread(k, nodes, known, scale, options)))
    return one if found is None else found


def _best(trace: Trace, choices: Sequence[Choice], losses: Callable[[Scale], np.ndarray]) -> Scale | None:
    """What the best choice makes of all rows, when all make scales of the rows that losses do not see; None where that is the first."""
    rows = len(trace.h) - held_out(len(trace.h))
    part = Trace(trace.z[:rows], trace.h[:rows]) if rows else trace
    best, least_N, tried = 0, np.zeros(0), list[Scale]()
    for number, choice in enumerate(choices if len(choices) > 1 else ()):
        scale = choice(part)
        if any(_are_close(scale, other) for other in tried):
            continue
        tried.append(scale)
        new_N = losses(scale)
        if number == 0 or is_better(new_N, least_N):
            best, least_N = number, new_N
    return choices[best](trace) if best else None


def _are_close(a: Scale, b: Scale) -> bool:
    """Whether two scales without tables are as good as one."""
    if a.table is not None or b.table is not None or np.size(a.step) != np.size(b.step) or np.any(a.zero != b.zero):
        return False
    return bool((np.abs(a.step / b.step - 1) < CLOSE).all())


def _trial(nodes: Sequence[Node], x: Mapping[str, Tensor], traces: Mapping[str, Trace], values: int, read: set[str]) -> _Trial:  # fmt: skip
    work = max(1, sum(node.macs for node in nodes)) * max(1, values) * TRIED // 2
    rows = int(np.clip(BUDGET // work, FEWEST, MOST))
    rows = min(rows, held_out(len(next(iter(x.values())))))
    known = {name: part[-rows:] for name, part in x.items()}
    known |= {name: trace.h[-rows:] for name, trace in traces.items()}
    return _Trial(nodes, known, [node.output for node in nodes if node.output not in read])


def _is_free(node: Node, pins: Pins) -> bool:
    """Whether the scale of a node's value can be chosen."""
    pinned = {*pins.steps, *pins.zeros, *pins.ranges, *pins.scales}
    plain = node.kind == "affine" and node.activation is None  # has the best step of each channel
    return node.kind not in (*SAME, "embed", "recurrent") and not plain and node.output not in pinned


def _passes(node: Node, found: Mapping[str, Known], nodes: Sequence[Node]) -> bool:
    """Whether a concatenation reads what is found, and its parts keep their steps."""
    return bool(found.keys() & set(node.inputs)) and stays_apart(node.output, node.shape[-1], nodes, TAKES)


def _known_again(k: int, nodes: Sequence[Node], known: Mapping[str, Known], scale: Scale) -> dict[str, Known]:
    """What is known of the value of node k, and of whatever only moves it, with another scale."""
    node = nodes[k]
    table = np.array([scale.lo, scale.hi]) if scale.table is None else scale.table
    value = replace(known[node.output].value, lo=int(table.min()), hi=int(table.max()))
    found = {node.output: replace(known[node.output], value=value, step=scale.step, zero=scale.zero)}
    for other in nodes[k + 1 :]:
        if other.kind in SAME and other.inputs[0] in found:
            found[other.output] = know(other, found[other.inputs[0]])
        elif other.kind == "concat" and _passes(other, found, nodes):
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
