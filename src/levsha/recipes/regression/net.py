"""The net of the recipe, and its data as the net wants it: standardised tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from levsha.data.standard import Standard
from levsha.data.table import Table, split_table

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


class Prepared:
    """A table split in three and standardised by its training part."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        self.train, self.validation, self.test = split_table(len(table.x_NI), seed)
        self.x = Standard.of(table.x_NI[self.train], table.features, table.name)
        outputs = len(table.outputs)
        self.y = (
            Standard.none(outputs)
            if table.is_classes
            else Standard.of(table.y_NO[self.train], table.outputs, table.name)
        )

    def inputs(self, index: np.ndarray) -> Tensor:
        """Return the standardised inputs (N, I) of the chosen samples."""
        return self.standardise(self.table.x_NI[index])

    def standardise(self, x_NI: np.ndarray) -> Tensor:
        """Return inputs as the net wants them."""
        return torch.from_numpy(self.x.apply(x_NI)).float()

    def targets(self, index: np.ndarray) -> Tensor:
        """Return class numbers (N,), or standardised targets (N, O)."""
        y = self.table.y_NO[index]
        return (
            torch.from_numpy(y)
            if self.table.is_classes
            else torch.from_numpy((y - self.y.mean_C) / self.y.std_C).float()
        )

    def pair(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return inputs and targets."""
        return self.inputs(index), self.targets(index)

    def real(self, output_NO: Tensor) -> np.ndarray:
        """Return outputs in the target's unit; for classes the logits as they are."""
        return self.y.undo(output_NO.double().numpy())


def float_about(table: Table, nets: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """Return what the float net of a run's first split reads and says, as JSON has it; nets: its shape, as results.json has it."""
    prepared = Prepared(table, nets["seed"])
    x, y = prepared.x, prepared.y
    hidden = nets["hidden" if variant == "baseline" else "sensor_hidden"]
    inputs = [
        {"name": n, "unit": u, "mean": m, "deviation": d, "constant": c}
        for n, u, m, d, c in zip(
            table.features, table.units, x.mean_C.tolist(), x.std_C.tolist(), x.constant_C.tolist(), strict=True
        )
    ]  # fmt: skip
    outputs = [
        {"name": n, "unit": table.output_unit, "mean": m, "deviation": d}
        for n, m, d in zip(table.outputs, y.mean_C.tolist(), y.std_C.tolist(), strict=True)
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
