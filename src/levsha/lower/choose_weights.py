"""The weights of each layer chosen by what they cost at the net's outputs: of the usual scale, of the largest weight, of the least square error, with their
rounding refined.  Legend: N examples, O outputs, I inputs.

Layer after layer, as the net will run: inputs are those that the layers before really make, and what comes behind is the float net still.  At
2 bits and below the error of the weights is a poor guide, therefore it does not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from levsha.formats import Format
from levsha.lower import reconstruct
from levsha.lower.calibrate import Pins, Scale
from levsha.lower.grid_scale import exact_scale
from levsha.lower.means import MOST, counted, difference, held_out, is_better, round_value
from levsha.lower.node import Node, Trace
from levsha.lower.options import Options
from levsha.lower.weights import SMALLEST_SCALE, Known, Weights, columns_of, highest

BUDGET = 6_000_000_000  # multiply-accumulates, about, that outputs are compared with
FEWEST = 12  # rows
FEW_BITS = 4.0  # and below: rounding is refined


@dataclass(frozen=True, eq=False)
class Chosen:
    """weights: of each layer by name. shifts, loss: as `mean_shifts` returns them. said: what was chosen, by layer, where it is not the usual."""

    weights: Mapping[str, Weights]
    shifts: Mapping[str, np.ndarray]
    loss: float
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Net:
    """What a choice goes by. rows: of the last ones, as many as are compared."""

    nodes: Sequence[Node]
    known: Mapping[str, Known]
    traces: Mapping[str, Trace]
    scales: Mapping[str, Scale]
    options: Options
    rows: int

    def losses(self, k: int, made: Mapping[str, Tensor], z: Tensor) -> np.ndarray:
        """Return the mean square (N,) by which outputs differ, on the rows that are compared, where node k makes z before its activation."""
        node = self.nodes[k]
        values = {name: part[-self.rows :] for name, part in made.items()}
        values[node.output] = self.value(node, z)
        for node in self.nodes[k + 1 :]:
            values[node.output] = node.activate(node.before_activation(*(values[name] for name in node.inputs)))
        outputs = {node.output for node in self.nodes} - {name for node in self.nodes for name in node.inputs}
        return np.sum([difference(values[name], self.traces[name].h[-self.rows :]) for name in outputs], 0)

    def value(self, node: Node, z: Tensor) -> Tensor:
        """Return what a node makes of z, rounded where it is made into integers."""
        scale = self.scales.get(node.output) if node.kind != "concat" else None  # its parts are integers already
        return node.activate(z) if scale is None else round_value(node, z, scale)


@torch.inference_mode()
def choose_weights(
    nodes: Sequence[Node], known: Mapping[str, Known], x: Mapping[str, Tensor], traces: Mapping[str, Trace],
    usual: Mapping[str, Weights], scales: Mapping[str, Scale], options: Options, pins: Pins,
) -> Chosen:  # fmt: skip
    """Return the weights of every layer, chosen by what they cost, and what their offsets make up for.

    usual: what they are without. x, traces: of the sources and of every float value (N, *shape). Pinned weights stay.
    """
    made = {name: part[-MOST:] for name, part in x.items()}
    held = held_out(len(next(iter(made.values()))))
    net = Net(nodes, known, traces, scales, options, _rows(nodes, len(usual), held))
    weights, shifts, said = dict(usual), {}, {}
    for k, node in enumerate(nodes):
        read = [made[name] for name in node.inputs]
        if node.name in weights and node.name not in pins.weights:
            weights[node.name], word = _best(net, k, made, held, usual[node.name])
            said |= {node.name: word} if word else {}
        if node.name in weights:
            z = _with(node, weights[node.name]).before_activation(*read)
            if options.does("means") and node.name not in pins.weights:
                off = (traces[node.output].z[-MOST:].double() - z.double()).flatten(0, -2).mean(0)
                z = z + off.to(z.dtype)
                shifts[node.name] = off.numpy() - counted(node, known, weights[node.name])
        else:
            z = node.before_activation(*read)
        made[node.output] = net.value(node, z)
    outputs = {node.output for node in nodes} - {name for node in nodes for name in node.inputs}
    loss = sum(float(difference(made[name][-held:], traces[name].h[-held:]).mean()) for name in outputs)
    return Chosen(weights, shifts, loss, said)


def _rows(nodes: Sequence[Node], layers: int, held: int) -> int:
    work = sum(node.macs for node in nodes) * max(1, layers) * 2
    return min(held, int(np.clip(BUDGET // max(1, work), FEWEST, MOST)))


def _with(node: Node, weights: Weights) -> Node:
    return replace(node, weight_OI=torch.from_numpy(weights.real()).float())


def _best(net: Net, k: int, made: Mapping[str, Tensor], held: int, usual: Weights) -> tuple[Weights, str]:
    """The best weights of node k and what they are, "" where these are the usual ones."""
    node = net.nodes[k]
    read = [made[name] for name in node.inputs]
    fitted = [part[: len(part) - held] if len(part) > held else part for part in read]
    wanted = net.traces[node.output].z[-len(read[0]) :]
    compared = [part[-net.rows :] for part in read]

    def losses(weights: Weights) -> np.ndarray:
        z = _with(node, weights).before_activation(*compared)
        if not net.options.does("means"):
            return net.losses(k, made, z)
        off = (wanted[-net.rows :].double() - z.double()).flatten(0, -2).mean(0)
        return net.losses(k, made, z + off.to(z.dtype))

    best, word, least_N = usual, "", losses(usual)
    for name, weights in _others(net, node, fitted, wanted[: len(fitted[0])], usual):
        if _fits(net, node, usual, weights):
            new_N = losses(weights)
            if is_better(new_N, least_N):
                best, word, least_N = weights, name, new_N
    return best, word


def _others(net: Net, node: Node, read: Sequence[Tensor], z: Tensor, usual: Weights) -> Iterator[tuple[str, Weights]]:
    """Other weights for a layer, each beside what it is called; read, z: what it reads and should make."""
    weights, column_I = net.options.format_of(node.name), columns_of(node, net.known)[1]
    assert node.weight_OI is not None
    real_OI = node.weight_OI.detach().double().numpy() * (1.0 if column_I is None else column_I)
    pooled = any(other.kind == "max" and node.output in other.inputs for other in net.nodes)  # cheap where sums rise
    starts = [usual]

    def of(scale_O: np.ndarray | None) -> Weights | None:
        return None if scale_O is None else weights_of(real_OI, weights, scale_O, column_I)

    if net.options.does("scales"):
        ways: list[tuple[str, Callable[[], Weights | None]]] = [
            ("exact scale", lambda: of(exact_scale(real_OI, weights, not pooled))),
            ("scale of the largest", lambda: of(np.abs(real_OI).max(1) / max(weights.hi, 1))),
        ]
        for name, way in ways:
            made = way()
            if made is not None:
                starts.append(made)
                yield name, made
    if net.options.does("rounding") and weights.bits <= FEW_BITS and reconstruct.affords(node):
        rows = reconstruct.rows_for(node)
        sums = reconstruct.sums_of(node, [part[-rows:] for part in read], z[-rows:], column_I)
        yield "refined rounding", reconstruct.refine(starts, weights, sums)


def weights_of(real_OI: np.ndarray, weights: Format, scale_O: np.ndarray, column_I: np.ndarray | None) -> Weights:
    """Return weights in units of their columns as integers of a scale."""
    scale_O = np.where(np.abs(scale_O) < SMALLEST_SCALE, SMALLEST_SCALE, scale_O)
    return Weights(weights.to_integers(real_OI / scale_O[:, None]).astype(np.int64), scale_O, column_I)


def _fits(net: Net, node: Node, usual: Weights, weights: Weights) -> bool:
    """Whether sums stay within the bits that they have, as far as the usual weights' did."""
    for name in node.inputs:
        top = net.known[name].value.hi
        allowed = [
            highest(name, [node], {node.name: made}, net.known, net.options.sum_bits) for made in (usual, weights)
        ]
        if allowed[1] < min(top, allowed[0]):
            return False
    return True
