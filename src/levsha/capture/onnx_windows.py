"""ONNX operations over windows and whole axes: pools, Reduce..., ArgMax, Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np
import torch

from levsha.capture.onnx_arithmetic import affine
from levsha.capture.onnx_layout import axis_of, with_batch
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_sums import images, numbers, same_pads
from levsha.capture.onnx_value import UnsupportedError, Value


def _rounded_up(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> list[int]:
    """The pads with what ceil_mode adds at the end; no window starts behind the input and the pad before it."""
    rank = len(size)
    after = []
    for n, k, s, d, first, last in zip(size, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True):
        reach = (k - 1) * d + 1
        windows = -(-(n + first + last - reach) // s) + 1
        if (windows - 1) * s >= n + first:
            windows -= 1
        after.append(max((windows - 1) * s + reach - n - first, last))
    return [*pads[:rank], *after]


def _window(node: Node, x: Value) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """kernel, strides, dilations, pads with those of ceil_mode, pads without."""
    rank = len(x.shape) - 1
    kernel = [int(n) for n in node.attributes["kernel_shape"]]
    strides, dilations = numbers(node, "strides", rank, 1), numbers(node, "dilations", rank, 1)
    pads = same_pads(node, x.shape[1:], kernel, strides, dilations)
    said = pads is None or not any(pads)
    if pads is None:
        pads = numbers(node, "pads", 2 * rank, 0)
    whole = pads
    if said and node.attribute("ceil_mode", 0):
        whole = _rounded_up(x.shape[1:], kernel, strides, dilations, pads)
    return kernel, strides, dilations, whole, pads


def max_pool(node: Node) -> Value:
    """The largest of each window."""
    node.need_no_output(1, "places", "only the largest values can be used")
    x = with_batch(node, node.value(0))
    _need_rank(node, x)
    kernel, strides, dilations, pads, _ = _window(node, x)
    return node.call(
        "max_pool", x, whole=x.whole, kernel=kernel, strides=strides, dilations=dilations, pads=pads
    )  # fmt: skip


def _need_rank(node: Node, x: Value) -> None:
    if len(x.shape) not in (2, 3):
        raise UnsupportedError(f"{node.op} over {len(x.shape) - 1} axes", "1 and 2 axes are supported")


def average_pool(node: Node) -> Value:
    """The mean of each window; pads count where count_include_pad says so, those of ceil_mode never."""
    x = images(node)
    kernel, strides, dilations, whole, pads = _window(node, x)
    if any(d != 1 for d in dilations):
        raise UnsupportedError(
            f"AveragePool with dilations = {dilations}", "use dilations of 1, or a Conv with equal weights"
        )
    counted = pads if node.attribute("count_include_pad", 0) else [0] * len(pads)
    return node.call("average_pool", x, kernel=kernel, strides=strides, pads=whole, counted=counted)


def global_average_pool(node: Node) -> Value:
    """The mean of each channel."""
    x = with_batch(node, node.real(0))
    return node.call("mean", x, axes=tuple(range(1, len(x.shape))), keepdim=True)


def global_max_pool(node: Node) -> Value:
    """The largest of each channel."""
    x = with_batch(node, node.real(0))
    return _largest(node, x, list(range(1, len(x.shape))), True)


def _largest(node: Node, x: Value, axes: Sequence[int], keepdim: bool, sign: float = 1.0) -> Value:
    """The largest element over axes without the batch: a pool with one window over them, where they are no image's put side by side."""
    minus = {"factor": np.array(-1.0), "offset": np.array(0.0)}
    y = x if sign > 0 else node.call("affine", x, arrays=minus)
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    size = [x.shape[axis] for axis in axes]
    if rest != [0] or len(size) > 2:
        kept, size = prod(x.shape[axis] for axis in rest), [prod(size)]
        order = [0, *(axis + 1 for axis in [*rest, *axes])]
        y = node.move(y, lambda t, fill: t.permute(order).reshape(len(t), kept, *size), x.batch)
    ones, zeros = [1] * len(size), [0, 0] * len(size)
    y = node.call("max_pool", y, whole=x.whole, kernel=size, strides=size, dilations=ones, pads=zeros)
    if sign < 0:
        y = node.call("affine", y, arrays=minus)
    own = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape) if keepdim or axis not in axes)
    return node.move(y, lambda t, fill: t.reshape(len(t), *own), x.batch)


