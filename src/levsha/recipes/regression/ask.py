"""levsha ask: give a sensor model readings in the inputs' own units, through the interpreter or the simulated chip."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from levsha.data.tables import Table
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.recipes.regression.kept import kept_table
from levsha.recipes.regression.settings import INTEGER
from levsha.recipes.regression.story import read_units
from levsha.recipes.regression.units import Units
from levsha.run import Run
from levsha.targets import Uno, find_target
from levsha.targets.uno import CLOCK_HZ, Firmware
from levsha.targets.uno.sensor import ask_sensor, load_sensor


@dataclass(frozen=True)
class Ask:
    """Ask the integer net of a regression run: values of the inputs in, the target out."""

    run: Positional[Path]
    """The folder of a run of the recipe regression."""
    values: tuple[float, ...] = ()
    """One value for each input, in its own unit; without it, lines of values are read from standard input."""
    target: str | None = None
    """uno: ask the firmware in the simulator and show its milliseconds."""


@dataclass(frozen=True)
class _Net:
    table: Table
    units: Units
    graph: Graph
    firmware: Firmware | None
    """None: the interpreter answers."""


def ask_run(asked: Ask) -> int:
    """Print an answer for every line of values, each as soon as its line is there."""
    run = Run(asked.run)
    run.require("regression")
    if asked.target is not None and not isinstance(find_target(asked.target), Uno):
        raise LevshaError(f"--target {asked.target}: has no sensor firmware; leave --target out, or use uno.")
    graph, firmware = run.graph(INTEGER), None
    if asked.target is not None:
        Uno().require()
        firmware = load_sensor(run.firmware(INTEGER), graph)
    net = _Net(kept_table(run), read_units(run.folder / "nets" / f"{INTEGER}.safetensors"), graph, firmware)
    for where, values in [("--values", asked.values)] if asked.values else _lines():
        print(_answer(net, where, values), flush=True)  # a program at the other end of a pipe waits for it
    return 0


def _lines() -> Iterator[tuple[str, tuple[float, ...]]]:
    for number, line in enumerate(sys.stdin, 1):
        where = f"standard input, line {number}"
        try:
            values = tuple(float(word) for word in line.replace(",", " ").split())
        except ValueError:
            raise LevshaError(f"{where}: {line.strip()[:60]!r} holds something that is no number.") from None
        if values:
            yield where, values


def _answer(net: _Net, where: str, values: tuple[float, ...]) -> str:
    table, units, graph = net.table, net.units, net.graph
    if len(values) != len(table.features):
        raise LevshaError(
            f"{where}: {len(values)} numbers; the net reads {len(table.features)}: {', '.join(table.features)}."
        )
    if not np.isfinite(values).all():
        raise LevshaError(f"{where}: one is no finite number; give measured values.")
    _check_range(table, units, np.array(values), where)
    readings = units.readings(np.array([values]))
    if net.firmware is None:
        values_of = interpret(graph, {"readings": readings})
        return _in_words(table, units, int(values_of[graph.outputs[0]][0, 0]))
    outcome, answers = ask_sensor(net.firmware, [" ".join(map(str, readings[0]))])
    assert outcome.cycles is not None
    return f"{_in_words(table, units, int(answers[0].split()[0]))}  [{1000 * outcome.cycles[0].sum() / CLOCK_HZ:.2f} ms on the chip; it was sent {' '.join(map(str, readings[0]))}]"


def _check_range(table: Table, units: Units, values_I: np.ndarray, where: str) -> None:
    low_I, high_I = (np.array(units.zero) + np.array(units.step) * end for end in (units.lo, units.hi))
    for k in np.flatnonzero((values_I < low_I) | (values_I > high_I))[:1]:
        raise LevshaError(
            f"{where}: {table.features[k]} is {values_I[k]:g}; the net takes {low_I[k]:g} to {high_I[k]:g} {table.units[k]}: it was trained on nothing beyond."
        )


def _in_words(table: Table, units: Units, result: int) -> str:
    if table.is_classes:
        return table.outputs[result]
    unit = f" {table.output_unit}" if table.output_unit else ""
    return f"{table.outputs[0]}: {float(units.real(np.array(result))):.10g}{unit}"
