"""levsha predict: answer a whole table of readings, by the interpreter or the simulated chip."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from levsha.commands.parse import parse
from levsha.data.csv import read_inputs
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.interpret import interpret
from levsha.net import Net
from levsha.readings import READINGS, answers, to_readings
from levsha.run import Run
from levsha.targets import find_target


@dataclass(frozen=True)
class Predict:
    """Answer every row of a table: a CSV with the inputs' columns in, the same with the answers out."""

    run: Positional[Path]
    """The folder of a run of the recipe regression."""
    data: Path
    """A .csv file, plain or .gz, with a column for each input of the net; others are left out."""
    out: Path
    """The .csv file to write, plain or .gz: a row for each row of --data, its line and the answer."""
    target: str | None = None
    """Let the firmware of this chip answer, simulated; levsha targets lists the chips."""


def main(command: str, words: list[str]) -> int:
    """Write the answers and say how many there are."""
    asked = parse(Predict, words, "levsha predict")
    run = Run(asked.run)
    run.require("regression")
    name = run.pick(None)
    net = run.net(name)
    if asked.out.exists() and asked.data.exists() and asked.out.samefile(asked.data):
        raise LevshaError(f"--out: {asked.out} is the file that --data is read from; give another name.")
    names = [quantity.name for quantity in net.meaning.quantities[READINGS]]
    x_NI, line_N = read_inputs(asked.data, names, [quantity.unit for quantity in net.meaning.quantities[READINGS]])
    lines = line_N.tolist()
    readings_NI = to_readings(net, x_NI, [f"{asked.data}: line {line}" for line in lines])
    results = _run(run, name, net, readings_NI, asked.target)
    text = _table(net, lines, results).encode()
    write_file(asked.out, gzip.compress(text, mtime=0) if asked.out.suffix == ".gz" else text)
    print(
        f"{asked.out}: {len(lines)} answers by {f'the firmware on {asked.target}' if asked.target else 'the interpreter'}"
    )
    return 0


def _run(run: Run, name: str, net: Net, readings_NI: np.ndarray, target: str | None) -> np.ndarray:
    output = net.graph.outputs[0]
    if target is None:
        return interpret(net.graph, {READINGS: readings_NI})[output]
    return run.firmware(name, find_target(target)).vectors({READINGS: readings_NI}).outputs[output]


def _table(net: Net, lines: list[int], results: np.ndarray) -> str:
    titles, rows = answers(net, results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["line", *titles])
    writer.writerows([line, *row] for line, row in zip(lines, rows, strict=True))
    return text.getvalue()