def _axes(node: Node, x: Value) -> list[int]:
    """The axes that a Reduce node names, without the batch; none at all mean all, unless it says that they mean nothing."""
    found = node.option("axes", 1)
    if found is None or not found.size:
        if node.attribute("noop_with_empty_axes", 0):
            return []
        found = np.arange(len(x.view))
    return sorted({axis_of(x, int(axis), node.op) for axis in found.reshape(-1)})


def _without(x: Value, axes: Sequence[int], keepdim: bool) -> int | None:
    """Where the batch is once axes are gone."""
    return x.batch if keepdim or x.batch is None else x.batch - sum(axis < x.batch for axis in axes)


def reduce(node: Node, kind: str, before: str = "", after: str = "") -> Value:
    """A sum, mean, largest or smallest over whole axes, of a function of each element and followed by one.

    kind: sum, mean, max or min. before, after: names of functions, empty for none.
    """
    x = node.real(0)
    axes, keepdim = _axes(node, x), bool(node.attribute("keepdims", 1))
    if before:
        x = node.call("function", x, name=before, function=_STEPS[before])
    if axes:
        batch = _without(x, axes, keepdim)
        if kind in ("max", "min"):
            y = _largest(node, x, axes, keepdim, 1.0 if kind == "max" else -1.0)
        else:
            y = node.call(kind, x, axes=tuple(axes), keepdim=keepdim)
        x = Value(y.name, y.shape, batch, x.rows)
    return node.call("function", x, name=after, function=_STEPS[after]) if after else x


_STEPS = {"abs": torch.abs, "square": torch.square, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt}


def argmax(node: Node, sign: float) -> Value:
    """The place of the largest element (sign 1) or the smallest (sign -1), the first of several."""
    node.need("select_last_index", 0, "the first of equal elements is taken; leave select_last_index at 0")
    x = node.value(0)
    axis, keepdim = axis_of(x, int(node.attribute("axis", 0)), node.op), bool(node.attribute("keepdims", 1))
    batch = _without(x, [axis], keepdim)
    if sign < 0:
        x = affine(node, x, -1.0, 0.0)
    y = node.call("argmax", x, whole=True, axis=axis, keepdim=keepdim)
    return Value(y.name, y.shape, batch, x.rows, True)


def softmax(node: Node, log: bool) -> Value:
    """Softmax or its logarithm over one axis; before opset 13, over all axes from one on together."""
    x = node.real(0)
    old = node.opset < 13
    axis = axis_of(x, int(node.attribute("axis", 1 if old else -1)), node.op)
    if not old or prod(x.shape[axis + 1 :]) == 1:
        return node.call("softmax", x, axis=axis, log=log)
    if x.batch is not None and axis < x.batch:
        raise UnsupportedError(f"{node.op} over the batch", "each example must be computed by itself")
    flat = node.move(x, lambda t, fill: t.flatten(axis + 1), x.batch)
    y = node.call("softmax", flat, axis=axis, log=log)
    return node.move(y, lambda t, fill: t.reshape(len(t), *x.shape), x.batch)


WINDOWS = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMean": partial(reduce, kind="mean"),
    "ReduceSum": partial(reduce, kind="sum"),
    "ReduceMax": partial(reduce, kind="max"),
    "ReduceMin": partial(reduce, kind="min"),
    "ReduceL1": partial(reduce, kind="sum", before="abs"),
    "ReduceL2": partial(reduce, kind="sum", before="square", after="sqrt"),
    "ReduceSumSquare": partial(reduce, kind="sum", before="square"),
    "ReduceLogSum": partial(reduce, kind="sum", after="log"),
    "ReduceLogSumExp": partial(reduce, kind="sum", before="exp", after="log"),
    "ArgMax": partial(argmax, sign=1.0),
    "ArgMin": partial(argmax, sign=-1.0),
    "Softmax": partial(softmax, log=False),
    "LogSoftmax": partial(softmax, log=True),
}
