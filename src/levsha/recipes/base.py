"""What a recipe is: the parts that differ from net to net.  What they share is in pipeline.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from levsha.applications import Message
from levsha.errors import LevshaError, check_range
from levsha.evidence.ship import Trial
from levsha.evidence.table import Column
from levsha.jobs import Job
from levsha.net import Net
from levsha.recipes.explain import Explain
from levsha.recipes.variant import Variant
from levsha.run import Run
from levsha.targets import DEFAULT_TARGET, find_target

LIMITS = {"splits": (1, 100), "vectors": (1, 1_000_000), "jobs": (0, 256), "seed": (0, 1 << 20)}
MARGINS = {"accuracy": 2.0, "r2": 0.02}  # what a variant may lose beyond what its format is expected to cost


@dataclass(frozen=True)
class RunSettings:
    """The settings of every recipe."""

    preset: Literal["quick", "full"] = "quick"
    """quick: minutes. full: more splits and longer schedules."""
    out: Path = Path("runs/run")
    """Folder of the run; repeating the command continues there."""
    seed: int = 0
    """Seed of the first split and of everything random in it; the next split has the next seed."""
    splits: int = 1
    """Number of splits; figures are their means."""
    target: str = DEFAULT_TARGET
    """The chip to build for, check and measure; levsha targets lists them."""
    vectors: int = 1000
    """Random and real vectors with which each net on the chip is compared with the interpreter."""
    jobs: int = 0
    """Processes at work at the same time; 0: one a core."""
    loss_margin: float | None = None
    """How much worse than its float source an integer net may be beyond what its format is expected to cost; by default 2 points of accuracy, 0.02 of R2."""
    accept_loss: bool = False
    """End with status 0 even where a variant is much worse than its source."""

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        for name, (low, high) in LIMITS.items():
            check_range(name, getattr(self, name), low, high)
        if self.loss_margin is not None:
            check_range("loss-margin", self.loss_margin, 0, 100)
        find_target(self.target)

    def margin(self, kind: str) -> float:
        """Return what a variant may lose beyond what its format is expected to cost; kind: accuracy or r2."""
        return MARGINS[kind] if self.loss_margin is None else self.loss_margin

    @property
    def seeds(self) -> range:
        """The seeds of all splits."""
        return range(self.seed, self.seed + self.splits)


@dataclass(frozen=True)
class Figure:
    """A figure of a variant in results.json: the mean over the splits of one kind, with each value beside it as KEY_each.

    split: of which kind; splits are called KIND-SEED. metric: its name in what the split's job returns.
    """

    key: str
    split: str
    metric: str


SettingsT = TypeVar("SettingsT", bound=RunSettings)
DataT = TypeVar("DataT")


class Recipe(ABC, Generic[SettingsT, DataT]):
    """Data, model, schedule and metrics of one kind of net; concrete recipes are final.

    A split's job returns, by variant, its metrics with `parameters` and `weight_bytes`, and `references`, the trivial
    predictors' metrics by name. The nets of the first split of kind `shipped` go to the chip.
    """

    name: ClassVar[str]
    processes: ClassVar[bool] = False
    """Whether torchrun may start it in several processes."""
    split_kinds: ClassVar[tuple[str, ...]]
    shipped: ClassVar[str]
    pictures: ClassVar[tuple[str, ...]] = ()
    also: ClassVar[tuple[str, ...]] = ()
    """Folders that it leaves beside those of every run."""

    @abstractmethod
    def preset(self, name: str) -> SettingsT:
        """Return the settings a preset stands for; the flags are its fields."""

    @abstractmethod
    def read(self, settings: SettingsT) -> DataT:
        """Return the data; LevshaError where it cannot be read or not be learnt with these settings."""

    @abstractmethod
    def notices(self, data: DataT) -> list[str]:
        """Return what was read, cut or left out, and what looks odd, a sentence each."""

    @abstractmethod
    def about_data(self, settings: SettingsT, data: DataT) -> dict[str, Any]:
        """Return what results.json says of the data."""

    @abstractmethod
    def keep(self, data: DataT, folder: Path) -> None:
        """Write the data into a run's folder, so that the run can be checked without the file it came from."""

    @abstractmethod
    def kept(self, run: Run) -> DataT:
        """Return the data of a run."""

    @abstractmethod
    def variants(self, settings: SettingsT) -> list[Variant]:
        """Return what is made, in the order of the table."""

    @abstractmethod
    def training_key(self, settings: SettingsT, data: DataT) -> str:
        """Return a hash of all that decides how the nets come out."""

    @abstractmethod
    def job(self, settings: SettingsT, data: DataT, kind: str, seed: int) -> Job:
        """Return the job that makes every net of a split and returns their metrics."""

    @abstractmethod
    def folder(self, out: Path, kind: str, seed: int) -> Path:
        """Return where the nets of a split lie: VARIANT.net.safetensors the integer ones."""

    @abstractmethod
    def float_weights(self, run: Run, variant: str) -> Path:
        """Return where the float weights of a variant lie; they need not exist."""

    @abstractmethod
    def float_about(self, run: Run, data: DataT, variant: str) -> dict[str, Any]:
        """Return what the inputs and outputs of a variant's float net are, as JSON has it, well enough to use its weights elsewhere."""

    @abstractmethod
    def vectors(self, data: DataT, net: Net, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return inputs for a check: part of them real, part as far out as the inputs' ranges go."""

    @abstractmethod
    def lines(self, settings: SettingsT, data: DataT, net: Net) -> Sequence[Message]:
        """Return real messages to type into the chip."""

    @abstractmethod
    def figures(self, data: DataT) -> tuple[Figure, ...]:
        """Return the figures of the table."""

    @abstractmethod
    def columns(self, results: Mapping[str, Any]) -> tuple[Column, ...]:
        """Return the table's columns."""

    @abstractmethod
    def judged_by(self, data: DataT) -> tuple[tuple[str, ...], Literal["accuracy", "r2"]]:
        """Return the keys of the figures that a variant is judged by, and what they are."""

    @abstractmethod
    def choose(self, results: Mapping[str, Any]) -> str | None:
        """Return the name of the variant to ship; None where none is ready."""

    @abstractmethod
    def sentences(self, results: Mapping[str, Any]) -> list[str]:
        """Return what the figures say, a sentence each."""

    @abstractmethod
    def draw(self, settings: SettingsT, data: DataT, results: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        """Draw the run's pictures into its folder."""

    def check(self, settings: SettingsT, data: DataT) -> None:
        """Raise LevshaError for settings that do not fit the data."""

    def trial(self, settings: SettingsT, data: DataT, net: Net) -> Trial:
        """Return what a net goes through on its chip."""
        return Trial(self.lines(settings, data, net), self.vectors(data, net, settings.vectors, settings.seed))

    def more(self, settings: SettingsT, data: DataT, trained: Mapping[str, Any]) -> dict[str, Any]:
        """Return what else belongs into results.json."""
        return {}

    def deliver(self, settings: SettingsT, data: DataT, run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write what else goes with the nets of a run into its folder; return what results.json says of it."""
        return {}

    def examples(self, results: Mapping[str, Any]) -> str:
        """Return examples of what the nets say, as Markdown."""
        return ""

    def next_steps(self, settings: SettingsT, results: Mapping[str, Any]) -> list[str]:
        """Return commands worth trying now."""
        return []

    def explain(self, asked: Explain) -> int:
        """Draw what the outputs of a run's net depend on; return the exit status. LevshaError where the recipe cannot."""
        raise LevshaError(f"{asked.run}: is a run of {self.name}; levsha explain is for regression and images.")

    def instead(self, settings: SettingsT) -> Any:
        """Return another story to tell than training and shipping, a function of (settings, data, console); None: there is none."""
        return None

    def splits(self, settings: SettingsT) -> list[tuple[str, int]]:
        """Return kind and seed of every split."""
        return [(kind, seed) for seed in settings.seeds for kind in self.split_kinds]

    def net_path(self, settings: SettingsT, name: str) -> Path:
        """Return where training left an integer net that ships."""
        return self.folder(settings.out, self.shipped, settings.seed) / f"{name}.net.safetensors"


def only_named(names: Sequence[str], flag: str) -> None:
    """Raise LevshaError where a name comes twice."""
    if len(set(names)) < len(names):
        raise LevshaError(f"--{flag}: one is named twice in {' '.join(names)}; name each once.")
