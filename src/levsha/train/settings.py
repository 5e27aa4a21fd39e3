"""The settings of a training: everything that decides how it comes out; free of torch, so that the command line can show them at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from levsha.errors import LevshaError, check_range

OPTIMIZERS = {  # name: the settings it reads beside rate and weight_decay
    "adam": ("beta1", "beta2", "eps"),
    "adamw": ("beta1", "beta2", "eps"),
    "sgd": ("momentum", "nesterov"),
    "rmsprop": ("momentum", "alpha", "centered", "eps"),
}
LOSSES = ("mse", "cross_entropy", "bce", "bce_with_logits", "l1", "smooth_l1")
SCHEDULES = ("constant", "step", "cosine", "one_cycle")
SAMPLINGS = ("without_replacement", "with_replacement", "weighted")
REDUCTIONS = ("mean", "sum", "none")
CHOICES: dict[str, Collection[str]] = {
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "schedule": SCHEDULES,
    "sampling": SAMPLINGS,
    "reduction": REDUCTIONS,
    "keep": ("best", "last"),
    "precision": ("float32", "bfloat16"),
}
LIMITS = {
    "epochs": (1, 1_000_000), "batch": (0, 1 << 24), "rate": (1e-12, 1000.0), "momentum": (0.0, 0.9999), "alpha": (0.0, 0.99999),
    "beta1": (0.0, 0.99999), "beta2": (0.0, 0.999999), "eps": (1e-16, 1.0), "weight_decay": (0.0, 10.0), "warmup": (0.0, 0.9),
    "step_epochs": (1, 1_000_000), "step_factor": (1e-6, 1.0), "clip_norm": (0.0, 1e9), "clip_value": (0.0, 1e9),
    "patience": (0, 1_000_000), "average": (0.0, 0.999999), "seed": (0, 1 << 30), "threads": (1, 256), "checkpoint_seconds": (0.0, 1e6),
}  # fmt: skip
ONE_CYCLE_WARMUP, ONE_CYCLE_START, ONE_CYCLE_END = (
    0.3,
    25.0,
    1e4,
)  # share of steps; highest over first rate; first over last


@dataclass(frozen=True)
class Training:
    """How a net is trained."""

    epochs: int = 20
    """Passes over the training samples."""
    batch: int = 64
    """Samples a step, over all processes together; 0: all of them, which is plain gradient descent."""
    optimizer: str = "adam"
    """adam, adamw, sgd or rmsprop: torch's own update rules, fused where torch has them so."""
    rate: float = 1e-3
    """Learning rate; the highest one where a schedule changes it."""
    weight_decay: float = 0.0
    """Decay of weights, never of biases: decoupled for adamw, added to the gradient for the others."""
    momentum: float = 0.0
    """Momentum of sgd and rmsprop."""
    nesterov: bool = False
    """Nesterov's momentum, for sgd."""
    centered: bool = False
    """For rmsprop: normalise by the variance of the gradient, not by its square."""
    alpha: float = 0.99
    """For rmsprop: decay of the mean square."""
    beta1: float = 0.9
    """For adam and adamw: decay of the mean gradient."""
    beta2: float = 0.999
    """For adam and adamw: decay of the mean squared gradient."""
    eps: float = 1e-8
    """For adam, adamw and rmsprop: added to the denominator."""
    loss: str = "mse"
    """mse, cross_entropy, bce, bce_with_logits, l1 or smooth_l1."""
    reduction: str = "mean"
    """mean or sum over a batch (none is for the loss functions themselves; a training needs one number)."""
    schedule: str = "constant"
    """Learning rate over the steps: constant, step, cosine or one_cycle."""
    warmup: float = 0.0
    """Share of all steps in which the rate rises from zero; one_cycle rises for 0.3 of them unless told otherwise."""
    step_epochs: int = 10
    """For the schedule step: epochs between two changes."""
    step_factor: float = 0.1
    """For the schedule step: what the rate is multiplied by."""
    clip_norm: float = 0.0
    """Largest norm of the whole gradient; 0: any."""
    clip_value: float = 0.0
    """Largest magnitude of each gradient; 0: any."""
    sampling: str = "without_replacement"
    """Order of an epoch: without_replacement, with_replacement (bootstrap) or weighted (the data's own weights)."""
    patience: int = 0
    """Early stopping: epochs without a better validation before the end; 0: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights to end with: those with the best validation, or the last."""
    average: float = 0.0
    """Validate and keep an exponential moving average of the weights with this decay; 0: the weights themselves."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: the model's matrix products and convolutions are rounded to 16 bits while it learns (torch.autocast); validation is not."""
    seed: int = 0
    """Seed of the order of the samples and of dropout."""
    threads: int = 1
    """Threads a process; nets this small are fastest with one."""
    checkpoint_seconds: float = 5.0
    """Shortest time between two checkpoints."""

    def check(self, where: str = "train") -> None:
        """Raise LevshaError for a setting that cannot train; `where` is the flag's prefix."""
        for name, there_are in CHOICES.items():
            if getattr(self, name) not in there_are:
                raise LevshaError(
                    f"--{where}.{name}: there is no {getattr(self, name)!r}; there are {', '.join(there_are)}."
                )
        for name, (low, high) in LIMITS.items():
            check_range(f"{where}.{name.replace('_', '-')}", getattr(self, name), low, high)
        if self.reduction == "none":
            raise LevshaError(f"--{where}.reduction: is none; a training needs one number a step: mean or sum.")
        for name in ("momentum", "nesterov", "centered"):
            if getattr(self, name) and name not in OPTIMIZERS[self.optimizer]:
                takes = ", ".join(n for n, settings in OPTIMIZERS.items() if name in settings)
                raise LevshaError(f"--{where}.{name}: {self.optimizer} has none; it is a setting of {takes}.")
        if self.nesterov and not self.momentum:
            raise LevshaError(f"--{where}.nesterov: needs momentum; set --{where}.momentum, such as 0.9.")


