"""An integer net as people hold it: call it with real numbers, run it on integers, check it on a chip, write it for elsewhere."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from levsha.applications import APPLICATIONS, Application
from levsha.arrays import as_array
from levsha.emit.memory import plan_memory
from levsha.errors import LevshaError, check_number, naming_arguments
from levsha.interpret import interpret
from levsha.ir import Graph, constant_bytes, count_macs
from levsha.meaning import Meaning
from levsha.ops.weights import weights_of
from levsha.store import load_graph, save_graph
from levsha.targets.native import Reals, compiled_run, prepare


class Sizes(NamedTuple):
    """parameters: learnt weights. weight_bytes: of everything learnt, packed. input_bytes, arena_bytes: RAM of the inputs, and of all that is
    between them and the outputs. macs: multiply-accumulates of one run."""

    parameters: int
    weight_bytes: int
    input_bytes: int
    arena_bytes: int
    macs: int


@dataclass(frozen=True)
class Net:
    """An integer net with what its integers mean, the conversation that goes around it on a chip, and what is known of it.

    about: what was measured when it was made, as JSON has it; empty where nothing was.
    """

    graph: Graph
    meaning: Meaning
    application: Application
    title: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, x: Any) -> Any:
        """Return what the model says to real inputs, through the exact integers.

        x: (N, *shape) as the model takes it, or one example of that shape. Returns real outputs (N, *shape), several as a tuple; the
        numbers of classes where the model ends in an argmax. LevshaError where the shape is another. What lies outside an input's range
        is taken as its end.
        """
        found = self._quick(x)
        return self._step_by_step(x) if found is None else found

    @cached_property
    def _quick(self) -> Reals:
        """All of a call in one function of the compiled net."""
        return Reals(self.graph, self.meaning)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: part for name, part in self.__dict__.items() if name != "_quick"
        }  # addresses mean nothing elsewhere

    def _step_by_step(self, x: Any) -> Any:
        ((name, value),) = self._one_input().items()
        layout = self.meaning.layouts.get(name)
        shape = layout.shape if layout else value.shape
        x_N = as_array(x, f"{self.title}: the input")
        single = x_N.shape == shape
        if not single and (not x_N.ndim or x_N.shape[1:] != shape):
            raise LevshaError(
                f"{self.title}: the input has shape {x_N.shape}; {shape} is needed, or (rows, {', '.join(map(str, shape))})."
            )
        x_N = x_N[None] if single else x_N
        found = self.run(self.integers(name, layout.lay(x_N) if layout else x_N))
        outputs = [name for name in self.graph.outputs if name in self.meaning.layouts] or list(self.graph.outputs)
        real = [self._real(name, found[name]) for name in outputs]
        made = [part[0] for part in real] if single else real
        return made[0] if len(made) == 1 else tuple(made)

    def _real(self, name: str, integers: np.ndarray) -> np.ndarray:
        real = self.meaning.to_real(name, integers) if name in self.meaning.quantities else integers
        return self.meaning.layouts[name].lift(real) if name in self.meaning.layouts else real

    def _one_input(self) -> Mapping[str, Any]:
        if len(self.graph.inputs) != 1:
            raise LevshaError(f"{self.title}: reads {', '.join(self.graph.inputs)}; give integers of each to run().")
        return self.graph.inputs

    def integers(self, name: str, real_NI: np.ndarray) -> np.ndarray:
        """Return real numbers (N, *shape in memory) of an input, in their units, as the nearest integers that the net takes.

        LevshaError for a name that is none, and for numbers that are not finite.
        """
        if name not in self.graph.values:
            raise LevshaError(f"{self.title}: has no value {name!r}; its inputs are {', '.join(self.graph.inputs)}.")
        value, real_NI = self.graph.values[name], as_array(real_NI, f"{self.title}: {name}")
        if name not in self.meaning.quantities:
            return real_NI
        if not np.isfinite(real_NI).all():
            raise LevshaError(
                f"{self.title}: {name} holds NaN or infinity, which no integer stands for; give finite numbers."
            )
        return self.meaning.to_integers(name, real_NI).clip(value.lows, value.highs)

    def run(self, inputs: Any, threads: int = 1) -> dict[str, np.ndarray]:
        """Return the integers of every output (N, *shape) for integers of every input by name, or of the one input alone.

        After about a second's work in the interpreter, or once `compile` was called, by a library that was compiled for this machine and
        computes the same integers. threads: over which it spreads the rows.
        """
        if threads != 1:
            with naming_arguments():
                check_number("threads", threads, 1, 1024, whole=True)
        quick = self._quick.integers(inputs) if threads == 1 and self._quick.alone else None
        if quick is not None:
            return quick
        given = inputs if isinstance(inputs, Mapping) else {next(iter(self._one_input())): inputs}
        shaped = {name: self._shaped(name, x) for name, x in given.items()}
        found = compiled_run(self.graph, shaped, threads)
        if found is None:
            known = interpret(self.graph, shaped)
            found = {name: known[name] for name in self.graph.outputs}
        return found

    def compile(self, instructions: str | None = None) -> str:
        """Compile the net for this machine now; return which vector instructions run it, or 'off' where the interpreter does.

        instructions: their name, or 'off'; by default what LEVSHA_NATIVE says, else the best that the processor has.
        """
        return prepare(self.graph, instructions)

    def _shaped(self, name: str, x: Any) -> np.ndarray:
        """Integers of an input as (N, *shape), however they were shaped."""
        x_N = as_array(x, f"{self.title}: {name}")
        value = self.graph.inputs.get(name)
        if value is not None and (x_N.size % value.size or not x_N.ndim):
            raise LevshaError(
                f"{self.title}: {name} has shape {x_N.shape}; integers of shape (rows, {', '.join(map(str, value.shape))}) are needed."
            )
        return x_N if value is None else x_N.reshape(-1, *value.shape)

    @naming_arguments()
    def check(self, target: str = "host", vectors: int = 1000, seed: int = 1) -> Any:
        """Compare every output of so many vectors on a target with the interpreter; return a Check, which has .vectors and .mismatches.

        The vectors are anywhere in the inputs' ranges, their ends among them. LevshaError where a tool is missing, or the net too large.
        """
        return _above("levsha.evidence.check_net").check_net(self, target, vectors, seed)

    @naming_arguments(to="kind")
    def export(self, kind: str, path: Path | str, prefix: str = "net") -> list[Path]:
        """Write the net in another form, and return the files: c, arduino, onnx, json or bin, as levsha export.

        path: the file, or of c and arduino the folder; prefix: of c and arduino, what begins every name.
        """
        return _above("levsha.export").write_net(self, kind, Path(path), prefix)

    @property
    def sizes(self) -> Sizes:
        """What the net takes, on any chip."""
        parameters = sum(weights_of(self.graph).values())
        inputs = sum(value.size * value.dtype.itemsize for value in self.graph.inputs.values())
        return Sizes(
            parameters, constant_bytes(self.graph), inputs, plan_memory(self.graph).size, count_macs(self.graph)
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return the net as a table of two columns: what it is, what it takes, how good it is."""
        sizes, graph = self.sizes, self.graph
        ends = {name: graph.values[name] for name in (*graph.inputs, *graph.outputs)}
        found = [("net", self.title)]
        found += [
            (name, f"{value.c_type}{list(value.shape)} in {value.lo}..{value.hi}") for name, value in ends.items()
        ]
        found += [
            ("weights", f"{sizes.parameters} in {sizes.weight_bytes} B"),
            ("RAM", f"{sizes.input_bytes} + {sizes.arena_bytes} B"),
        ]
        found += [("multiply-accumulates", str(sizes.macs))]
        for key in ("float", "integer"):
            if key in self.about:
                found.append((key, ", ".join(f"{name} {number:.4g}" for name, number in self.about[key].items())))
        return found

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join(["<levsha.Net", *(f"  {name:<{width}}  {text}" for name, text in self.rows()), ">"])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>{html.escape(b)}</td></tr>"
            for a, b in self.rows()
        )
        return f"<table>{cells}</table>"

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> str:
        """Write the net as one file, and return its hash; about: what else to keep beside it."""
        whole = {
            "title": self.title,
            "meaning": self.meaning.to_json(),
            "application": self.application.to_json(),
        }
        measured = {"about": dict(self.about)} if self.about else {}
        return save_graph(self.graph, Path(path), dict(about or {}) | whole | measured)

    @classmethod
    def load(cls, path: Path | str) -> Net:
        """Read a net; LevshaError where the file is damaged, or was made by a version that kept no meaning."""
        graph, about = load_graph(Path(path))
        if "meaning" not in about or about.get("application", {}).get("name") not in APPLICATIONS:
            raise LevshaError(
                f"{path}: was made by an older Levsha and says nothing of what its integers mean; make it anew with levsha run."
            )
        meaning = Meaning.from_json(about["meaning"])
        application = APPLICATIONS[about["application"]["name"]].from_json(about["application"], meaning)
        return cls(graph, meaning, application, about["title"], about.get("about", {}))


def load(path: Path | str) -> Net:
    """Return the integer net of a file, such as RUN/nets/VARIANT.safetensors; LevshaError where it is none."""
    return Net.load(Path(path))


def _above(module: str) -> Any:
    """A room above this one, which a method of a net only hands on to: it is found when it is asked for."""
    return importlib.import_module(module)
