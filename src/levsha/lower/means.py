"""What rounding does to the mean of a layer's sums, which its offset makes up for at no cost (bias correction: Nagel et al., 2019).

Legend: N examples, O outputs, I inputs of one output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from levsha.lower.calibrate import Pins, Scale
from levsha.lower.node import Node, Trace
from levsha.lower.options import Options
from levsha.lower.weights import Known, Weights, taps_of

MOST = 512  # rows that means are taken over
SAVED = 0.1  # of the loss, by another choice than the usual one, at least
ERRORS = 2.0  # of the mean of what is saved, in standard errors


@torch.inference_mode()
def mean_shifts(
    nodes: Sequence[Node], known: Mapping[str, Known], x: Mapping[str, Tensor], traces: Mapping[str, Trace],
    weights: Mapping[str, Weights], scales: Mapping[str, Scale], options: Options, pins: Pins,
) -> tuple[dict[str, np.ndarray], float]:  # fmt: skip
    """Return by how much the offset of each layer is to change, (O,) in real units, by the layer's name; and the mean square by which the
    outputs, values that nobody reads, still differ, in units of their spread.

    Layer after layer, the net with rounded weights and values, and with what the layers before make up for, is compared with the float
    net. x, traces: of the sources and of every float value (N, *shape). Weights that are pinned were trained as they are: their offsets stay.
    """
    found: dict[str, np.ndarray] = {}
    made = {name: part[-MOST:] for name, part in x.items()}
    for node in nodes:
        read = [made[name] for name in node.inputs]
        if node.kind in ("linear", "conv") and node.name in weights:
            rounded = replace(node, weight_OI=torch.from_numpy(weights[node.name].real()).float())
            z = rounded.before_activation(*read)
            if options.does("means") and node.name not in pins.weights:
                off = (traces[node.output].z[-MOST:].double() - z.double()).flatten(0, -2).mean(0)
                z = z + off.to(z.dtype)
                found[node.name] = off.numpy() - counted(node, known, weights[node.name])
        else:
            z = node.before_activation(*read)
        scale = scales.get(node.output) if node.kind != "concat" else None  # its parts are integers already
        made[node.output] = node.activate(z) if scale is None else round_value(node, z, scale)
    outputs = {node.output for node in nodes} - {name for node in nodes for name in node.inputs}
    held = held_out(len(next(iter(x.values()))))
    loss = sum(float(difference(made[name][-held:], traces[name].h[-MOST:][-held:]).mean()) for name in outputs)
    return found, loss


def held_out(rows: int) -> int:
    """Return how many rows, the last ones, losses are measured on: a third; all where there are very few."""
    return rows // 3 if rows >= 9 else rows


def difference(got: Tensor, want: Tensor) -> np.ndarray:
    """Return the mean square of the difference of each example, (N,), in units of the spread of what is wanted."""
    spread = float(want.double().var()) or 1.0
    return ((got.double() - want.double()) ** 2).flatten(1).mean(1).numpy() / spread


def counted(node: Node, known: Mapping[str, Known], weights: Weights) -> np.ndarray | float:
    """Return what the layer's offset makes up for already: it holds what the float weights make of the zeros of the inputs."""
    zeros = [known[name].zero for name in node.inputs]
    if not any(np.any(zero) for zero in zeros):
        return 0.0
    assert node.weight_OI is not None
    if node.kind == "conv":
        zero = taps_of(node, np.asarray(zeros[0]))
    else:
        zero = np.concatenate([known[name].spread(known[name].zero).ravel() for name in node.inputs])
    return node.factor_O * ((node.weight_OI.detach().double().numpy() - weights.real()) * zero).sum(1)


def is_better(new_N: np.ndarray, old_N: np.ndarray) -> bool:
    """Say whether losses are lower by a tenth, and by more than chance on so few rows explains."""
    saved_N = old_N - new_N
    error = float(saved_N.std(ddof=1)) / math.sqrt(len(saved_N)) if len(saved_N) > 1 else math.inf
    return float(saved_N.mean()) > max(SAVED * float(old_N.mean()), ERRORS * error)


def round_value(node: Node, z: Tensor, scale: Scale) -> Tensor:
    """Return a node's value as its integers have it, from what it is before its activation."""
    if scale.table is not None:
        index = ((z - scale.low) / scale.width).round().clamp(0, len(scale.table) - 1).long()
        return torch.from_numpy(scale.table * scale.step).to(z.dtype)[index]
    step, zero = torch.as_tensor(scale.step), torch.as_tensor(scale.zero)
    return (((node.activate(z) - zero) / step).round().clamp(scale.lo, scale.hi) * step + zero).to(z.dtype)
