"""levsha ask: give a sensor model readings in the inputs' own units, through the interpreter or the simulated chip."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from levsha.commands.parse import parse
from levsha.errors import LevshaError
from levsha.net import Net
from levsha.readings import in_words, to_readings
from levsha.run import Run
from levsha.targets import Answer, Conversation, Target, find_target


@dataclass(frozen=True)
class Ask:
    """Ask the integer net of a regression run: values of the inputs in, the target out."""

    run: Positional[Path]
    """The folder of a run of the recipe regression."""
    values: tuple[float, ...] = ()
    """One value for each input, in its own unit; without it, lines of values are read from standard input."""
    target: str | None = None
    """Ask the firmware of this chip, simulated, and show its milliseconds; levsha targets lists the chips."""


def main(command: str, words: list[str]) -> int:
    """Print an answer for every line of values, each as soon as its line is there."""
    asked = parse(Ask, words, "levsha ask")
    run = Run(asked.run)
    run.require("regression")
    name = run.pick(None)
    net, target = run.net(name), find_target(asked.target) if asked.target else None
    with run.talk(name, target) if target else nullcontext() as talk:
        answer = _asker(net, target, talk)
        for where, values in [("--values", asked.values)] if asked.values else _lines():
            print(answer(where, values), flush=True)  # a program at the other end of a pipe waits for it
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


def _asker(net: Net, target: Target | None, talk: Conversation | None) -> Callable[[str, tuple[float, ...]], str]:
    def answer(where: str, values: tuple[float, ...]) -> str:
        line = " ".join(map(str, to_readings(net, np.array([values]), [where])[0].tolist()))
        if talk is None or target is None:
            return in_words(net, net.application.expected(net.graph, line))
        said = talk.say(line)
        return in_words(net, said.text) + _timed(said, target, line)

    return answer


def _timed(said: Answer, target: Target, line: str) -> str:
    if not said.cycles or not target.clock_hz:
        return ""
    return f"  [{1000 * sum(said.cycles) / target.clock_hz:.2f} ms on the chip; it was sent {line}]"
