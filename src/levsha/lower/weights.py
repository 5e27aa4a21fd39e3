"""Float weights -> integers on a format's grid, each layer once; legend: O outputs, I inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from levsha.formats import Format
from levsha.ir import Value
from levsha.lower.calibrate import Pins
from levsha.lower.node import Node
from levsha.lower.options import Options

SMALLEST_SCALE = 1e-8


@dataclass(frozen=True, eq=False)
class Weights:
    """Integers (O, I); weight[o, i] * column[i] is about scale[o] * integer[o, i], where each column stands for its input's step."""

    integers_OI: np.ndarray
    scale_O: np.ndarray
    column_I: np.ndarray | None = None

    def real(self) -> np.ndarray:
        """Return the weights that the integers stand for."""
        real_OI = self.integers_OI * self.scale_O[:, None]
        return real_OI if self.column_I is None else real_OI / self.column_I


@dataclass(frozen=True, eq=False)
class Known:
    """A value that layers read, as integers: what is proven of it, and what they stand for (real = zero + step * integer).

    step, zero: one for all, one a channel (the last axis), or one an element. name: of the integer value in the graph.
    """

    value: Value
    step: float | np.ndarray = 1.0
    zero: float | np.ndarray = 0.0
    name: str = ""

    def spread(self, what: float | np.ndarray) -> np.ndarray:
        """Return a step or zero for each element, in the value's shape."""
        whole = np.asarray(what, np.float64)
        return (
            whole.reshape(self.value.shape)
            if whole.size == self.value.size
            else np.broadcast_to(whole, self.value.shape)
        )


def columns_of(node: Node, known: Mapping[str, Known]) -> tuple[float, np.ndarray | None]:
    """Return the step of a layer's inputs, and where they have steps of their own each one's share of it, which goes into the weights:
    (I,), or of a convolution in groups (O, I)."""
    steps = [known[name].step for name in node.inputs]
    first = steps[0]
    if all(isinstance(step, float | int) and step == first for step in steps):
        return float(first), None
    if node.kind == "conv":
        step_I = taps_of(node, np.asarray(first))
    else:
        step_I = np.concatenate(
            [known[name].spread(step).ravel() for step, name in zip(steps, node.inputs, strict=True)]
        )
    largest = float(np.abs(step_I).max())
    return largest, step_I / largest


def taps_of(node: Node, numbers_C: np.ndarray) -> np.ndarray:
    """Return numbers of a convolution's input channels as its weights meet them: (I,), or where it has groups (O, I)."""
    window = node.window
    assert window is not None and node.weight_OI is not None
    taps, channels = window.kernel[0] * window.kernel[1], window.shape[2]
    spread_C = np.broadcast_to(numbers_C, (channels,))
    if window.groups == 1:
        return np.tile(spread_C, taps)
    by_group = np.tile(spread_C.reshape(window.groups, -1), (1, taps))
    return np.repeat(by_group, len(node.weight_OI) // window.groups, 0)


def quantise(node: Node, weights: Format, column_I: np.ndarray | None) -> Weights:
    """Return a layer's weights on a grid."""
    assert node.weight_OI is not None, node.name
    return quantise_matrix(node.weight_OI, weights, column_I)


@torch.inference_mode()
def quantise_matrix(weight_OI: Tensor, weights: Format, column_I: np.ndarray | None) -> Weights:
    """Return float weights on a grid."""
    weight_OI = weight_OI.detach()
    if column_I is not None:
        weight_OI = weight_OI * torch.from_numpy(column_I).to(weight_OI.dtype)
    scale_O1 = weights.scale(weight_OI).clamp_min(SMALLEST_SCALE)
    integers_OI = weights.to_integers(weight_OI / scale_O1).numpy().astype(np.int64)
    return Weights(integers_OI, scale_O1[:, 0].double().numpy(), column_I)


def matrices_of(node: Node) -> list[Tensor]:
    """Return the float weights that a format is chosen for: none of an embedding, two of a recurrent layer."""
    if node.cell is not None:
        return [node.cell.weight_ih_GI, node.cell.weight_hh_GH]
    return [node.weight_OI] if node.weight_OI is not None and node.kind in ("linear", "conv") else []


def on_grid(node: Node, weights: Format) -> Node:
    """Return a node with those weights on the grid of a format."""
    made = [torch.from_numpy(quantise_matrix(matrix, weights, None).real()) for matrix in matrices_of(node)]
    if node.cell is None:
        return replace(node, weight_OI=made[0])
    return replace(node, cell=replace(node.cell, weight_ih_GI=made[0], weight_hh_GH=made[1]))


def quantise_all(nodes: Sequence[Node], known: Mapping[str, Known], options: Options, pins: Pins) -> dict[str, Weights]:
    """Return every linear layer's weights by the layer's name; those that are pinned as they are."""
    made = {}
    for node in nodes:
        if node.name in pins.weights:
            made[node.name] = Weights(*pins.weights[node.name], pins.columns.get(node.name))
        elif node.weight_OI is not None and node.kind in ("linear", "conv"):
            made[node.name] = quantise(node, options.format_of(node.name), columns_of(node, known)[1])
    return made


def reach(integers_OI: np.ndarray) -> int:
    """Return the largest sum of a row's weights of one sign, at least 1: a sum's bound for inputs 0..1."""
    return max(1, int(max(np.maximum(integers_OI, 0).sum(1).max(), np.maximum(-integers_OI, 0).sum(1).max())))


def parts_of(node: Node, integers_OI: np.ndarray, known: Mapping[str, Known]) -> list[tuple[str, np.ndarray]]:
    """Return the weights of each input of a layer, (O, its size), beside the input's name; those of a convolution are not cut."""
    if node.kind == "conv":
        return [(node.inputs[0], integers_OI)]
    ends = np.cumsum([known[name].value.size for name in node.inputs])
    return list(zip(node.inputs, np.split(integers_OI, ends[:-1], axis=1), strict=True))


def highest(
    output: str, readers: Sequence[Node], weights: Mapping[str, Weights], known: Mapping[str, Known], sum_bits: int
) -> int:
    """Return the highest value of an output 0.. for which the sums of every layer that reads it fit `sum_bits`."""
    allowed = (1 << (sum_bits - 1)) - 1
    found = [
        allowed // reach(part_OI)
        for node in readers
        if node.name in weights
        for name, part_OI in parts_of(node, weights[node.name].integers_OI, known)
        if name == output
    ]
    return min(found, default=allowed)
