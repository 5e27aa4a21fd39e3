"""What a training is given beside model, data and settings, and what it counts and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from levsha.train.checkpoint import Checkpoints
from levsha.train.log import MetricsLog
from levsha.train.parallel import ALONE, World
from levsha.train.settings import Training


@dataclass
class Counters:
    """Where a training is: `at` steps into `epoch`, `done` in all; losses summed in this epoch and over how much; the best so far."""

    epoch: int = 0
    at: int = 0
    done: int = 0
    loss_sum: float = 0.0
    looks: int = 0
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    stopped: bool = False
    log_bytes: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def ended(self, training: Training) -> bool:
        """Say whether a training of these settings ends here."""
        return self.epoch >= training.epochs or bool(training.patience and self.waited >= training.patience)


@dataclass(frozen=True)
class Progress:
    """What is reported after every epoch."""

    line: dict[str, float]
    epochs: int
    seconds: float
    samples_a_second: float


@dataclass
class Surroundings:
    """What a training may be given beside model and data.

    validate: returns named figures of the present weights. watch: the figure that decides which epoch is best;
    higher: whether more of it is better. samples: training samples an epoch, for the reported speed.
    """

    validate: Callable[[], dict[str, float]] | None = None
    watch: str = "validation_loss"
    higher: bool = False
    checkpoints: Checkpoints | None = None
    log: MetricsLog | None = None
    report: Callable[[Progress], None] | None = None
    world: World = ALONE
    samples: int = 0
