"""levsha chat: talk with a net of a run, its integers or its firmware."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from levsha.data.pairs import typed_query
from levsha.errors import LevshaError
from levsha.evidence.metrics import decode
from levsha.ir import Graph
from levsha.recipes.tinychat.predict import graph_predictor
from levsha.run import Run
from levsha.targets import Uno, find_target
from levsha.targets.uno import CLOCK_HZ
from levsha.targets.uno.chat import Conversation


@dataclass(frozen=True)
class Chat:
    """Talk with a net of a run: its integers through the interpreter, or its firmware in the simulator."""

    run: Positional[Path]
    """The folder of a run."""
    say: str | None = None
    """One line to say; without it, the chat goes on until an empty line, Ctrl-D or Ctrl-C."""
    variant: str | None = None
    """Which integer variant; without it, the one the run recommends."""
    target: str | None = None
    """uno: talk with the firmware in the simulator and show the milliseconds of each character."""


def chat_run(asked: Chat) -> int:
    """Hold the chat."""
    run = Run(asked.run)
    run.require("tinychat")
    name = run.pick(asked.variant)
    if asked.target is None:
        graph = run.graph(name)
        _converse(asked.say, name, lambda line: _answer(graph, line))
        return 0
    if not isinstance(find_target(asked.target), Uno):
        raise LevshaError(f"--target {asked.target}: has no chat firmware; leave --target out, or use uno.")
    Uno().require()
    with Conversation(run.firmware(name)) as firmware:
        _converse(asked.say, f"{name} on a simulated Arduino UNO", lambda line: _timed(*firmware.say(line)))
    return 0


def _converse(say: str | None, who: str, answer: Callable[[str], str]) -> None:
    if say is not None:
        print(answer(say))
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no UTF-8 is bytes all the same
    if sys.stdin.isatty():
        print(f"{who}; an empty line ends the chat.")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not line.strip():
            return
        print(answer(line))


def _answer(graph: Graph, line: str) -> str:
    charset = bytes(int(byte) for byte in graph.ops[-1].table)  # type: ignore[attr-defined]
    query = typed_query(line)
    return decode(graph_predictor(graph), [query], charset)[0].decode("utf-8", "replace") if query else ""


def _timed(answer: str, cycles: list[int]) -> str:
    ms = [1000 * count / CLOCK_HZ for count in cycles]
    return (
        f"{answer}\n  [{len(ms)} characters with the end mark: {' '.join(f'{m:.1f}' for m in ms)} ms; {sum(ms):.0f} ms in all]"
        if ms
        else answer
    )
