"""The commands, one a file; this list is the only place that names them all, and nothing heavy is imported by it."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from levsha.errors import LevshaError


class Command(NamedTuple):
    """usage: the words behind `levsha`. about: one line of help. module: whose main(words) returns the exit status."""

    usage: str
    about: str
    module: str


COMMANDS: dict[str, Command] = {
    "run": Command("run RECIPE", "train, prune, quantise, build, check and measure", "recipe"),
    "convert": Command("convert MODEL", "turn a torch or ONNX model into exact integers, and ship it", "convert"),
    "train": Command("train RECIPE", "the first part of run: only train", "recipe"),
    "chat": Command("chat RUN", "talk with a net of a run; --target CHIP: with its firmware, simulated", "chat"),
    "ask": Command("ask RUN", "give a sensor model readings; --target CHIP: its firmware, simulated", "ask"),
    "see": Command("see RUN FILE ...", "show pictures to a net; --target CHIP: to its firmware, simulated", "see"),
    "predict": Command("predict RUN", "answer a whole table of readings, by interpreter or chip", "predict"),
    "check": Command("check RUN", "compare the chip with the interpreter, vector by vector", "check"),
    "explain": Command(
        "explain RUN", "draw what the outputs of a regression, or of a net for images, depend on", "explain"
    ),
    "export": Command(
        "export RUN", "write a net for use elsewhere: C, an Arduino library, JSON, numpy, torch", "export"
    ),
    "targets": Command("targets", "the chips, and which of their tools are on this machine", "targets"),
    "formats": Command("formats", "the weight formats", "formats"),
}


def find_command(name: str) -> Command:
    """Return the command called `name`; LevshaError lists what there is."""
    if name not in COMMANDS:
        raise LevshaError(f"command {name!r}: unknown; there are {', '.join(COMMANDS)}. See levsha --help.")
    return COMMANDS[name]


def run_command(name: str, words: list[str]) -> int:
    """Run a command with the words behind it; return its exit status."""
    module = importlib.import_module(f"levsha.commands.{find_command(name).module}")
    return module.main(name, words)


def help_text(recipes: list[str]) -> str:
    """Return the help of the whole program."""
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"  {command.usage:<{width}}  {command.about}" for command in COMMANDS.values()]
    return "\n".join([
        "usage: levsha COMMAND ...", "",
        "Trains small neural networks, shrinks them and ships them as exact integers:",
        "what the table says is what the chip computes, bit for bit.", "",
        *lines, "", f"Recipes: {', '.join(recipes)}. levsha COMMAND --help explains each; levsha --version.",
        "Exit status: 0 done, 1 a mismatch, 2 a mistake of yours, 3 a net lost too much on its way to integers, 130 Ctrl-C.",
    ])  # fmt: skip
