"""What few bits and half the channels cost, with and without fine-tuning: python -m benchmarks.fine_tune [digits] [mnist].

digits: a convolutional net and an MLP on 8 x 8 pixels, three seeds of the float model and of the fine-tuning.  mnist: LeNet, one seed.
Float nets are trained first, in the same way for all; then each format is converted as it is, fine-tuned, and fine-tuned with half the
channels.  All figures are accuracies in per cent on test images that nothing was chosen by, of the integers; prints a table and writes
benchmarks/out/fine_tune_NAME.json.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import levsha
from levsha.data.images import load_images

OUT = Path(__file__).parent / "out"
CALIBRATED = 4000  # rows of which `convert` takes half
FORMATS = ("int4", "two_bit", "ternary", "binary")
COLUMNS = ("converted", "fine-tuned", "half the channels")


def conv() -> nn.Module:
    """A convolutional net with batch normalisation: 15 thousand weights."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(384, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def mlp() -> nn.Module:
    """64-64-48-10."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)
    )  # fmt: skip


def lenet() -> nn.Module:
    """LeNet-5 with ReLU and maxima: 61 thousand weights (LeCun et al. 1998)."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """net on a set of images whose largest pixel is `top`; float_epochs: of the float model; epochs: of fine-tuning."""

    net: Callable[[], nn.Module]
    images: str
    top: int
    float_epochs: int
    epochs: int
    seeds: int


CASES = {
    "digits": (Case(conv, "digits", 16, 15, 10, 3), Case(mlp, "digits", 16, 30, 10, 3)),
    "mnist": (Case(lenet, "mnist", 255, 4, 3, 1),),
}


def measure(case: Case, seed: int) -> dict[str, float]:
    """Return the accuracies of a seed: "float", and "FORMAT COLUMN"."""
    train, test = load_images(case.images)
    assert train.y is not None and test.y is not None
    x, x_T = ((part.x / case.top).astype(np.float32) for part in (train, test))
    torch.manual_seed(seed)
    training = levsha.Training(epochs=case.float_epochs, loss="cross_entropy", schedule="cosine", rate=2e-3, seed=seed)
    model = levsha.fit(case.net(), (x, train.y), training=training).model
    found: dict[str, float] = {}
    for weights in FORMATS:
        y, tested = train.y, (x_T, test.y)
        nets = (
            levsha.convert(model, x[:CALIBRATED], y[:CALIBRATED], weights, test=tested, seed=seed),
            levsha.fine_tune(model, x, y, weights, epochs=case.epochs, test=tested, seed=seed),
            levsha.fine_tune(model, x, y, weights, epochs=case.epochs, keep=0.5, test=tested, seed=seed),
        )
        found["float"] = nets[0].about["float"]["accuracy"]
        found |= {
            f"{weights} {column}": net.about["integer"]["accuracy"] for column, net in zip(COLUMNS, nets, strict=True)
        }
    return found


def shown(figures: list[float]) -> str:
    """The mean over seeds, and how far they lie apart."""
    mean = f"{statistics.mean(figures):.2f}"
    return mean if len(figures) == 1 else f"{mean} ({min(figures):.2f}-{max(figures):.2f})"


def show(title: str, case: Case, seeds: list[dict[str, float]]) -> None:
    """Print the table of a case."""
    print(f"\n{title}: float {shown([seed['float'] for seed in seeds])}; {case.epochs} epochs of fine-tuning\n")
    print(f"{'':10}" + "".join(f"{column:>24}" for column in COLUMNS))
    for weights in FORMATS:
        cells = [shown([seed[f"{weights} {column}"] for seed in seeds]) for column in COLUMNS]
        print(f"{weights:10}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


def main(names: list[str]) -> None:
    """Measure the named cases, all where none is named."""
    OUT.mkdir(exist_ok=True)
    for name in names or CASES:
        results = {}
        for case in CASES[name]:
            title, start = f"{case.net.__name__} on {case.images}", time.process_time()
            seeds = [measure(case, seed) for seed in range(case.seeds)]
            show(title, case, seeds)
            results[title] = {"epochs": case.epochs, "seeds": seeds, "cpu_seconds": round(time.process_time() - start)}
        (OUT / f"fine_tune_{name}.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
