"""What a target is: a toolchain, a C dialect, kernels of its own, and a way to run what it makes."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from levsha.applications import Application, Bare
from levsha.emit.c import Style, emit_c
from levsha.emit.choose import Kernel
from levsha.emit.dialect import PORTABLE, Dialect
from levsha.errors import LevshaError
from levsha.ir import Graph
from levsha.meaning import Meaning
from levsha.targets.firmware import Firmware, Outcome, Tool


class Target(ABC):
    """A machine that runs a graph's C; concrete targets are final."""

    name: ClassVar[str]
    chip: ClassVar[str]
    tools: ClassVar[tuple[Tool, ...]]
    flash_bytes: ClassVar[int | None] = None
    ram_bytes: ClassVar[int | None] = None
    clock_hz: ClassVar[int | None] = None
    dialect: ClassVar[Dialect] = PORTABLE
    kernels: ClassVar[Sequence[Kernel]] = ()

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

    def net_text(self, graph: Graph, title: str, meaning: Meaning | None = None) -> str:
        """Return net.h as a firmware of this target includes it: one static instance, this dialect, these kernels."""
        style = Style(instance=True, private=True, dialect=self.dialect, kernels=self.kernels)
        return emit_c(graph, title, style, meaning).header

    @abstractmethod
    def firmware(self, graph: Graph, application: Application, title: str, meaning: Meaning | None = None) -> Firmware:
        """Return the firmware of a net and a conversation around it: its sources, emitted once, and not built yet."""

    def run(self, graph: Graph, inputs: Mapping[str, np.ndarray], folder: Path) -> Outcome:
        """Build the graph alone in `folder` and run a batch of vectors."""
        self.require()
        return self.firmware(graph, Bare(), f"net alone on {self.name}").built(folder).vectors(inputs)


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