def begins_like_a_longer_one(training: Training) -> bool:
    """Say whether the first epochs of a training are the same however many follow: the rate must not depend on how many.

    >>> begins_like_a_longer_one(Training(schedule="step")), begins_like_a_longer_one(Training(schedule="cosine"))
    (True, False)
    """
    return training.schedule in ("constant", "step") and not training.warmup


def rate_factor(training: Training, done: int, total: int, steps_an_epoch: int) -> float:
    """Return the share of the highest rate for step `done` of `total`, counted from 1.

    Linear warm-up, then the schedule over the steps that are left. one_cycle follows Smith and Topin (2019) in the shape of
    torch.optim.lr_scheduler.OneCycleLR, without its change of momentum.

    >>> [round(rate_factor(Training(schedule="cosine", warmup=0.05), k, 100, 10), 2) for k in (1, 5, 52, 100)]
    [0.2, 1.0, 0.51, 0.0]
    """
    if training.schedule == "one_cycle":
        return _one_cycle(done - 1, max(1, total - 1), training.warmup or ONE_CYCLE_WARMUP)
    warm = max(1, int(training.warmup * total + 1e-9)) if training.warmup else 0
    if done <= warm:
        return done / warm
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (done - warm) / max(1, total - warm)))
    if training.schedule == "step":
        return training.step_factor ** ((done - 1) // (steps_an_epoch * training.step_epochs))
    return 1.0


def _one_cycle(at: int, last: int, rising: float) -> float:
    peak = max(1e-9, rising * (last + 1) - 1)
    first, final = 1 / ONE_CYCLE_START, 1 / ONE_CYCLE_START / ONE_CYCLE_END
    if at <= peak:
        return first + (1 - first) * 0.5 * (1 - math.cos(math.pi * at / peak))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (at - peak) / max(1e-9, last - peak)))
