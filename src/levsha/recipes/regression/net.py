"""The net of the recipe, and its data as the net wants it: standardised tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from levsha.data.tables import Table, split_table
from levsha.errors import LevshaError

SMALLEST_SPREAD = 1e-290  # of a column: below, its steps would no longer be normal float64 numbers

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def build_mlp(widths: Sequence[int], activation: str, seed: int, constant_I: np.ndarray | None = None) -> nn.Sequential:
    """Return a multilayer perceptron: linear layers with an activation between them; the last one's outputs are logits, not probabilities.

    widths: inputs, hidden layers, outputs. The initial weights are torch's own, drawn with `seed`. constant_I: which inputs are
    constant, as booleans; those that `Prepared` makes of them are 0. Their weights are 0 and stay so in training, the others
    are drawn as if they were not there: what says nothing has no influence.

    >>> parameters(build_mlp([784, 512, 256, 128, 32, 10], "relu", 0))
    570602
    """
    live_I = np.ones(widths[0], bool) if constant_I is None or constant_I.all() else ~constant_I
    drawn = [int(live_I.sum()), *widths[1:]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [layer for a, b in pairwise(drawn) for layer in (nn.Linear(a, b), ACTIVATIONS[activation]())]
    first = layers[0]
    if not live_I.all() and isinstance(first, nn.Linear):
        weight_OI = torch.zeros(widths[1], widths[0])
        weight_OI[:, torch.from_numpy(live_I)] = first.weight.detach()
        first.in_features, first.weight = widths[0], nn.Parameter(weight_OI)
    return nn.Sequential(*layers[:-1])


def parameters(model: nn.Module) -> int:
    """Return how many numbers are learnt."""
    return sum(p.numel() for p in model.parameters())


@dataclass(frozen=True)
class Scale:
    """What is subtracted and what it is divided by: means and standard deviations of the training samples, 1 where they are constant."""

    x_mean_I: np.ndarray
    x_std_I: np.ndarray
    y_mean_O: np.ndarray
    y_std_O: np.ndarray
    constant_I: np.ndarray


class Prepared:
    """A table split in three and standardised by its training part.

    constant_I: which inputs are the same in every training sample, as booleans: they say nothing.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        self.train, self.validation, self.test = split_table(len(table.x_NI), seed)
        self.scale = _scale(table, self.train)
        self.constant_I = self.scale.constant_I

    @property
    def outputs(self) -> int:
        """Number of outputs of a net: targets, or classes."""
        return len(self.table.outputs)

    def inputs(self, index: np.ndarray) -> Tensor:
        """Return the standardised inputs (N, I) of the chosen samples."""
        return self.standardise(self.table.x_NI[index])

    def standardise(self, x_NI: np.ndarray) -> Tensor:
        """Return inputs as the net wants them; 0 for those that were constant in training, whatever they are now."""
        x_NI = np.where(self.constant_I, 0.0, (x_NI - self.scale.x_mean_I) / self.scale.x_std_I)
        return torch.from_numpy(x_NI).float()

    def targets(self, index: np.ndarray) -> Tensor:
        """Return class numbers (N,), or standardised targets (N, O)."""
        y = self.table.y_NO[index]
        if self.table.is_classes:
            return torch.from_numpy(y)
        return torch.from_numpy((y - self.scale.y_mean_O) / self.scale.y_std_O).float()

    def pair(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return inputs and targets."""
        return self.inputs(index), self.targets(index)

    def real(self, output_NO: Tensor) -> np.ndarray:
        """Return outputs in the target's unit; for classes the logits as they are."""
        if self.table.is_classes:
            return output_NO.double().numpy()
        return output_NO.double().numpy() * self.scale.y_std_O + self.scale.y_mean_O


def _scale(table: Table, train: np.ndarray) -> Scale:
    x_mean_I, x_std_I, constant_I = _mean_and_std(table, table.x_NI[train], table.features)
    if table.is_classes:
        outputs = len(table.outputs)
        return Scale(x_mean_I, x_std_I, np.zeros(outputs), np.ones(outputs), constant_I)
    return Scale(x_mean_I, x_std_I, *_mean_and_std(table, table.y_NO[train], table.outputs)[:2], constant_I)


def _mean_and_std(table: Table, x_NC: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, standard deviations and whether they are constant, by column: a constant column's deviation is 1."""
    exponent_C = np.frexp(np.abs(x_NC).max(0))[1]
    near_one_NC = np.ldexp(x_NC, -exponent_C)  # exact; the squares of columns of any scale are then within float64
    mean_C, std_C = np.ldexp(near_one_NC.mean(0), exponent_C), np.ldexp(near_one_NC.std(0), exponent_C)
    constant_C = (x_NC.min(0) == x_NC.max(0)) | (near_one_NC.std(0) == 0)
    tiny_C = ~constant_C & (std_C < SMALLEST_SPREAD)
    if tiny_C.any():
        at = int(tiny_C.argmax())
        raise LevshaError(
            f"{table.name}: column {names[at]!r} varies by only {std_C[at]:.3g}; {SMALLEST_SPREAD:g} or more is needed. Give it in a "
            "smaller unit, or leave it out."
        )
    return mean_C, np.where(constant_C, 1.0, std_C), constant_C


def float_about(table: Table, nets: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """Return what the float net of a run's first split reads and says, as JSON has it; nets: its shape, as results.json has it."""
    scale = Prepared(table, nets["seed"]).scale
    hidden = nets["hidden" if variant == "baseline" else "sensor_hidden"]
    inputs = [
        {"name": n, "unit": u, "mean": m, "deviation": d, "constant": c}
        for n, u, m, d, c in zip(
            table.features, table.units, scale.x_mean_I.tolist(), scale.x_std_I.tolist(), scale.constant_I.tolist(), strict=True
        )
    ]  # fmt: skip
    outputs = [
        {"name": n, "unit": table.output_unit, "mean": m, "deviation": d}
        for n, m, d in zip(table.outputs, scale.y_mean_O.tolist(), scale.y_std_O.tolist(), strict=True)
    ]
    what = (
        "logits; the largest names the class" if table.is_classes else "deviation * y + mean is the output in its unit"
    )
    return {
        "variant": variant, "about": table.about, "inputs": inputs, "outputs": outputs,
        "layers": f"x = (input - mean) / deviation, 0 where constant; Linear {' -> '.join(map(str, (len(inputs), *hidden, len(outputs))))} "
        f"(k.weight, k.bias; k = 0, 2, ...) with {nets['activation']} between; {what}",
        "activation": nets["activation"], "hidden": list(hidden),
        "classes": list(table.outputs) if table.is_classes else None,
    }  # fmt: skip
