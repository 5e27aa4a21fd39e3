"""levsha chat: talk with a net of a run, its integers or its firmware."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from levsha.commands.parse import parse
from levsha.run import Run
from levsha.targets import Answer, Target, find_target


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
    """Talk with the firmware of this chip, simulated, and show the milliseconds of each character; levsha targets lists the chips."""


def main(command: str, words: list[str]) -> int:
    """Hold the chat."""
    asked = parse(Chat, words, "levsha chat")
    run = Run(asked.run)
    run.require("tinychat")
    name = run.pick(asked.variant)
    net = run.net(name)
    if asked.target is None:
        _converse(asked.say, name, lambda line: net.application.expected(net.graph, line))
        return 0
    target = find_target(asked.target)
    with run.talk(name, target) as talk:
        _converse(asked.say, f"{name} on {target.chip}, simulated", lambda line: _timed(talk.say(line), target))
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


def _timed(answer: Answer, target: Target) -> str:
    if not answer.cycles or not target.clock_hz:
        return answer.text
    ms = [1000 * count / target.clock_hz for count in answer.cycles]
    each = " ".join(f"{m:.1f}" for m in ms)
    return f"{answer.text}\n  [{len(ms)} characters with the end mark: {each} ms; {sum(ms):.0f} ms in all]"
