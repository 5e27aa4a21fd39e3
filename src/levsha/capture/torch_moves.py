"""Operations that only move elements: whatever they do, they are asked to do it to numbers (`index_of`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from levsha.capture.reader import BATCH, Name, Node, index_of

ADVICE = "keep axis 0 the batch, and every example apart"
MOVING = [
    "channel_shuffle",
    "expand",
    "expand_as",
    "flatten",
    "flip",
    "movedim",
    "narrow",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "reflection_pad1d",
    "reflection_pad2d",
    "repeat",
    "repeat_interleave",
    "replication_pad1d",
    "replication_pad2d",
    "reshape",
    "roll",
    "select",
    "slice",
    "squeeze",
    "t",
    "tile",
    "transpose",
    "unflatten",
    "unsqueeze",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "view",
]
SEVERAL = ("chunk", "split", "split_with_sizes", "unbind", "tensor_split", "unsafe_chunk", "unsafe_split")


def _call(n: Node) -> tuple[Name, Callable[[Tensor], Any]]:
    """The value that is moved, and the operation as a function of it alone."""
    (_, x), *others = n.given.items()
    more = {
        key: value
        for key, value in others
        if value is not None or key not in ("dtype", "layout", "device", "memory_format")
    }
    return x, lambda t: n.target(t, **more)


def move(n: Node) -> Name:
    """Add a rearrangement of one value."""
    x, operation = _call(n)
    index = index_of(operation, x.shape)
    if index is None or tuple(index.shape) != n.shape:
        return n.refuse(f"{str(n.target).split('.')[1]} mixes the batch with other axes", ADVICE)
    return n.move(x, index)


def several(n: Node) -> list[Name]:
    """Add a rearrangement for each part."""
    x, operation = _call(n)
    count = len(operation(torch.zeros(BATCH, *x.shape)))
    indexes = [index_of(lambda t, k=k: operation(t)[k], x.shape) for k in range(count)]
    if any(index is None for index in indexes):
        n.refuse("cuts the batch", ADVICE)
        return [Name(n.name, n.shape)] * count
    return [n.move(x, index, suffix=f"_{k}") for k, index in enumerate(indexes) if index is not None]


def pad(n: Node) -> Name:
    """Add padding with a constant, or by what lies at the border."""
    x, _ = _call(n)
    mode, value = n.get("mode", "constant"), n.get("value") or 0.0
    if mode == "constant":
        index = index_of(lambda t: torch.constant_pad_nd(t, n["pad"], 0.0), x.shape)
        return n.refuse("pads the batch", ADVICE) if index is None else n.move(x, index, float(value))
    return move(n)


def _axis(n: Node, rank: int) -> int:
    return n["dim"] % (rank + 1) - 1


def concat(n: Node) -> Name:
    """Add a concatenation; constants among the values are not known."""
    values = n["tensors"]
    if any(isinstance(x, Tensor) for x in values):
        return n.refuse("joins a constant to a value", "pad the value with a constant instead")
    axis = _axis(n, len(values[0].shape))
    return n.refuse("joins along the batch", ADVICE) if axis < 0 else n.emit("concat", values, {"axis": axis})


def stack(n: Node) -> Name:
    """Add a new axis to each value and join them along it."""
    values: Sequence[Name] = n["tensors"]
    axis = n["dim"] % (len(values[0].shape) + 2) - 1
    if axis < 0:
        return n.refuse("stacks along the batch", ADVICE)
    parts = []
    for k, x in enumerate(values):
        index = torch.arange(math.prod(x.shape)).reshape(x.shape).unsqueeze(axis)
        parts.append(n.move(x, index, suffix=f"_{k}"))
    return n.emit("concat", parts, {"axis": axis})


MOVES: dict[str, Callable[[Node], Any]] = {
    **dict.fromkeys(MOVING, move), **dict.fromkeys(SEVERAL, several), "pad": pad, "constant_pad_nd": pad,
}  # fmt: skip
