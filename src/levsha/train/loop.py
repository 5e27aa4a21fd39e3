"""The training loop of an Mlp: AdamW on one flat buffer, with the backward pass written out.

For nets this small, autograd and per-tensor optimizers cost more than the mathematics.  The gradients equal autograd's
(tests/test_train.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from levsha.errors import LevshaError
from levsha.train.checkpoint import Checkpoint
from levsha.train.mlp import EPSILON, Mlp, Quantisation
from levsha.train.schedule import Schedule

Teacher = Callable[[Tensor], Tensor]  # inputs (N, I) -> probabilities (N, C)
Report = Callable[[int, float], None]  # epoch (from 0), mean loss of that epoch


class Batches(Protocol):
    """Training data: the batches of an epoch are a pure function of its number."""

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield inputs (N, I), target probabilities (N, C) and, where only a teacher knows some, 1 or 0 for known (N, 1)."""
        ...


class _Parameters:
    """Weights, gammas and betas as views of one buffer, and their gradients as views of another."""

    def __init__(self, mlp: Mlp) -> None:
        parts = [*mlp.weight_OI, *mlp.gamma_O, *mlp.beta_O]
        sizes = [part.numel() for part in parts]
        self.all = torch.cat([part.flatten() for part in parts])
        self.grad = torch.zeros_like(self.all)
        self.weight_count = sum(sizes[: len(mlp.weight_OI)])
        views, grads = (
            [v.view_as(p) for v, p in zip(torch.split(flat, sizes), parts, strict=True)]
            for flat in (self.all, self.grad)
        )
        n = len(mlp.weight_OI)
        self.weight, self.gamma, self.beta = views[:n], views[n : 2 * n], views[2 * n :]
        self.weight_grad, self.gamma_grad, self.beta_grad = grads[:n], grads[n : 2 * n], grads[2 * n :]
        self.moment, self.square, self.steps = torch.zeros_like(self.all), torch.zeros_like(self.all), torch.zeros(())

    def adamw(self, rate: float, weight_decay: float) -> None:
        """Take one step of AdamW (Loshchilov and Hutter 2019), beta2 = 0.99; only weights decay."""
        self.steps.add_(1)
        if weight_decay:
            self.all[: self.weight_count].mul_(1 - rate * weight_decay)
        torch.ops.aten._fused_adam_(  # what torch.optim.Adam(fused=True) calls, here once for all parameters
            [self.all], [self.grad], [self.moment], [self.square], [], [self.steps],
            lr=rate, beta1=0.9, beta2=0.99, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


class Step:
    """Forward and backward of one batch; what a forward keeps for its backward lives here."""

    def __init__(self, mlp: Mlp, schedule: Schedule, quantisation: Quantisation | None, seed: int) -> None:
        self.parameters = _Parameters(mlp)
        self.step, self.quantisation, self.clip = mlp.step, quantisation, schedule.clip
        self.layers = len(mlp.weight_OI)
        self.generator = torch.Generator().manual_seed(seed)
        self.masks: Tensor | None = None
        if schedule.dropout:
            kept = (torch.rand(1 << 20, generator=self.generator) >= schedule.dropout).float()
            self.masks = kept.div_(1 - schedule.dropout)

    def _mask(self, like: Tensor) -> Tensor | None:
        """A window at random into a pool of dropout masks: far cheaper than new random numbers each time."""
        if self.masks is None:
            return None
        room = len(self.masks) - like.numel()
        if room <= 0:
            return (
                torch.rand(like.shape, generator=self.generator)
                .ge_(1 - 1 / float(self.masks.max()))
                .mul_(self.masks.max())
            )
        start = int(torch.randint(room, (), generator=self.generator))
        return self.masks[start : start + like.numel()].view_as(like)

    def forward(self, x_NI: Tensor) -> Tensor:
        """Return the logits (N, C) with the batch's own statistics."""
        p, h = self.parameters, x_NI
        self.inputs, self.sums, self.stats, self.gates, self.used, self.dropped = [], [], [], [], [], []
        y = h
        for layer in range(self.layers):
            weight = p.weight[layer]
            if self.quantisation:
                integers, scale = self.quantisation.weights(weight)
                weight = integers.mul_(scale)
            z = torch.mm(h, weight.t())
            y, mean, inverse = torch.native_batch_norm(z, p.gamma[layer], p.beta[layer], None, None, True, 0.0, EPSILON)
            self.inputs.append(h)
            self.sums.append(z)
            self.stats.append((mean, inverse))
            self.used.append(weight)
            if layer < self.layers - 1:
                h = self._activate(layer, y)
        return y

    def _activate(self, layer: int, y: Tensor) -> Tensor:
        if self.quantisation:
            units = y.mul_(1 / self.step[layer])
            h = (units + 0.5).floor_().clamp_(0, self.quantisation.top).mul_(self.step[layer])
            self.gates.append(units)
        else:
            h = y.relu_()
            self.gates.append(h)
        mask = self._mask(h)
        self.dropped.append(mask)
        return h if mask is None else h * mask

    def backward(self, logits_NC: Tensor, target_NC: Tensor) -> None:
        """Fill the gradients of mean cross-entropy; rounding counts as the identity inside 0..top (straight-through)."""
        p = self.parameters
        d = torch.softmax(logits_NC, 1).sub_(target_NC).mul_(1 / len(logits_NC))
        for layer in reversed(range(self.layers)):
            mean, inverse = self.stats[layer]
            d, p.gamma_grad[layer][:], p.beta_grad[layer][:] = torch.ops.aten.native_batch_norm_backward(
                d, self.sums[layer], p.gamma[layer], None, None, mean, inverse, True, EPSILON, [True] * 3
            )
            torch.mm(d.t(), self.inputs[layer], out=p.weight_grad[layer])
            if layer:
                d = self._gate(layer - 1, torch.mm(d, self.used[layer]))
        if self.quantisation and self.clip:
            for weight, grad in zip(p.weight, p.weight_grad, strict=True):
                grad.mul_(weight.abs() <= self.clip * self.quantisation.format.scale(weight))

    def _gate(self, layer: int, d: Tensor) -> Tensor:
        mask = self.dropped[layer]
        if mask is not None:
            d = d.mul_(mask)
        if self.quantisation:
            return torch.ops.aten.hardtanh_backward(d, self.gates[layer], 0.0, self.quantisation.top + 0.5)
        return torch.ops.aten.threshold_backward(d, self.gates[layer], 0.0)


@torch.inference_mode()
def train(
    mlp: Mlp,
    batches: Batches,
    schedule: Schedule,
    quantisation: Quantisation | None = None,
    teacher: Teacher | None = None,
    seed: int = 0,
    report: Report | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Mlp, list[float]]:
    """Train a copy of the net and return it, without statistics (see estimate_norm), and the mean loss of every epoch.

    With a checkpoint, training goes on from its last state and ends with the same bytes as if it had never stopped.
    """
    torch.set_num_threads(1)
    state = _State(Step(mlp, schedule, quantisation, seed), schedule)
    state.restore(checkpoint)
    while len(state.history) < schedule.epochs:
        epoch = len(state.history)
        state.history.append(_train_epoch(state, batches, epoch, schedule, teacher))
        if not math.isfinite(state.history[-1]):
            raise LevshaError(
                f"training: the loss is {state.history[-1]} in epoch {epoch + 1}; try a lower rate than {schedule.rate:g}."
            )
        if checkpoint:
            checkpoint.save(state.tensors(), state.counters())
        if report:
            report(epoch, state.history[-1])
    p = state.step.parameters
    if schedule.average:
        p.all.copy_(state.average)
    weight, gamma, beta = ([part.clone() for part in parts] for parts in (p.weight, p.gamma, p.beta))
    return replace(mlp, weight_OI=weight, gamma_O=gamma, beta_O=beta, mean_O=[], var_O=[]), state.history


class _State:
    """All that an epoch starts from; an epoch's batches are a function of its number, so they need no state."""

    def __init__(self, step: Step, schedule: Schedule) -> None:
        self.step, self.average = step, step.parameters.all.clone()
        self.done, self.history = 0, list[float]()

    def tensors(self) -> dict[str, Tensor]:
        p = self.step.parameters
        named = {"parameters": p.all, "moment": p.moment, "square": p.square, "steps": p.steps, "average": self.average}
        return named | {"generator": self.step.generator.get_state()}

    def counters(self) -> dict[str, Any]:
        return {"done": self.done, "history": self.history}

    def restore(self, checkpoint: Checkpoint | None) -> None:
        saved = checkpoint.load() if checkpoint else None
        if not saved:
            return
        tensors, counters = saved
        for name, mine in self.tensors().items():
            if name != "generator":
                mine.copy_(tensors[name])
        self.step.generator.set_state(tensors["generator"])
        self.done, self.history = counters["done"], counters["history"]


def _train_epoch(state: _State, batches: Batches, epoch: int, schedule: Schedule, teacher: Teacher | None) -> float:
    """Take every step of an epoch; return the mean loss, looked at every fourth step."""
    step, total = state.step, schedule.epochs * len(batches)
    loss, looks = torch.zeros(()), 0
    for x, target, known in batches.epoch(epoch):
        if teacher and schedule.distil:
            share = schedule.distil if known is None else 1 - known * (1 - schedule.distil)
            target = torch.lerp(target, teacher(x), share)
        logits = step.forward(x)
        if state.done % 4 == 0:  # a look at the loss costs as much as a tenth of the step
            loss += -(torch.log_softmax(logits, 1) * target).sum() / len(x)
            looks += 1
        step.backward(logits, target)
        state.done += 1
        step.parameters.adamw(schedule.rate * schedule.factor(state.done, total), schedule.weight_decay)
        if schedule.average:
            state.average.lerp_(step.parameters.all, 1 - min(schedule.average, state.done / (state.done + 10)))
    return float(loss) / max(1, looks)


def teacher_of(nets: list[Mlp], temperature: float) -> Teacher:
    """Return the mean of the nets' probabilities at a temperature: what a smaller net may learn from (Hinton et al. 2015)."""
    folded = []
    for net in nets:
        scales = [net.norm_scale(layer) for layer in range(len(net.weight_OI))]
        weights = [(w * s[:, None]).t().contiguous() for w, s in zip(net.weight_OI, scales, strict=True)]
        biases = [b - m * s for b, m, s in zip(net.beta_O, net.mean_O, scales, strict=True)]
        folded.append(list(zip(weights, biases, strict=True)))

    def probabilities(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        for weight, bias in layers[:-1]:
            x = torch.addmm(bias, x, weight).relu_()
        weight, bias = layers[-1]
        return torch.softmax(torch.addmm(bias, x, weight).mul_(1 / temperature), 1)

    return lambda x: torch.stack([probabilities(layers, x) for layers in folded]).mean(0)
