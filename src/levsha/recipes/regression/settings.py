"""Every setting of the recipe regression; the command line's flags are derived from these dataclasses."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from levsha.data.table import Table, split_table
from levsha.data.tables import load_table
from levsha.errors import LevshaError, check_range
from levsha.formats import FORMATS
from levsha.recipes.base import RunSettings
from levsha.recipes.variant import Variant
from levsha.run import Run
from levsha.train.settings import Training

ACTIVATIONS = ("relu", "gelu", "mish", "silu", "tanh")
COMPARABLE = ("gd", "sgd", "momentum", "rmsprop", "adam", "adamw")
LIMITS = {"samples": (20, 1_000_000), "noise": (0.0, 1000.0)}
SENSOR = Variant("sensor")  # the small net, which goes to the chip
INTEGER = Variant(SENSOR.base, FORMATS["int8"])
DEFAULT_BATCH = Training().batch
AUTO = "auto"  # the loss that fits the table
NUMBER_LOSSES, CLASS_LOSSES = ("mse", "l1", "smooth_l1"), ("cross_entropy",)


@dataclass(frozen=True)
class TableTraining(Training):
    """How the nets are trained."""

    loss: str = AUTO
    """auto (mse for numbers, cross_entropy for classes); for numbers also mse, l1 or smooth_l1."""
    sampling: str = "without_replacement"
    """Order of an epoch: without_replacement or with_replacement (bootstrap)."""
    epochs: int = 60
    schedule: str = "one_cycle"
    rate: float = 2e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.02
    patience: int = 0
    checkpoint_seconds: float = 2.0

    def resolved(self, table: Table) -> Training:
        """Return the settings with the loss that fits the table; LevshaError for what cannot train on it."""
        fitting = CLASS_LOSSES if table.is_classes else NUMBER_LOSSES
        training = replace(self, loss=self.loss if self.loss != AUTO else fitting[0])
        if self.batch == DEFAULT_BATCH:  # nobody asked for it: a small table is one batch
            training = replace(training, batch=min(DEFAULT_BATCH, len(split_table(len(table.x_NI), 0)[0])))
        training.check()
        if training.loss not in fitting:
            why = "class labels" if table.is_classes else "standardised numbers, neither probabilities nor labels"
            raise LevshaError(
                f"--train.loss: is {self.loss}, but the targets of {table.name} are {why}; allowed are {', '.join((AUTO, *fitting))}."
            )
        if training.sampling == "weighted":
            raise LevshaError(
                "--train.sampling: is weighted, but a table has no weights; allowed are without_replacement and with_replacement. "
                "From Python, levsha.train.fit trains on Arrays(x, y, weights)."
            )
        return training


@dataclass(frozen=True)
class Regression(RunSettings):
    """Train a multilayer perceptron on a table, draw how well it does, and ship a small one to a chip as exact integers."""

    preset: Literal["quick", "full"] = "quick"
    """quick: two splits, half a minute. full: five splits, more samples and epochs."""
    out: Path = Path("runs/regression")
    splits: int = 2
    """Splits into training, validation and test samples; figures are their means."""
    data: str = "gravity"
    """gravity (synthetic: the depth of a buried sphere from 12 noisy gravity readings), diabetes, digits (8 x 8 images), or a .csv file."""
    target_column: str | None = None
    """Which column of a .csv file to learn; without it, the last."""
    drop: tuple[str, ...] = ()
    """Columns of a .csv file to leave out, such as an index or a time."""
    classes: bool = False
    """Learn a target of whole numbers as classes; words are classes anyhow."""
    samples: int = 4000
    """Samples of synthetic data."""
    noise: float = 2.0
    """Noise of synthetic readings, in their unit (gravity: microgal)."""
    hidden: tuple[int, ...] = (512, 256, 128, 32)
    """Neurons of the net's hidden layers."""
    sensor_hidden: tuple[int, ...] = (24, 12)
    """Neurons of the hidden layers of the net for the chip."""
    activation: str = "relu"
    """relu, gelu, mish, silu or tanh."""
    compare: str | None = None
    """Only draw how these optimizers get on, over iterations and over seconds: gd,sgd,momentum,rmsprop,adam,adamw. Each has a rate that suits it: of --train its optimizer, rate, weight-decay, schedule, momentum, nesterov, centered, patience and keep do not count."""
    log: Literal["jsonl", "tensorboard"] = "jsonl"
    """metrics.jsonl is always the record; tensorboard writes its events beside it."""
    train: TableTraining = field(default_factory=TableTraining)

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        super().check()
        for name, (low, high) in LIMITS.items():
            check_range(name, getattr(self, name), low, high)
        for flag, widths in (("hidden", self.hidden), ("sensor-hidden", self.sensor_hidden)):
            if not widths or min(widths) < 1 or max(widths) > 16_384:
                raise LevshaError(
                    f"--{flag}: is {' '.join(map(str, widths))}; give one or more layers of 1 to 16384 neurons."
                )
        if self.activation not in ACTIVATIONS:
            raise LevshaError(f"--activation: there is no {self.activation!r}; there are {', '.join(ACTIVATIONS)}.")
        for name in self.compared():
            if name not in COMPARABLE:
                raise LevshaError(
                    f"--compare: there is no {name!r}; there are {', '.join(COMPARABLE)}, separated by commas."
                )
        if len(set(self.compared())) < len(self.compared()):
            raise LevshaError(f"--compare: one is named twice in {self.compare}; name each once.")
        if self.log == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
            raise LevshaError("--log tensorboard: needs the package tensorboard: .venv/bin/pip install tensorboard.")

    def compared(self) -> list[str]:
        """Return the optimizers to compare."""
        return [name.strip() for name in self.compare.split(",")] if self.compare is not None else []

    def read(self) -> Table:
        """Return the data."""
        return load_table(self.data, self.samples, self.noise, self.seed, self.target_column, self.drop, self.classes)


def key_of(*parts: Any) -> str:
    """Return a SHA-256 of what JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def nets_key(settings: Regression, table: Table) -> str:
    """Return a hash of all that decides how the nets of a split come out."""
    training = asdict(settings.train.resolved(table))
    deciding = {name: value for name, value in training.items() if name not in ("threads", "checkpoint_seconds")}
    shape = (settings.hidden, settings.sensor_hidden, settings.activation, settings.seed)
    return key_of(table.digest, shape, deciding)


def preset(name: str) -> Regression:
    """Return the settings a preset stands for."""
    if name == "full":
        return Regression(preset="full", splits=5, samples=20_000, train=TableTraining(epochs=150))
    return Regression()


def loss_unit(settings: Regression, table: Table) -> str:
    """Return the name of the loss with what it is measured in."""
    name = settings.train.resolved(table).loss
    known = {"cross_entropy": "cross-entropy, nats", "mse": "MSE of the standardised target"}
    return known.get(name, name.replace("_", " "))


def settings_of(run: Run) -> Regression:
    """Return the settings that decide what a run's nets look like."""
    run.require("regression")
    kept: dict[str, Any] = run.results()["nets"]
    widths = {key: tuple(kept[key]) for key in ("hidden", "sensor_hidden")}
    return replace(Regression(), out=run.folder, seed=kept["seed"], activation=kept["activation"], **widths)
