"""What a target is: a toolchain and a way to run what it makes."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from levsha.emit.c import emit_c
from levsha.errors import LevshaError
from levsha.ir import Graph


@dataclass(frozen=True)
class Tool:
    """A program (or, with a slash, a file) that a target needs, and the Debian package that holds it."""

    name: str
    package: str

    def found(self) -> bool:
        """Say whether the tool is on this machine."""
        return Path(self.name).exists() if "/" in self.name else shutil.which(self.name) is not None


@dataclass(frozen=True)
class Outcome:
    """What a target computed: every input as the chip saw it, every output, and, where the target counts them, cycles.

    inputs, outputs: name -> (N, *shape); cycles: (N, stages), 0 where a stage was not run for that vector.
    """

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    cycles: np.ndarray | None = None
    stack_bytes: int | None = None


class Target(ABC):
    """A machine that runs a graph's C; concrete targets are final."""

    name: ClassVar[str]
    chip: ClassVar[str]
    tools: ClassVar[tuple[Tool, ...]]
    flash_bytes: ClassVar[int | None] = None
    ram_bytes: ClassVar[int | None] = None
    clock_hz: ClassVar[int | None] = None

    def missing(self) -> str:
        """Return '' where every tool is found, else what is missing and how to get it."""
        lacking = [tool for tool in self.tools if not tool.found()]
        names = ", ".join(Path(tool.name).name for tool in lacking)
        packages = " ".join(dict.fromkeys(tool.package for tool in lacking))
        return f"{names} missing; apt-get install {packages}" if lacking else ""

    def require(self) -> None:
        """Raise LevshaError where a tool is missing."""
        if self.missing():
            raise LevshaError(f"target {self.name}: {self.missing()}.")

    def run(self, graph: Graph, inputs: Mapping[str, np.ndarray], folder: Path) -> Outcome:
        """Build the graph in `folder` with a main that only runs vectors, and run a batch of them."""
        self.require()
        (folder / "net.h").write_text(emit_c(graph, f"test graph for {self.name}"))
        return self._run_vectors(graph, inputs, folder)

    @abstractmethod
    def _run_vectors(self, graph: Graph, inputs: Mapping[str, np.ndarray], folder: Path) -> Outcome: ...


def pack_inputs(graph: Graph, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return one row of bytes per vector: every input in order, in its own little-endian type."""
    columns = []
    for name, value in graph.inputs.items():
        x = np.ascontiguousarray(inputs[name].reshape(len(inputs[name]), -1).astype(value.dtype))
        columns.append(x.view(np.uint8).reshape(len(x), -1))
    return np.concatenate(columns, 1)


def unpack_values(graph: Graph, names: Sequence[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Split rows of bytes into the named values, as int64 arrays of shape (N, *shape)."""
    found, start = {}, 0
    for name in names:
        value = graph.values[name]
        end = start + value.size * value.dtype.itemsize
        part = np.ascontiguousarray(rows[:, start:end]).view(value.dtype)
        found[name] = part.reshape(len(rows), *value.shape).astype(np.int64)
        start = end
    return found


def call(command: Sequence[str], what: str, **options: object) -> str:
    """Run a tool and return its standard output; LevshaError quotes the end of its errors."""
    done = subprocess.run(list(command), capture_output=True, text=True, errors="replace", check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise LevshaError(f"{what}: {command[0]} failed with status {done.returncode}: {done.stderr.strip()[-600:]}")
    return done.stdout
