"""Calls that look at windows, or at whole axes, as nodes.  Legend: H W rows and columns, C channels, O outputs, I inputs of one output."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from levsha.capture.build import Build
from levsha.capture.call import MEANINGS, Call
from levsha.capture.view import View, peel
from levsha.lower.node import Clip, Window

Four = tuple[int, int, int, int]
BOUNDLESS = (1 << 30, 1 << 30)  # of kernels whose windows may lie in padding alone


def image_view(view: View) -> View:
    """Return (C, W) or (C, H, W) as an image, channels last: (H, W, C), of one row where there is one axis."""
    index = view.index[:, None, :] if view.index.ndim == 2 else view.index
    return replace(view, index=index.transpose(1, 2, 0))


def two(numbers: tuple[int, ...], first: int) -> tuple[int, int]:
    """Return a number for each of two axes; first: that of the rows, where there is one axis.

    >>> two((3,), 1), two((3, 5), 1)
    ((1, 3), (3, 5))
    """
    return (first, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def four(pads: tuple[int, ...]) -> Four:
    """Return pads as top, left, bottom, right.

    >>> four((1, 2)), four((1, 2, 3, 4))
    ((0, 1, 0, 2), (1, 2, 3, 4))
    """
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else (pads[0], pads[1], pads[2], pads[3])


def _padded(
    build: Build, call: Call, view: View, pads: Four, kernel: tuple[int, int], is_nothing: bool
) -> tuple[str, tuple[int, int, int], Four]:
    """The value a window slides over, its shape and its pads; is_nothing: what the fill is there counts like padding. No window
    may lie in padding alone: wider pads than the kernel (rows, columns) stay elements."""
    image = image_view(view)
    if image.is_filled and is_nothing:
        inner, more = peel(image.index)
        if not (inner < 0).any() and max(more[0], more[2]) < kernel[0] and max(more[1], more[3]) < kernel[1]:
            image = replace(image, index=inner)
            pads = tuple(a + b for a, b in zip(pads, more, strict=True))  # pyright: ignore[reportAssignmentType]
    return build.materialise(call, image), image.shape, pads  # pyright: ignore[reportReturnType]


def fold_conv(build: Build, call: Call) -> None:
    """Add a convolution; padding that stands before it is taken into it."""
    a, view, weight = call.attributes, build.view(call.inputs[0]), call.arrays["weight"]
    value, shape, pads = _padded(build, call, view, four(a["pads"]), BOUNDLESS, view.fill == 0)
    _add_conv(build, call, value, weight, Window(
        shape, two(tuple(weight.shape[2:]), 1), two(a["strides"], 1), two(a["dilations"], 1), pads, a["groups"],
    ))  # fmt: skip


def _add_conv(build: Build, call: Call, value: str, weight: Tensor, window: Window) -> None:
    wide = weight if weight.dim() == 4 else weight[:, :, None]
    weight_OI = wide.permute(0, 2, 3, 1).flatten(1)
    bias = call.array("bias")
    offset_O = np.zeros(len(weight)) if bias is None else bias.double().numpy()
    shape = (*window.out, len(weight))
    order = (1, 2, 0) if len(call.shape) == 3 else (1, 0)
    more = {"weight_OI": weight_OI, "factor_O": np.ones(len(weight)), "offset_O": offset_O, "window": window}
    build.add(call, "conv", [value], shape, order, **more)


def fold_conv_transpose(build: Build, call: Call) -> None:
    """Add the convolution of a value with zeros put between its elements, which is what a transposed one is."""
    a, view, weight = call.attributes, build.view(call.inputs[0]), call.arrays["weight"]
    rank, groups = weight.dim() - 2, a["groups"]
    image = image_view(
        view
        if not view.is_filled
        else replace(view, value=build.materialise(call, view), index=View.whole("", view.shape).index)
    )
    strides, dilations, more = two(a["strides"], 1), two(a["dilations"], 1), two(a["output_padding"], 0)
    kernel = two(tuple(weight.shape[2:]), 1)
    before, after = two(a["pads"][:rank], 0), two(a["pads"][rank:], 0)
    rows, columns, channels = image.shape
    spread = np.full(((rows - 1) * strides[0] + 1, (columns - 1) * strides[1] + 1, channels), -1, np.int64)
    spread[:: strides[0], :: strides[1]] = image.index
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    starts, ends = (
        [r - p for r, p in zip(reach, side, strict=True)]
        for side in (before, [q - m for q, m in zip(after, more, strict=True)])
    )
    cut = [(max(0, -s), max(0, -e)) for s, e in zip(starts, ends, strict=True)]
    spread = spread[cut[0][0] : len(spread) - cut[0][1], cut[1][0] : spread.shape[1] - cut[1][1]]
    pads = (max(0, starts[0]), max(0, starts[1]), max(0, ends[0]), max(0, ends[1]))
    flipped = weight.flip(list(range(2, 2 + rank))).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    value = build.materialise(call, replace(image, index=spread, fill=0.0))
    _add_conv(
        build,
        call,
        value,
        flipped,
        Window((spread.shape[0], spread.shape[1], channels), kernel, (1, 1), dilations, pads, groups),
    )


def fold_max_pool(build: Build, call: Call) -> None:
    """Add a maximum of windows."""
    a, view = call.attributes, build.view(call.inputs[0])
    node = build.nodes.get(view.value)
    never_negative = node is not None and isinstance(node.activation, Clip) and node.activation.lo >= 0
    loses = view.fill == -math.inf or (view.fill == 0 and never_negative)
    value, shape, pads = _padded(build, call, view, four(a["pads"]), two(a["kernel"], 1), loses)
    window = Window(shape, two(a["kernel"], 1), two(a["strides"], 1), two(a["dilations"], 1), pads)
    order = (1, 2, 0) if len(call.shape) == 3 else (1, 0)
    alone = view.sole
    made = build.add(call, "max", [value], (*window.out, shape[2]), order, window=window)
    if alone:
        build.sole_inputs.add(made.output)


def fold_average_pool(build: Build, call: Call) -> None:
    """Add sums of windows, and the factor that makes means of them: one an element where windows have more and less in them."""
    a, view = call.attributes, build.view(call.inputs[0])
    ones = torch.ones(1, *view.shape)
    value, shape, pads = _padded(build, call, view, four(a["pads"]), BOUNDLESS, view.fill == 0)
    window = Window(shape, two(a["kernel"], 1), two(a["strides"], 1), (1, 1), pads)
    total = replace(call, attributes={**a, "counted": a["pads"]})
    area = math.prod(a["kernel"])
    share = MEANINGS["average_pool"](call, ones) / (MEANINGS["average_pool"](total, ones) * area)
    factor = image_view(View("", share[0].double().numpy())).index.ravel()
    factor_O = factor[:1] if (factor == factor[0]).all() else factor
    order = (1, 2, 0) if len(call.shape) == 3 else (1, 0)
    build.add(call, "sum", [value], (*window.out, shape[2]), order, window=window, factor_O=factor_O)


def fold_mean(build: Build, call: Call) -> None:
    """Add sums over whole axes: a window as large as they are."""
    view, axes = build.view(call.inputs[0]), tuple(call.attributes["axes"])
    kept = tuple(axis for axis in range(len(view.shape)) if axis not in axes)
    laid = view.laid((*axes, *kept))
    count, rest = math.prod(view.shape[axis] for axis in axes), math.prod(view.shape[axis] for axis in kept)
    value = build.materialise(call, replace(laid, index=laid.index.reshape(count, 1, rest)))
    factor_O = np.full(1, 1.0 / count if call.kind == "mean" else 1.0)
    build.add(call, "sum", [value], (1, 1, rest), None, window=Window((count, 1, rest), (count, 1)), factor_O=factor_O)
