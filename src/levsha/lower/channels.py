"""Which channels can be removed, and which go together: every element of every value is followed to the layer that makes it.

Legend: O outputs, H W rows and columns, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from levsha.lower.node import Node

STAYS = 0  # the number of what is never removed


@dataclass(frozen=True, eq=False)
class Channels:
    """labels: of every value by name, the number of each element's channel, in the value's shape; STAYS of what is never removed.

    families: the numbers of channels that stand beside each other in a layer, or in layers that are added to each other: of each family a
    share is removed.
    """

    labels: Mapping[str, np.ndarray]
    families: tuple[tuple[int, ...], ...]


class _Ties:
    """Numbers, of which some are tied: a tie goes by its smallest number, so that what is tied to STAYS stays."""

    def __init__(self) -> None:
        self.parent = np.zeros(1, np.int64)

    def new(self, count: int) -> np.ndarray:
        """Return numbers that are tied to none."""
        made = np.arange(len(self.parent), len(self.parent) + count)
        self.parent = np.concatenate([self.parent, made])
        return made

    def find(self, numbers: np.ndarray) -> np.ndarray:
        """Return what each goes by."""
        found = self.parent[numbers]
        while (self.parent[found] != found).any():
            found = self.parent[found]
        return found

    def join(self, a: np.ndarray, b: np.ndarray | int) -> None:
        """Tie each of a to the one of b in its place."""
        pairs = np.stack([np.ravel(part) for part in np.broadcast_arrays(a, b)], 1)
        for one, other in np.unique(pairs, axis=0):
            x, y = int(self.find(one)), int(self.find(other))
            self.parent[max(x, y)] = min(x, y)


def channels_of(nodes: Sequence[Node], shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]) -> Channels:
    """Return what can be removed of a net. shapes: of the sources; outputs: names of the values that nobody may change.

    Only what linear layers and convolutions make can be removed. What an addition or a product takes together goes together; the channels
    of a depthwise convolution go with those it reads.
    """
    ties = _Ties()
    labels = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
    makers: list[np.ndarray] = []
    for node in nodes:
        own = OWN.get(node.kind, _own_stays)(ties, node, [labels[name] for name in node.inputs])
        labels[node.output] = own.reshape(node.shape)
        if _makes(node):
            makers.append(np.unique(own))
    for name in outputs:
        ties.join(labels[name], STAYS)
    _keep_regular(nodes, labels, ties)
    found = {name: ties.find(label) for name, label in labels.items()}
    return Channels(found, _families([ties.find(own) for own in makers]))


def _makes(node: Node) -> bool:
    """Whether a node's channels are its own."""
    return node.kind == "linear" or (node.kind == "conv" and node.window is not None and node.window.groups == 1)


def _own_linear(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    return ties.new(math.prod(node.shape))


def _own_conv(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    window = node.window
    assert window is not None
    if window.groups == 1:
        _channel_labels(ties, node, read)
        own_O = ties.new(node.shape[-1])
    elif window.groups == window.shape[2]:
        own_O = np.repeat(_channel_labels(ties, node, read), node.shape[-1] // window.groups)
    else:
        return _own_stays(ties, node, read)
    return np.broadcast_to(own_O, node.shape)


def _own_window(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    return np.broadcast_to(_channel_labels(ties, node, read), node.shape)


def _channel_labels(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    """The labels (C,) of what a window slides over; each channel is one, wherever it is looked at."""
    assert node.window is not None
    label_HWC = read[0].reshape(node.window.shape)
    ties.join(label_HWC, label_HWC[0, 0])
    return label_HWC[0, 0]


def _own_same(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    return read[0]


def _own_gather(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    assert node.index is not None
    return np.where(node.index < 0, STAYS, read[0].ravel()[node.index])


def _own_joined(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    for other in read[1:]:
        ties.join(read[0].ravel(), other.ravel())
    return read[0]


def _own_concat(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([label.reshape(*node.shape[:-1], -1) for label in read], -1)


def _own_stays(ties: _Ties, node: Node, read: list[np.ndarray]) -> np.ndarray:
    for label in read:
        ties.join(label, STAYS)
    return np.full(node.shape, STAYS)


OWN: dict[str, Callable[[_Ties, Node, list[np.ndarray]], np.ndarray]] = {
    "linear": _own_linear,
    "conv": _own_conv,
    "affine": _own_same,
    "alias": _own_same,
    "max": _own_window,
    "sum": _own_window,
    "add": _own_joined,
    "multiply": _own_joined,
    "gather": _own_gather,
    "concat": _own_concat,
}  # the labels of a node's value, by its kind; any other kind keeps what it reads and makes


def regular_axis(label: np.ndarray) -> int | None:
    """Return the axis, the last one if possible, along which alone labels change, so that what is left is a block; None where there is none.

    >>> regular_axis(np.array([[1, 2], [1, 2]])), regular_axis(np.array([[1, 1], [2, 2]])), regular_axis(np.array([[1, 2], [2, 1]]))
    (1, 0, None)
    """
    for axis in reversed(range(label.ndim)):
        if (label == label[tuple(slice(None) if k == axis else slice(0, 1) for k in range(label.ndim))]).all():
            return axis
    return None


def _keep_regular(nodes: Sequence[Node], labels: Mapping[str, np.ndarray], ties: _Ties) -> None:
    """Keep what would leave no block of a value behind."""
    for node in nodes:
        label = ties.find(labels[node.output])
        axis = regular_axis(label)
        if axis is None or (node.kind == "concat" and axis != label.ndim - 1):
            ties.join(label, STAYS)


def _families(makers: list[np.ndarray]) -> tuple[tuple[int, ...], ...]:
    """The channels of each layer that can go; layers that share one are one family."""
    found: list[set[int]] = []
    for own in makers:
        family = {int(label) for label in np.unique(own) if label != STAYS}
        for other in [other for other in found if other & family]:
            family |= other
            found.remove(other)
        found += [family] if family else []
    return tuple(tuple(sorted(family)) for family in found)
