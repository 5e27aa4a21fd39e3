"""The optimizers by name: torch's own update rules, each applied once to one flat buffer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from levsha.train.flat import Flat
from levsha.train.settings import OPTIMIZERS, Training

ATEN = torch.ops.aten


class Optimizer(ABC):
    """An update rule and its moments; `state` and `torch_settings` have torch's own names, so that torch.optim can go on with them."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, flat: Flat, training: Training) -> None:
        self.flat, self.training = flat, training
        self.steps = torch.zeros((), device=flat.all.device)
        self.state = {name: torch.zeros_like(flat.all) for name in self._moments()}

    def _moments(self) -> tuple[str, ...]:
        return self.names

    def step(self, rate: float) -> None:
        """Update every parameter from its gradient."""
        self.steps.add_(1)
        self._decay(rate)
        self._update(rate)

    def _decay(self, rate: float) -> None:
        if self.training.weight_decay:
            weights = slice(0, self.flat.weight_count)
            self.flat.grad[weights].add_(self.flat.all[weights], alpha=self.training.weight_decay)

    @abstractmethod
    def _update(self, rate: float) -> None: ...

    @abstractmethod
    def torch_settings(self) -> dict[str, Any]:
        """Return what torch's optimizer of this name keeps in a group of parameters, beside lr and weight_decay."""


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    names = ("exp_avg", "exp_avg_sq")

    def _update(self, rate: float) -> None:
        t, (mean, square) = self.training, self.state.values()
        ATEN._fused_adam_(  # what torch.optim.Adam(fused=True) calls
            [self.flat.all], [self.flat.grad], [mean], [square], [], [self.steps],
            lr=rate, beta1=t.beta1, beta2=t.beta2, weight_decay=0.0, eps=t.eps, amsgrad=False, maximize=False,
        )  # fmt: skip

    def torch_settings(self) -> dict[str, Any]:
        """Return them; see Optimizer."""
        t = self.training
        return {"betas": (t.beta1, t.beta2), "eps": t.eps, "amsgrad": False}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def _decay(self, rate: float) -> None:
        if self.training.weight_decay:
            self.flat.all[: self.flat.weight_count].mul_(1 - rate * self.training.weight_decay)


class Sgd(Optimizer):
    """Stochastic gradient descent, with momentum if asked for (Sutskever et al. 2013)."""

    def _moments(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.training.momentum else ()

    def _update(self, rate: float) -> None:
        t = self.training
        ATEN._fused_sgd_(  # what torch.optim.SGD(fused=True) calls; a buffer of zeros makes every step like the first
            [self.flat.all], [self.flat.grad], list(self.state.values()), weight_decay=0.0, momentum=t.momentum, lr=rate,
            dampening=0.0, nesterov=t.nesterov, maximize=False, is_first_step=False,
        )  # fmt: skip

    def torch_settings(self) -> dict[str, Any]:
        """Return them; see Optimizer."""
        return {"momentum": self.training.momentum, "dampening": 0.0, "nesterov": self.training.nesterov}


class RmsProp(Optimizer):
    """RMSprop (Tieleman and Hinton 2012; centered: Graves 2013); torch has no fused one, so these are its few operations."""

    def _moments(self) -> tuple[str, ...]:
        t = self.training
        return ("square_avg", *(("momentum_buffer",) if t.momentum else ()), *(("grad_avg",) if t.centered else ()))

    def _update(self, rate: float) -> None:
        t, grad, square = self.training, self.flat.grad, self.state["square_avg"]
        square.mul_(t.alpha).addcmul_(grad, grad, value=1 - t.alpha)
        if t.centered:
            mean = self.state["grad_avg"].lerp_(grad, 1 - t.alpha)
            scale = square.addcmul(mean, mean, value=-1).sqrt_().add_(t.eps)
        else:
            scale = square.sqrt().add_(t.eps)
        if t.momentum:
            buffer = self.state["momentum_buffer"].mul_(t.momentum).addcdiv_(grad, scale)
            self.flat.all.add_(buffer, alpha=-rate)
        else:
            self.flat.all.addcdiv_(grad, scale, value=-rate)

    def torch_settings(self) -> dict[str, Any]:
        """Return them; see Optimizer."""
        t = self.training
        return {"momentum": t.momentum, "alpha": t.alpha, "eps": t.eps, "centered": t.centered}


RULES: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": Sgd, "rmsprop": RmsProp}
assert tuple(RULES) == tuple(OPTIMIZERS)


def clip_gradient(grad: Tensor, training: Training) -> None:
    """Clip the whole gradient by value, then by norm, as torch.nn.utils.clip_grad_value_ and clip_grad_norm_ do."""
    if training.clip_value:
        grad.clamp_(-training.clip_value, training.clip_value)
    if training.clip_norm:
        grad.mul_((training.clip_norm / (torch.linalg.vector_norm(grad) + 1e-6)).clamp_(max=1.0))
