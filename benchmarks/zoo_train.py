"""Trains the models of the zoo, one thread, a minute or a few each, and keeps their weights under runs/zoo."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import zoo_data as data
from benchmarks import zoo_models as models
from benchmarks.zoo_data import Data

FOLDER = Path("runs/zoo")


class Entry(NamedTuple):
    """A model, what it is trained on, and for how long; loss: of outputs and answers."""

    model: Callable[[], nn.Module]
    data: Callable[[], Data]
    epochs: int
    rate: float = 2e-3
    batch: int = 64
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy


def _of_probabilities(p: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(torch.log(p + 1e-9), y)


ZOO: dict[str, Entry] = {
    "mlp": Entry(models.MLP, lambda: data.images("mnist"), 3, 1e-3, 128, F.nll_loss),
    "lenet": Entry(models.LeNet, lambda: data.images("mnist"), 3),
    "minicnn": Entry(models.MiniCNN, lambda: data.images("mnist", 30_000), 3),
    "autoencoder": Entry(models.Autoencoder, data.machine, 25, 2e-3, 128, F.mse_loss),
    "resnet8": Entry(models.ResNet8, data.coloured, 4),
    "dscnn": Entry(models.DSCNN, data.keywords, 4),
    "mobilenet": Entry(models.MobileNet, lambda: data.coloured(2400, 2000, 96, (2, 4)), 8, 2e-3, 32, _of_probabilities),
    "har": Entry(models.HAR, data.motion, 8),
    "tcn": Entry(models.TCN, data.adding, 25, 4e-3, 128, F.mse_loss),
}


def trained(name: str, folder: Path = FOLDER) -> tuple[nn.Module, Data]:
    """Return a model of the zoo with its weights, trained if nobody has yet, and its data."""
    entry, path = ZOO[name], folder / f"{name}.pth"
    torch.manual_seed(0)
    model, found = entry.model(), entry.data()
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        fit(model, found, entry)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    return model.eval(), found


def fit(model: nn.Module, found: Data, entry: Entry) -> None:
    """Train by Adam, with a rate that falls to nothing."""
    torch.set_num_threads(1)
    x, y = torch.from_numpy(found.x), torch.from_numpy(found.y)
    steps = entry.epochs * (len(x) // entry.batch)
    adam = torch.optim.Adam(model.parameters(), entry.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, entry.rate, total_steps=steps)
    model.train()
    for epoch in range(entry.epochs):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(len(x)))
        for rows in order[: len(x) // entry.batch * entry.batch].split(entry.batch):
            loss = entry.loss(model(x[rows].float()), y[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()


if __name__ == "__main__":
    for each in ZOO:
        start = time.perf_counter()
        net, _ = trained(each)
        print(f"{each:<12} {sum(p.numel() for p in net.parameters()):>8} parameters, {time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
