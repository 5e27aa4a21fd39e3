"""What folding leaves of a layer, and what it means in floats; legend: N examples, O outputs, I inputs, H W rows and columns, C channels.

Values are channels-last: (N, *shape). A layer over one axis has H = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from levsha.lower.cell import Cell


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


@dataclass(frozen=True)
class Window:
    """What a convolution or a pool looks at: shape (H, W, C) of the input as it is read, and the geometry; pads: top, left, bottom, right."""

    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]
        room = (self.shape[0] + self.pads[0] + self.pads[2], self.shape[1] + self.pads[1] + self.pads[3])
        rows, columns = ((size - r) // s + 1 for size, r, s in zip(room, reach, self.strides, strict=True))
        return rows, columns

    def image(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """Return a value as torch has it, (N, C, H, W), padded."""
        top, left, bottom, right = self.pads
        return F.pad(x.reshape(len(x), *self.shape).permute(0, 3, 1, 2), (left, right, top, bottom), value=fill)


@dataclass(frozen=True, eq=False)
class Node:
    """y = activation(factor * sums + offset); the sums are W x where the kind is linear or conv, and else what MEANINGS says.

    name: of the layer, as reports call it. inputs: names of the values it reads, the slowest changing first; a linear node over
    several reads them one behind the other. output: name of the value it makes. factor_O, offset_O: float64, what batch
    normalisation, bias and standardisation fold into: one number, one a channel, or one an element. weight_OI: float; of a
    convolution (O, kernel rows * columns * channels of a group), of an embedding the table. index: of a gather, into the flat input, -1 for
    `fill`. factors: of an addition's inputs. cell: of a recurrent layer. epsilon: of a layer
    normalisation, over the last axis. shape: of the output. place: where it stands in the user's source, "" where that is not known.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    factor_O: np.ndarray
    offset_O: np.ndarray
    weight_OI: Tensor | None = None
    activation: Clip | Function | None = None
    place: str = ""
    window: Window | None = None
    index: np.ndarray | None = None
    fill: float = 0.0
    factors: tuple[float, ...] = ()
    cell: Cell | None = None
    epsilon: float = 0.0
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", self.shape or (len(self.offset_O),))

    def before_activation(self, *x: Tensor) -> Tensor:
        """Return factor * sums + offset, in x's precision."""
        z = MEANINGS[self.kind](self, *x)
        return z * self.broadcast(self.factor_O).to(z.dtype) + self.broadcast(self.offset_O).to(z.dtype)

    def broadcast(self, numbers_O: np.ndarray) -> Tensor:
        """Return one number, one a channel or one an element so that it broadcasts against the value."""
        spread = numbers_O.reshape(self.shape) if numbers_O.size == math.prod(self.shape) else numbers_O
        return torch.from_numpy(np.ascontiguousarray(spread))

    def activate(self, z_NO: Tensor) -> Tensor:
        """Return the activation of what `before_activation` made."""
        return z_NO if self.activation is None else self.activation(z_NO)

    @property
    def macs(self) -> int:
        """Multiplications of an example, about."""
        size = math.prod(self.shape)
        return size if self.weight_OI is None or self.kind == "embed" else size * self.weight_OI.shape[1]

    @property
    def kernel_OCHW(self) -> Tensor:
        """The weights of a convolution as torch has them."""
        assert self.weight_OI is not None and self.window is not None
        channels = self.window.shape[2] // self.window.groups
        return self.weight_OI.reshape(-1, *self.window.kernel, channels).permute(0, 3, 1, 2)


def _linear(node: Node, *x: Tensor, bias_O: Tensor | None = None) -> Tensor:
    assert node.weight_OI is not None
    parts = [part.flatten(1) for part in x]
    x_NI = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return F.linear(x_NI, node.weight_OI.to(x_NI.dtype), bias_O)


def _conv(node: Node, x: Tensor, bias_O: Tensor | None = None) -> Tensor:
    window = node.window
    assert window is not None
    kernel = node.kernel_OCHW.to(x.dtype)
    top, left, *far = window.pads
    if far != [top, left]:
        return _last(F.conv2d(window.image(x), kernel, bias_O, window.strides, 0, window.dilations, window.groups))
    image = x.reshape(len(x), *window.shape).permute(0, 3, 1, 2)  # padded by the convolution itself: a copy less
    return _last(F.conv2d(image, kernel, bias_O, window.strides, (top, left), window.dilations, window.groups))


