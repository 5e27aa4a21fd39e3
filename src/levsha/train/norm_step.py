"""The step of an Mlp: batch normalisation, fake-quantised weights and activations, a teacher; its backward pass is written out.

For nets this small, autograd costs more than the mathematics.  The gradients equal autograd's (tests/test_train.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from levsha.train.batch import Batches
from levsha.train.checkpoint import Checkpoints
from levsha.train.flat import Flat
from levsha.train.log import MetricsLog
from levsha.train.loop import Loop
from levsha.train.mlp import EPSILON, Mlp, Quantisation
from levsha.train.schedule import Schedule
from levsha.train.surroundings import Progress, Surroundings

Teacher = Callable[[Tensor], Tensor]  # inputs (N, I) -> probabilities (N, C)
Report = Callable[[Progress], None]
Sample = tuple[
    Tensor, Tensor, Tensor | None
]  # inputs (N, I), target probabilities (N, C), 1 or 0 for a known target (N, 1)
LOOK = 4  # a look at the loss costs as much as a tenth of the step


class NormStep:
    """Forward and backward of one batch; what a forward keeps for its backward lives here."""

    uses_autograd = False

    def __init__(
        self, mlp: Mlp, schedule: Schedule, quantisation: Quantisation | None, seed: int, teacher: Teacher | None = None
    ) -> None:
        parts = {"weight": mlp.weight_OI, "gamma": mlp.gamma_O, "beta": mlp.beta_O}
        self.layers = len(mlp.weight_OI)
        self.flat = Flat({f"fc{k + 1}.{label}": part[k] for label, part in parts.items() for k in range(self.layers)})
        self.weight, self.gamma, self.beta = (self._of(self.flat.parameters, label) for label in parts)
        self.weight_grad, self.gamma_grad, self.beta_grad = (self._of(self.flat.grads, label) for label in parts)
        self.schedule, self.quantisation, self.teacher = schedule, quantisation, teacher if schedule.distil else None
        self.step = mlp.step
        self.generator = torch.Generator().manual_seed(seed)
        self.masks: Tensor | None = None
        if schedule.dropout:
            kept = (torch.rand(1 << 20, generator=self.generator) >= schedule.dropout).float()
            self.masks = kept.div_(1 - schedule.dropout)

    def _of(self, named: dict[str, Tensor], label: str) -> list[Tensor]:
        return [named[f"fc{k + 1}.{label}"] for k in range(self.layers)]

    def tensors(self) -> dict[str, Tensor]:
        """Return the state of the generator that picks dropout masks."""
        return {"generator": self.generator.get_state()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.generator.set_state(tensors["generator"])

    def __call__(self, batch: Sample, done: int) -> Tensor | None:
        """Fill the gradients; return the loss at every fourth step."""
        x, target, known = batch
        if self.teacher:
            share = self.schedule.distil if known is None else 1 - known * (1 - self.schedule.distil)
            target = torch.lerp(target, self.teacher(x), share)
        logits = self.forward(x)
        loss = None
        if done % LOOK == 0:
            loss = -(torch.log_softmax(logits, 1) * target).sum() / len(x)
        self.backward(logits, target)
        return loss

    def _mask(self, like: Tensor) -> Tensor | None:
        """A window at random into a pool of dropout masks: far cheaper than new random numbers each time."""
        if self.masks is None:
            return None
        room = len(self.masks) - like.numel()
        if room <= 0:
            largest = self.masks.max()
            return torch.rand(like.shape, generator=self.generator).ge_(1 - 1 / float(largest)).mul_(largest)
        start = int(torch.randint(room, (), generator=self.generator))
        return self.masks[start : start + like.numel()].view_as(like)

    def forward(self, x_NI: Tensor) -> Tensor:
        """Return the logits (N, C) with the batch's own statistics."""
        h = x_NI
        self.inputs, self.sums, self.stats, self.gates, self.used, self.dropped = [], [], [], [], [], []
        y = h
        for layer in range(self.layers):
            weight = self.weight[layer]
            if self.quantisation:
                integers, scale = self.quantisation.weights(weight)
                weight = integers.mul_(scale)
            z = torch.mm(h, weight.t())
            norm = self.gamma[layer], self.beta[layer]
            y, mean, inverse = torch.native_batch_norm(z, *norm, None, None, True, 0.0, EPSILON)
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
        d = torch.softmax(logits_NC, 1).sub_(target_NC).mul_(1 / len(logits_NC))
        for layer in reversed(range(self.layers)):
            mean, inverse = self.stats[layer]
            d, self.gamma_grad[layer][:], self.beta_grad[layer][:] = torch.ops.aten.native_batch_norm_backward(
                d, self.sums[layer], self.gamma[layer], None, None, mean, inverse, True, EPSILON, [True] * 3
            )
            torch.mm(d.t(), self.inputs[layer], out=self.weight_grad[layer])
            if layer:
                d = self._gate(layer - 1, torch.mm(d, self.used[layer]))
        if self.quantisation and self.schedule.clip:
            for weight, grad in zip(self.weight, self.weight_grad, strict=True):
                grad.mul_(weight.abs() <= self.schedule.clip * self.quantisation.format.scale(weight))

    def _gate(self, layer: int, d: Tensor) -> Tensor:
        mask = self.dropped[layer]
        if mask is not None:
            d = d.mul_(mask)
        if self.quantisation:
            return torch.ops.aten.hardtanh_backward(d, self.gates[layer], 0.0, self.quantisation.top + 0.5)
        return torch.ops.aten.threshold_backward(d, self.gates[layer], 0.0)


def train(
    mlp: Mlp,
    batches: Batches,
    schedule: Schedule,
    quantisation: Quantisation | None = None,
    teacher: Teacher | None = None,
    seed: int = 0,
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
) -> tuple[Mlp, list[float]]:
    """Train a copy of the net and return it, without statistics (see estimate_norm), and the mean loss of every epoch.

    batches yield `Sample`. With checkpoints, training goes on from the last state and ends with the same bytes as if it had never stopped.
    """
    step = NormStep(mlp, schedule, quantisation, seed, teacher)
    around = Surroundings(checkpoints=checkpoints, log=log, report=report, samples=len(batches) * schedule.batch)
    history = Loop(step, batches, schedule.training(seed), around).run().history
    weight, gamma, beta = ([part.clone() for part in parts] for parts in (step.weight, step.gamma, step.beta))
    trained = replace(mlp, weight_OI=weight, gamma_O=gamma, beta_O=beta, mean_O=[], var_O=[])
    return trained, [line["loss"] for line in history]


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
