"""What folding leaves of a layer, and what it means in floats; legend: N examples, O outputs, I inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """An activation that costs nothing in integers: what lies outside lo..hi becomes lo or hi. A ReLU is Clip(0)."""

    lo: float = 0.0
    hi: float = math.inf

    def __call__(self, z: Tensor) -> Tensor:
        return z.clamp(self.lo, self.hi)


@dataclass(frozen=True)
class Function:
    """Any other activation, element by element: it becomes a table."""

    name: str
    call: Callable[[Tensor], Tensor]

    def __call__(self, z: Tensor) -> Tensor:
        return self.call(z)


RELU = Clip(0.0)


@dataclass(frozen=True, eq=False)
class Node:
    """y = activation(factor * (W x) + offset), or without W element by element.

    name: of the layer, as reports call it. inputs: names of the values it reads, the slowest changing first; a linear node over
    several reads them one behind the other. output: name of the value it makes. weight_OI: float, for a linear node.
    factor_O, offset_O: float64, what batch normalisation, bias and standardisation fold into. place: where it stands in
    the user's source, "" where that is not known.
    """

    name: str
    kind: Literal["linear", "affine"]
    inputs: tuple[str, ...]
    output: str
    factor_O: np.ndarray
    offset_O: np.ndarray
    weight_OI: Tensor | None = None
    activation: Clip | Function | None = None
    place: str = ""

    def before_activation(self, x_NI: Tensor) -> Tensor:
        """Return factor * (W x) + offset, in x's precision."""
        if self.weight_OI is not None:
            x_NI = x_NI @ self.weight_OI.to(x_NI.dtype).t()
        return x_NI * torch.from_numpy(self.factor_O).to(x_NI.dtype) + torch.from_numpy(self.offset_O).to(x_NI.dtype)

    def activate(self, z_NO: Tensor) -> Tensor:
        """Return the activation of what `before_activation` made."""
        return z_NO if self.activation is None else self.activation(z_NO)


class Trace(NamedTuple):
    """What a node makes of a batch, before its activation and behind it."""

    z: Tensor
    h: Tensor


def read_inputs(node: Node, known: Mapping[str, Tensor]) -> Tensor:
    """Return what a node reads, one input behind the other: (N, I)."""
    parts = [known[name] for name in node.inputs]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


@torch.inference_mode()
def run_float(nodes: Sequence[Node], inputs: Mapping[str, Tensor]) -> dict[str, Trace]:
    """Return what every node makes of real inputs (N, I) by name: the float meaning of the net, by the names of its values."""
    known, traces = dict(inputs), {}
    for node in nodes:
        z = node.before_activation(read_inputs(node, known))
        traces[node.output] = Trace(z, node.activate(z))
        known[node.output] = traces[node.output].h
    return traces
