"""What a recipe is to the rest of the program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console

from levsha.ir import Graph
from levsha.run import Run
from levsha.targets.uno import Firmware


class Recipe(ABC):
    """Data, model, schedule and metrics of one kind of net; concrete recipes are final."""

    name: ClassVar[str]
    processes: ClassVar[bool] = False
    """Whether torchrun may start it in several processes."""

    @abstractmethod
    def preset(self, name: str) -> Any:
        """Return the settings a preset stands for: a frozen dataclass with `out` and `check()`; the flags are its fields."""

    @abstractmethod
    def run(self, settings: Any, console: Console, only_train: bool = False) -> None:
        """Go from data to table; what an earlier run of the same settings finished is not made again."""

    @abstractmethod
    def vectors(self, run: Run, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return inputs for a check of the run's integer nets: part of them real, part as far out as the inputs' ranges go."""

    @abstractmethod
    def load_firmware(self, elf: Path, graph: Graph) -> Firmware:
        """Return a firmware that the run built."""

    @abstractmethod
    def float_weights(self, run: Run, variant: str) -> Path:
        """Return where the float weights of a variant lie; they need not exist."""

    @abstractmethod
    def export_float(self, source: Path, path: Path, to: str) -> None:
        """Write float weights as `pt` (a state dict for torch.load) or `npz`."""
