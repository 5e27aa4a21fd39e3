"""Rounding as integers have it, with the gradient of no rounding (straight-through; Bengio et al. 2013).

Legend: N examples, O outputs, I inputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from levsha.formats import Format
from levsha.lower import Node, Scale
from levsha.lower.calibrate import TABLE
from levsha.lower.weights import SMALLEST_SCALE

WEIGHT = 0.1  # mean magnitude of a row of weights as they are trained: a step of 0.001 moves them by 1 %
INSIDE = 0.95  # of the half of a grid's cell: how far from its middle a weight may lie that starts in it
SMALLEST = 1e-6  # of the largest channel's unit, that of any channel


class _Rounded(torch.autograd.Function):
    """step * integer + zero, the integer rounded half up, as a shift does, and clipped; its gradient is that of clipping alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, zero: Tensor | None, lo: int, hi: int) -> Tensor:
        step, zero = step.to(x.dtype), None if zero is None else zero.to(x.dtype)
        units = (x if zero is None else x - zero) / step
        ctx.save_for_backward(units)
        ctx.ends = lo, hi + 0.5
        coarse = x.dtype == torch.bfloat16  # has no room for the half
        y = (units.round() if coarse else (units + 0.5).floor_()).clamp_(lo, hi).mul_(step)
        return y if zero is None else y.add_(zero)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (units,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0].contiguous(), units, *ctx.ends), None, None, None, None


class Grid(nn.Module):
    """What integers lo..hi stand for: real = zero + step * integer, step and zero one number, one a channel or one an element."""

    def __init__(self, shape: tuple[int, ...], step: Any, zero: Any, lo: int, hi: int) -> None:
        super().__init__()
        self.lo, self.hi = lo, hi
        self.step = nn.Buffer(spread(step, shape))
        self.zero = nn.Buffer(spread(zero, shape)) if np.any(zero) else None

    def extra_repr(self) -> str:
        return f"{self.lo}..{self.hi}"

    def forward(self, x: Tensor) -> Tensor:
        """Return what x (N, *shape) is once it has been rounded to an integer and clipped."""
        rounded = _Rounded.apply(x, self.step, self.zero, self.lo, self.hi)
        assert isinstance(rounded, Tensor)
        return rounded


def spread(numbers: Any, shape: tuple[int, ...]) -> Tensor:
    """Return one number, one a channel or one an element so that it broadcasts against a value of this shape."""
    flat = np.asarray(numbers, np.float64)
    return torch.from_numpy(
        np.array(flat.reshape(shape) if flat.ndim and flat.size == math.prod(shape) else flat, np.float32)
    )


class Finish(nn.Module):
    """What follows a node's sums: activation, clip and rounding."""

    def __init__(self, node: Node, scale: Scale | None) -> None:
        super().__init__()
        self.node = node
        self.index, self.value = None, None
        if scale is not None:
            self.value = Grid(node.shape, scale.step, scale.zero, scale.lo, scale.hi)
            if scale.table is not None:
                self.index = Grid(node.shape, scale.width, scale.low, 0, TABLE - 1)

    def forward(self, z: Tensor) -> Tensor:
        """Return the value (N, *shape) of a node, as its integers have it; what nobody reads is not rounded: its steps are fine."""
        if self.value is None:
            return self.node.activate(z)
        if self.index is not None:
            return self.value(self.node.activate(self.index(z)))
        return self.value(z)  # any other activation is a clip, which lo and hi are


def to_grid(weight_OI: Tensor, weights: Format, ratio_O1: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the integers (O, I) of weights, and their scale (O, 1), as the integer net will have them. ratio_O1: of the scale to the format's own."""
    weight_OI = weight_OI.detach()
    scale_O1 = weights.scale(weight_OI).clamp_min(SMALLEST_SCALE) * ratio_O1
    return weights.to_integers(weight_OI / scale_O1), scale_O1


def in_cells(weight_OI: Tensor, weights: Format, integers_OI: Tensor, scale_O1: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights nearest to these that become these integers of this scale, and the ratio (O, 1) of that scale to the format's own."""
    half = weights.digit_scale / 2 * INSIDE
    low = torch.where(integers_OI <= weights.lo, -torch.inf, integers_OI - half)
    high = torch.where(integers_OI >= weights.hi, torch.inf, integers_OI + half)
    moved_OI = (weight_OI / scale_O1).clamp(low, high) * scale_O1
    return moved_OI, scale_O1 / weights.scale(moved_OI).clamp_min(SMALLEST_SCALE)


def round_weights(weight_OI: Tensor, weights: Format, ratio_O1: Tensor | float = 1.0) -> Tensor:
    """Return weights on the grid of a format, with the gradient of what they were."""
    integers_OI, scale_O1 = to_grid(weight_OI, weights, ratio_O1)
    return weight_OI + (integers_OI * scale_O1 - weight_OI).detach()


def floored(numbers_O: Tensor) -> Tensor:
    """Return numbers (O,) of which none is far below the largest."""
    largest = float(numbers_O.max())
    return numbers_O.clamp_min(SMALLEST * largest if largest > 0 else 1.0)
