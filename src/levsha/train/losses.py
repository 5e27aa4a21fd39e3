"""The losses by name: torch's own functions, and for the hand-written backward their gradients; legend: N examples, C outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from levsha.errors import LevshaError
from levsha.train.settings import LOSSES, REDUCTIONS, Training

ATEN = torch.ops.aten
SUM = 2  # torch's number for this reduction

Gradient = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""Outputs (N, C), targets, scale -> scale * summed loss, and its gradient by the outputs (N, C)."""


@dataclass(frozen=True)
class Loss:
    """value: torch's function(output, target, reduction=...); gradient: written out, for one batch."""

    value: Callable[..., Tensor]
    gradient: Gradient


def _mse(z: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    d = z - y
    return torch.dot(d.view(-1), d.view(-1)) * scale, d.mul_(2 * scale)


def _cross_entropy(z: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(z, 1)
    if y.is_floating_point():
        loss = (log_p * y).sum().mul_(-scale)
        return loss, log_p.exp_().mul_(y.sum(1, keepdim=True)).sub_(y).mul_(scale)
    loss = ATEN.nll_loss_forward(log_p, y, None, SUM, -100)[0].mul_(scale)
    d = log_p.exp_().mul_(scale)
    return loss, d.scatter_add_(1, y.unsqueeze(1), _column(y.size(0), -scale, d.dtype, d.device))


@lru_cache(maxsize=8)
def _column(count: int, value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A constant column (N, 1): the same for every batch of a size."""
    return torch.full((count, 1), value, dtype=dtype, device=device)


def _bce(p: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    try:
        loss = ATEN.binary_cross_entropy(p, y, None, SUM)
    except RuntimeError as error:
        loss = _no_probabilities(p, error).sum()
    return loss.mul_(scale), ATEN.binary_cross_entropy_backward(loss.new_full((), scale), p, y, None, SUM)


def _bce_value(p: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    try:
        return functional.binary_cross_entropy(p, y, reduction=reduction)
    except RuntimeError as error:
        lost = _no_probabilities(p, error)
        return lost if reduction == "none" else lost.sum()


def _no_probabilities(p: Tensor, error: RuntimeError) -> Tensor:
    """Return nothing but NaN where a diverged net gave one, so that the training says at which step; else say what is wrong."""
    low, high = p.min().item(), p.max().item()
    if math.isnan(low):
        return p * math.nan
    if 0 <= low <= high <= 1:
        raise error
    raise LevshaError(
        f"loss bce: the net's outputs are {low:g} to {high:g}; they must be probabilities, 0 to 1: end the net in nn.Sigmoid, or take bce_with_logits."
    ) from None


def _bce_with_logits(z: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    loss = ATEN.binary_cross_entropy_with_logits(z, y, None, None, SUM)
    return loss.mul_(scale), torch.sigmoid(z).sub_(y).mul_(scale)


def _l1(z: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    d = z - y
    return d.abs().sum().mul_(scale), d.sign_().mul_(scale)


def _smooth_l1(z: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    loss = ATEN.smooth_l1_loss(z, y, SUM, 1.0)
    return loss.mul_(scale), (z - y).clamp_(-1, 1).mul_(scale)


TABLE: dict[str, Loss] = {
    "mse": Loss(functional.mse_loss, _mse),
    "cross_entropy": Loss(functional.cross_entropy, _cross_entropy),
    "bce": Loss(_bce_value, _bce),
    "bce_with_logits": Loss(functional.binary_cross_entropy_with_logits, _bce_with_logits),
    "l1": Loss(functional.l1_loss, _l1),
    "smooth_l1": Loss(functional.smooth_l1_loss, _smooth_l1),
}
assert tuple(TABLE) == LOSSES


def loss(name: str, output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return a loss by name.

    output: (N, C). target: (N, C), for cross_entropy also class numbers (N,). reduction: mean, sum or none.
    Raises LevshaError for an unknown name, and for shapes that torch would silently broadcast.

    >>> loss("l1", torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [0.0]]), "sum")
    tensor(4.)
    """
    if reduction not in REDUCTIONS:
        raise LevshaError(f"reduction {reduction!r}: unknown; there are {', '.join(REDUCTIONS)}.")
    value = find_loss(name).value
    check_target(name, output, target)
    return value(output, target, reduction=reduction)


def find_loss(name: str) -> Loss:
    """Return the loss called `name`; LevshaError lists what there is."""
    if name not in TABLE:
        raise LevshaError(f"loss {name!r}: unknown; there are {', '.join(TABLE)}.")
    return TABLE[name]


def check_target(name: str, output: Tensor, target: Tensor) -> None:
    """Raise LevshaError where outputs and targets do not fit each other and the loss."""
    shapes = f"the net's output is {_shape(output)}, the target {_shape(target)} of {target.dtype}"
    if name == "cross_entropy" and not target.is_floating_point():
        if target.dtype != torch.int64 or target.ndim != 1 or output.ndim != 2 or len(target) != len(output):
            raise LevshaError(f"loss {name}: {shapes}; needed are (N, classes) and class numbers (N,) of torch.int64.")
        if len(target) and not 0 <= int(target.min()) <= int(target.max()) < output.shape[1]:
            raise LevshaError(
                f"loss {name}: class numbers are {int(target.min())} to {int(target.max())}; {output.shape[1]} outputs allow 0 to {output.shape[1] - 1}."
            )
    elif target.shape != output.shape or not target.is_floating_point():
        raise LevshaError(
            f"loss {name}: {shapes}; both must have the same shape and be floating; for one output that is (N, 1)."
        )
    elif len(target) and (name == "cross_entropy" or name.startswith("bce")):
        _check_probabilities(name, target)


def _check_probabilities(name: str, target: Tensor) -> None:
    low, high = float(target.min()), float(target.max())
    if not 0 <= low <= high <= 1:
        raise LevshaError(f"loss {name}: targets are {low:g} to {high:g}; probabilities are 0 to 1.")
    if name == "cross_entropy" and (
        target.ndim < 2 or target.shape[1] < 2 or float((target.sum(1) - 1).abs().max()) > 1e-3
    ):
        raise LevshaError(
            f"loss {name}: a row of the {target[0].numel()} targets does not sum to 1; give class numbers (N,), or a probability for each class."
        )


def _shape(x: Tensor) -> str:
    return "(" + ", ".join(str(size) for size in x.shape) + ("," if x.ndim == 1 else "") + ")"


def batch_scale(training: Training, count: int, output: Tensor) -> float:
    """Return what a batch's summed loss is multiplied by; count: samples of the batch in all processes together."""
    if training.reduction == "sum":
        return 1.0
    sizes = output.shape[2:] if training.loss == "cross_entropy" else output.shape[1:]
    return 1 / (count * sizes.numel())
