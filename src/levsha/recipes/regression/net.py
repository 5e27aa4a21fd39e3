"""The net of the recipe, and its data as the net wants it: standardised tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from levsha.data.tables import Table, split_table

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def build_mlp(widths: Sequence[int], activation: str, seed: int) -> nn.Sequential:
    """Return a multilayer perceptron: linear layers with an activation between them; the last one's outputs are logits, not probabilities.

    widths: inputs, hidden layers, outputs. The initial weights are torch's own, drawn with `seed`.

    >>> parameters(build_mlp([784, 512, 256, 128, 32, 10], "relu", 0))
    570602
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), ACTIVATIONS[activation]())]
    return nn.Sequential(*layers[:-1])


def parameters(model: nn.Module) -> int:
    """Return how many numbers are learnt."""
    return sum(p.numel() for p in model.parameters())


@dataclass(frozen=True)
class Scale:
    """What is subtracted and what it is divided by: means and standard deviations of the training samples."""

    x_mean_I: np.ndarray
    x_std_I: np.ndarray
    y_mean_O: np.ndarray
    y_std_O: np.ndarray


class Prepared:
    """A table split in three and standardised by its training part."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        self.train, self.validation, self.test = split_table(len(table.x_NI), seed)
        self.scale = _scale(table, self.train)

    @property
    def outputs(self) -> int:
        """Number of outputs of a net: targets, or classes."""
        return len(self.table.outputs)

    def inputs(self, index: np.ndarray) -> Tensor:
        """Return the standardised inputs (N, I) of the chosen samples."""
        return self.standardise(self.table.x_NI[index])

    def standardise(self, x_NI: np.ndarray) -> Tensor:
        """Return inputs as the net wants them."""
        return torch.from_numpy((x_NI - self.scale.x_mean_I) / self.scale.x_std_I).float()

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
    x, y = table.x_NI[train], table.y_NO[train]
    x_std = x.std(0)
    x_std[x.min(0) == x.max(0)] = 1.0  # a constant input becomes 0, as it says nothing
    if table.is_classes:
        return Scale(x.mean(0), x_std, np.zeros(len(table.outputs)), np.ones(len(table.outputs)))
    y_std = y.std(0)
    y_std[y.min(0) == y.max(0)] = 1.0
    return Scale(x.mean(0), x_std, y.mean(0), y_std)
