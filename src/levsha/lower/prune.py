"""Channels removed from a net, and from all that reads them; legend: N examples, O outputs, I inputs, H W rows and columns, C channels."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from levsha.errors import LevshaError
from levsha.lower.channels import Channels, channels_of, regular_axis
from levsha.lower.node import Node, Trace


@dataclass(frozen=True, eq=False)
class Pruned:
    """nodes: what is left. kept: of every value by name, whether each of its former elements is left, flat."""

    nodes: tuple[Node, ...]
    kept: Mapping[str, np.ndarray]

    def trace(self, node: Node, whole: Trace) -> Trace:
        """Return what is left of the trace of a node of the unpruned net. node: what is left of it."""
        kept = np.flatnonzero(self.kept[node.output])
        if len(kept) == len(self.kept[node.output]):
            return whole
        z, h = (part.flatten(1)[:, kept].reshape(len(part), *node.shape) for part in whole)
        return Trace(z, h)


def prune_share(
    nodes: Sequence[Node], sources: Mapping[str, Tensor], traces: Mapping[str, Trace], outputs: Sequence[str], keep: float
) -> Pruned:  # fmt: skip
    """Return the net with the share `keep` of each layer's channels, those that matter most to the layers that read them.

    sources: real inputs (N, *shape) by name; traces: what the net makes of them. keep: above 0, up to 1; at least one channel of a layer is
    kept. LevshaError where keep is out of range, or no channel can be removed.
    """
    if not 0 < keep <= 1:
        raise LevshaError(
            f"keep: is {keep:g}; give the share of channels to keep, above 0 and up to 1, such as 0.5; 1 keeps all."
        )
    channels = channels_of(nodes, {name: tuple(x.shape[1:]) for name, x in sources.items()}, outputs)
    if not channels.families and keep < 1:
        raise LevshaError(
            "keep: no channel of this net can be removed: all belong to inputs, outputs, recurrent layers or layers in groups; leave keep out."
        )
    importance = importance_of(nodes, channels, dict(sources) | {name: trace.h for name, trace in traces.items()})
    removed: set[int] = set()
    for family in channels.families:
        ordered = sorted(family, key=lambda number: (-importance[number], number))
        removed |= {*ordered[max(1, round(keep * len(family))) :]}
    for label in channels.labels.values():
        there = set(np.unique(label).tolist())
        if there <= removed:  # a slice of a layer: something must be left of it
            removed.remove(min(there, key=lambda number: (-importance[number], number)))
    return prune(nodes, channels, removed)


def importance_of(nodes: Sequence[Node], channels: Channels, values: Mapping[str, Tensor]) -> np.ndarray:
    """Return how much each channel matters, by its number: its variance on data times its squared weights in each layer that reads it, as
    a share of all that the layer reads, summed over layers. values: real values (N, *shape) by name.

    The mean of what is removed is no loss, since the offset of the layer that reads it makes up for it.
    """
    most = max((int(label.max()) for label in channels.labels.values()), default=0)
    importance = np.zeros(most + 1)
    for node in nodes:
        if node.kind not in ("linear", "conv") or node.weight_OI is None:
            continue
        labels = np.concatenate([channels.labels[name].ravel() for name in node.inputs])
        variance = np.concatenate([values[name].flatten(1).double().var(0, False).numpy() for name in node.inputs])
        share = variance * _weight_of(node)
        importance += np.bincount(labels, share, len(importance)) / max(float(share.sum()), 1e-30)
    return importance


def _weight_of(node: Node) -> np.ndarray:
    """The squared weights of each element that a layer reads, flat, times the squared factor behind them."""
    assert node.weight_OI is not None
    square_OI = (node.weight_OI.detach().double().numpy() * np.reshape(node.factor_O, (-1, 1))) ** 2
    if node.kind == "linear":
        return square_OI.sum(0)
    window = node.window
    assert window is not None
    by_group = square_OI.reshape(window.groups, -1, math.prod(window.kernel), window.shape[2] // window.groups)
    weight_C = by_group.sum((1, 2)).ravel()
    return np.broadcast_to(weight_C, window.shape).ravel()


def prune(nodes: Sequence[Node], channels: Channels, removed: Collection[int]) -> Pruned:
    """Return a net without the channels of these numbers: what it computes is what the net would, were they 0 wherever they are made."""
    kept = {name: ~np.isin(label, sorted(removed)) for name, label in channels.labels.items()}
    left = tuple(_smaller(node, kept) for node in nodes)
    return Pruned(left, {name: mask.ravel() for name, mask in kept.items()})


def _smaller(node: Node, kept: Mapping[str, np.ndarray]) -> Node:
    own, read = kept[node.output], [kept[name].ravel() for name in node.inputs]
    axis = regular_axis(own)
    assert axis is not None, node.name
    along = np.moveaxis(own, axis, 0).reshape(own.shape[axis], -1)[:, 0]
    shape = (*own.shape[:axis], int(along.sum()), *own.shape[axis + 1 :])
    more: dict[str, Any] = {name: _left(getattr(node, name), own, axis, along) for name in ("factor_O", "offset_O")}
    if node.index is not None:
        places = np.where(read[0], np.cumsum(read[0]) - 1, -1)
        index = np.where(node.index < 0, -1, places[node.index])
        more["index"] = index[own].reshape(shape)
    if node.window is not None:
        channel_C = read[0].reshape(node.window.shape)[0, 0]
        groups = int(channel_C.sum()) if node.window.groups == node.window.shape[2] > 1 else node.window.groups
        more["window"] = replace(
            node.window, shape=(*node.window.shape[:2], int(channel_C.sum())), groups=max(1, groups)
        )
        if node.kind == "conv":
            more["weight_OI"] = _conv_weight(node, own.reshape(-1, own.shape[-1])[0], channel_C)
    if node.kind == "linear":
        assert node.weight_OI is not None
        more["weight_OI"] = node.weight_OI[np.flatnonzero(own)][:, np.flatnonzero(np.concatenate(read))]
    return replace(node, shape=shape, **more)


def _left(numbers: np.ndarray, own: np.ndarray, axis: int, along: np.ndarray) -> np.ndarray:
    """What is left of one number, one a channel (the last axis), or one an element."""
    if numbers.size == own.size:
        return numbers.ravel()[own.ravel()]
    return numbers[along] if numbers.size > 1 and axis == own.ndim - 1 else numbers


def _conv_weight(node: Node, own_O: np.ndarray, channel_C: np.ndarray) -> Tensor:
    """The weights of the outputs that are left, from the channels that are left."""
    window, weight = node.window, node.weight_OI
    assert window is not None and weight is not None
    weight_OTC = weight.reshape(len(weight), math.prod(window.kernel), -1)[np.flatnonzero(own_O)]
    if window.groups == 1:
        weight_OTC = weight_OTC[:, :, np.flatnonzero(channel_C)]
    return weight_OTC.flatten(1)