def _max(node: Node, x: Tensor) -> Tensor:
    assert node.window is not None
    image = node.window.image(x, -math.inf)
    return _last(F.max_pool2d(image, node.window.kernel, node.window.strides, 0, node.window.dilations))


def _sum(node: Node, x: Tensor) -> Tensor:
    assert node.window is not None
    area = math.prod(node.window.kernel)
    return _last(F.avg_pool2d(node.window.image(x), node.window.kernel, node.window.strides)) * area


def _last(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1)


def _add(node: Node, *x: Tensor) -> Tensor:
    return sum(
        (f * part.reshape(len(part), *node.shape) for f, part in zip(node.factors, x, strict=True)), torch.zeros(())
    )


def _multiply(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a.reshape(len(a), *node.shape) * b.reshape(len(b), *node.shape)


def _gather(node: Node, x: Tensor) -> Tensor:
    assert node.index is not None
    index = torch.from_numpy(node.index)
    y = x.flatten(1)[:, index.clamp_min(0)]
    return torch.where(index < 0, torch.as_tensor(node.fill, dtype=x.dtype), y) if bool((index < 0).any()) else y


def _concat(node: Node, *x: Tensor) -> Tensor:
    parts = [part.reshape(len(part), *node.shape[:-1], -1) for part in x]
    return torch.cat(parts, -1)


def _embed(node: Node, x: Tensor) -> Tensor:
    assert node.weight_OI is not None
    return node.weight_OI[x.long()].reshape(len(x), *node.shape)


def _recurrent(node: Node, x: Tensor) -> Tensor:
    assert node.cell is not None
    return node.cell.run(x)


def _layer_norm(node: Node, x: Tensor) -> Tensor:
    return F.layer_norm(x.reshape(len(x), *node.shape), node.shape[-1:], eps=node.epsilon)


def alike(shape: tuple[int, ...], *numbers: float | np.ndarray) -> list[np.ndarray]:
    """Return numbers of a value of this shape, one, one a channel or one an element each, all in the largest of these forms, flat.

    >>> [part.tolist() for part in alike((2, 2), 3.0, np.array([1.0, 2.0]))]
    [[3.0, 3.0], [1.0, 2.0]]
    """
    flat = [np.asarray(part, np.float64).ravel() for part in numbers]
    sizes = {part.size for part in flat}
    if not sizes <= {1, shape[-1]}:
        return [
            np.broadcast_to(part.reshape(shape) if part.size == math.prod(shape) else part, shape).ravel()
            for part in flat
        ]
    return [np.broadcast_to(part, (max(sizes),)) for part in flat]


MEANINGS: dict[str, Callable[..., Tensor]] = {
    "linear": _linear,
    "conv": _conv,
    "affine": lambda node, x: x.reshape(len(x), *node.shape),
    "alias": lambda node, x: x.reshape(len(x), *node.shape),  # the integers stay, what they stand for changes
    "max": _max,
    "sum": _sum,
    "add": _add,
    "multiply": _multiply,
    "gather": _gather,
    "concat": _concat,
    "embed": _embed,
    "recurrent": _recurrent,
    "layer_norm": _layer_norm,
}  # sums, by kind of node
SAME = ("max", "gather", "alias")  # kinds that make no new integers: they have the steps of what they read


class Trace(NamedTuple):
    """What a node makes of a batch, before its activation and behind it."""

    z: Tensor
    h: Tensor


def read_inputs(node: Node, known: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return what a node reads, (N, *shape) each."""
    return tuple(known[name] for name in node.inputs)


@torch.inference_mode()
def run_float(nodes: Sequence[Node], inputs: Mapping[str, Tensor]) -> dict[str, Trace]:
    """Return what every node makes of real inputs (N, *shape) by name: the float meaning of the net, by the names of its values."""
    known, traces = dict(inputs), {}
    for node in nodes:
        z = node.before_activation(*read_inputs(node, known))
        traces[node.output] = Trace(z, node.activate(z))
        known[node.output] = traces[node.output].h
    return traces
