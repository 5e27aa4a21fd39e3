"""Pools and reductions of torch.  Legend: N examples, C channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from levsha.capture.reader import Name, Node

Handler = Callable[[Node], Any]


def short(target: Any) -> str:
    """Return what torch calls an operation."""
    return str(target).split(".")[1].strip("_")


def ints(found: Any, rank: int) -> tuple[int, ...]:
    """One number for each axis.

    >>> ints([3], 2), ints(2, 2), ints([1, 2], 2)
    ((3, 3), (2, 2), (1, 2))
    """
    numbers = [found] if isinstance(found, int) else list(found)
    return tuple(numbers * rank if len(numbers) == 1 else numbers)


def _ceil_pads(
    x: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    ceil: bool,
) -> tuple[int, ...]:
    """Pads before and after each axis, with as much more after it as rounding the size up takes."""
    after = []
    for size, k, s, d, p in zip(x, kernel, strides, dilations, pads, strict=True):
        room = size + 2 * p - d * (k - 1) - 1
        more = -room % s if ceil else 0
        outputs = -(-room // s) + 1
        if ceil and (outputs - 1) * s >= size + p:  # a window that would start behind the input is left out
            more = 0
        after.append(p + more)
    return (*pads, *after)


def pool(kind: str) -> Handler:
    """Return the handler of a pool."""

    def handle(n: Node) -> Any:
        x = n.get("self", n.get("input"))
        rank = len(ints(n["kernel_size"], 1 if "1d" in str(n.target) else 2))
        kernel = ints(n["kernel_size"], rank)
        strides = ints(n["stride"], rank) if n["stride"] not in ([], None) else kernel
        pads, dilations = ints(n["padding"], rank), ints(n.get("dilation", 1), rank)
        whole = _ceil_pads(x.shape[-rank:], kernel, strides, dilations, pads, n["ceil_mode"])
        attributes = {"kernel": kernel, "strides": strides, "pads": whole}
        if kind == "max_pool":
            return n.emit(kind, [x], attributes | {"dilations": dilations})
        if n.get("divisor_override"):
            return n.refuse("an average pool with divisor_override", "multiply by a constant instead")
        return n.emit(kind, [x], attributes | {"counted": pads * 2 if n["count_include_pad"] else (0,) * 2 * rank})

    return handle


def adaptive(kind: str) -> Handler:
    """Return the handler of an adaptive pool, whose windows are of one size; a maximum has its place beside it, which nobody may read."""

    def handle(n: Node) -> Any:
        x = n["self"]
        sizes = ints(n["output_size"], 1 if "1d" in str(n.target) else 2)
        rank = len(sizes)
        inner = x.shape[-rank:]
        if any(i % o for i, o in zip(inner, sizes, strict=True)):
            return n.refuse(f"an adaptive pool from {inner} to {sizes}", "use sizes that divide the input's, such as 1")
        kernel = tuple(i // o for i, o in zip(inner, sizes, strict=True))
        if kind == "average_pool" and set(sizes) == {1}:
            axes = tuple(range(len(x.shape) - rank, len(x.shape)))
            return n.emit("mean", [x], {"axes": axes, "keepdim": True})
        more = {"dilations": (1,) * rank} if kind == "max_pool" else {"counted": (0,) * 2 * rank}
        made = n.emit(kind, [x], {"kernel": kernel, "strides": kernel, "pads": (0,) * 2 * rank} | more)
        return (made, None) if kind == "max_pool" else made

    return handle


def axes_of(n: Node, x: Name, key: str = "dim") -> list[int] | None:
    """The axes without the batch; None, and a problem, where the batch is among them."""
    found = n.get(key)
    every = list(range(len(x.shape) + 1)) if found in (None, []) else [found] if isinstance(found, int) else list(found)
    axes = [axis % (len(x.shape) + 1) - 1 for axis in every]
    if -1 in axes:
        n.refuse(f"{short(n.target)} over the batch", "leave axis 0 alone: it counts the examples")
        return None
    return axes


def reduce(kind: str) -> Handler:
    """Return the handler of a mean or a sum over whole axes."""

    def handle(n: Node) -> Name:
        axes = axes_of(n, n["self"])
        return (
            Name(n.name, n.shape)
            if axes is None
            else n.emit(kind, [n["self"]], {"axes": axes, "keepdim": n.get("keepdim", False)})
        )

    return handle


def amax(n: Node) -> Name:
    """The largest along axes: a pool over all of them, put in line first."""
    x = n["self"]
    axes = axes_of(n, x)
    if axes is None:
        return Name(n.name, n.shape)
    numbers = torch.arange(math.prod(x.shape)).reshape(x.shape)
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    flat = numbers.permute(*kept, *axes).reshape(1, math.prod(x.shape[k] for k in kept), -1)
    line = n.move(x, flat, suffix="_line")
    count = flat.shape[-1]
    attributes = {"kernel": (1, count), "strides": (1, count), "pads": (0,) * 4, "dilations": (1, 1)}
    pooled = n.emit("max_pool", [line], attributes, shape=(1, flat.shape[1], 1), suffix="_most")
    return n.move(pooled, torch.arange(flat.shape[1]).reshape(n.shape))


def largest(n: Node) -> Any:
    """The largest of all, or along one axis, then with its place beside it, which nobody may read."""
    if "other" in n.given:
        return n.refuse("the larger of two values", "use torch.relu(a - b) + b")
    return amax(n) if n.get("dim") is None else (amax(n), None)


def argmax(n: Node) -> Name:
    """The place of the largest along an axis."""
    axes = axes_of(n, n["self"])
    if axes is None or len(axes) > 1:
        return (
            Name(n.name, n.shape)
            if axes is None
            else n.refuse("argmax over several axes", "flatten the axes before it")
        )
    return n.emit("argmax", [n["self"]], {"axis": axes[0], "keepdim": n["keepdim"]})
