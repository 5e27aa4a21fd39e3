"""What can make a layer worse in integers, each alone in an otherwise float layer; legend: N examples, O outputs, I inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from levsha.lower.build import Lowered
from levsha.lower.rules import Layer

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Cause:
    """apply(layer, x): the layer's real output with this flaw. figures: what is the matter, in words. advice: what to try."""

    name: str
    apply: Callable[[Layer, Inputs], Tensor]
    figures: Callable[[Layer, Inputs], str]
    advice: str


def on_grid(lowered: Lowered) -> Lowered:
    """Return the same net with float weights that lie on their grid already."""
    return replace(lowered, layers=tuple(_grid_layer(layer) for layer in lowered.layers))


def _grid_layer(layer: Layer) -> Layer:
    weights = layer.sums and layer.sums.weights
    if weights is None:
        return layer
    return replace(layer, node=replace(layer.node, weight_OI=torch.from_numpy(weights.real())))


def _weights(layer: Layer, x: Inputs) -> Tensor:
    node = _grid_layer(layer).node
    return node.activate(node.before_activation(*x))


def _weight_figures(layer: Layer, x: Inputs) -> str:
    weights, node = layer.sums and layer.sums.weights, layer.node
    assert weights is not None and node.weight_OI is not None
    real_OI = node.weight_OI.double().numpy()
    off = np.sqrt(((weights.real() - real_OI) ** 2).sum() / (real_OI**2).sum())
    levels = len(np.unique(weights.integers_OI))
    return f"on the grid ({levels} different integers) its weights are off by {100 * off:.1f} %"


def _rounded(layer: Layer, x: Inputs, step: Tensor | float) -> Tensor:
    scale, z = layer.own_scale, layer.node.before_activation(*x)
    if scale.table is not None:
        z = torch.round((z - scale.low) / scale.width) * scale.width + scale.low
    zero = torch.as_tensor(scale.zero)
    return torch.floor((layer.node.activate(z) - zero) / step + 0.5) * step + zero


def _step(layer: Layer, x: Inputs) -> Tensor:
    return _rounded(layer, x, torch.as_tensor(layer.own_scale.step))


def _step_figures(layer: Layer, x: Inputs) -> str:
    h = layer.node.activate(layer.node.before_activation(*x))
    step = float(np.max(layer.own_scale.step))
    return f"one step is {step:.3g}, and its values spread by {float(h.std()):.3g}: {float(h.std()) / step:.2g} steps"


def _own_steps(layer: Layer, x: Inputs) -> Tensor:
    """The largest channel keeps its step; the others have as many steps as that one."""
    h = layer.node.activate(layer.node.before_activation(*x)) - torch.as_tensor(layer.own_scale.zero)
    largest_O = h.abs().flatten(0, -2).amax(0)
    share_O = (largest_O / largest_O.max()).clamp_min(1e-30)
    return _rounded(layer, x, share_O * torch.as_tensor(layer.own_scale.step))


def _range_figures(layer: Layer, x: Inputs) -> str:
    largest_O = layer.node.activate(layer.node.before_activation(*x)).abs().flatten(0, -2).amax(0)
    step = float(np.max(layer.own_scale.step))
    return (
        f"its channels reach from {float(largest_O.min()):.3g} to {float(largest_O.max()):.3g} and share one step of {step:.3g}: "
        f"{int((largest_O < 4 * step).sum())} of {len(largest_O)} have fewer than 4 steps"
    )


def _clipping(layer: Layer, x: Inputs) -> Tensor:
    node, scale = layer.node, layer.own_scale
    z = node.before_activation(*x)
    if scale.table is not None:
        return node.activate(z.clamp(scale.low, scale.low + scale.width * (len(scale.table) - 1)))
    lo, hi = (torch.as_tensor(scale.zero + end * scale.step) for end in (scale.lo, scale.hi))
    return torch.minimum(torch.maximum(node.activate(z), lo.to(z.dtype)), hi.to(z.dtype))


def _clip_figures(layer: Layer, x: Inputs) -> str:
    cut = _clipping(layer, x) != layer.node.activate(layer.node.before_activation(*x))
    scale = layer.own_scale
    share = f"{100 * float(cut.double().mean()):.1f} % of its values lie beyond"
    if scale.table is not None:
        return f"{share} its table, {scale.low:.3g} to {scale.low + scale.width * (len(scale.table) - 1):.3g}"
    return f"{share} {scale.hi} steps of {float(np.max(scale.step)):.3g}"


def _multiplier(layer: Layer, x: Inputs) -> Tensor:
    """The sums, scaled as the integers do it: by multipliers and offsets that were rounded."""
    node, sums, integer, scale = layer.node, layer.sums, layer.integer, layer.own_scale
    assert sums is not None and integer is not None
    unit, origin = (scale.step, scale.zero) if scale.table is None else (scale.width, scale.low)
    wanted_O = sums.factor_O / unit
    ratio_O = np.divide(integer.factors, wanted_O, out=np.ones_like(wanted_O), where=wanted_O != 0)
    z = node.before_activation(*x)
    ratio, wanted, got = (
        node.broadcast(np.asarray(part, np.float64)).to(z.dtype)
        for part in (ratio_O, sums.offset_O, integer.offsets * unit + origin)
    )
    return node.activate((z - wanted) * ratio + got)


def _multiplier_figures(layer: Layer, x: Inputs) -> str:
    unit = layer.own_scale.step if layer.own_scale.table is None else layer.own_scale.width
    assert layer.sums is not None and layer.integer is not None
    wanted_O = np.abs(layer.sums.factor_O / unit)
    off_O = np.abs(layer.integer.factors - layer.sums.factor_O / unit) / np.where(wanted_O > 0, wanted_O, 1.0)
    return f"the rounded multiplier of channel {int(off_O.argmax())} is off by {100 * off_O.max():.1f} %, {int((off_O > 0.01).sum())} of {len(off_O)} by more than 1 %"


CAUSES = {
    cause.name: cause
    for cause in (
        Cause("weights", _weights, _weight_figures, "Try a format with more bits for this layer, or train with weights on the grid."),
        Cause("step", _step, _step_figures, "Try more steps (a higher top), or clip more (a lower percentile)."),
        Cause("range", _own_steps, _range_figures, "Try normalising this layer, so that its channels are of one size."),
        Cause("clipping", _clipping, _clip_figures, "Try a higher percentile, calibration data like those that it meets, or 32-bit sums."),
        Cause("multiplier", _multiplier, _multiplier_figures, "Try normalising this layer, so that its channels' factors are of one size."),
    )
}  # fmt: skip
