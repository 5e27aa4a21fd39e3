"""What an application is: a conversation around a net, in C for the chip and in Python for what it must say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, ClassVar

from levsha.ir import Graph
from levsha.meaning import Meaning


class Application(ABC):
    """A line in, a line out; applications are frozen dataclasses.

    Its C includes nothing: before it come the net (prefix `net`, one instance), mark.h, and serial_get() and serial_put() of the
    target. It defines what `main` calls, which asks for a line, runs the net and answers.
    """

    name: ClassVar[str]
    answer_unit: ClassVar[str] = "an answer"
    """What one run of the net's last stage yields."""

    @abstractmethod
    def header(self, graph: Graph) -> str:
        """Return the C of the conversation; LevshaError where the graph is none it can talk with."""

    @abstractmethod
    def wake(self, graph: Graph) -> str:
        """Return a line that makes the firmware run its net, for a simulator to type before it puts a vector in."""

    @abstractmethod
    def expected(self, graph: Graph, line: str) -> str:
        """Return what the firmware must answer to a line, as the interpreter has it."""

    @abstractmethod
    def answer(self, text: str) -> str:
        """Return the answer in what the firmware sent between a line and its readiness for the next."""

    @classmethod
    def from_json(cls, about: Mapping[str, Any], meaning: Meaning) -> Application:
        """Return the application that `to_json` described; meaning: of the net it goes around."""
        return cls()

    def to_json(self) -> dict[str, Any]:
        """Return its name and settings, for a net's file."""
        return {"name": self.name}

    @property
    def main(self) -> str:
        """The C statement that is repeated for ever."""
        return f"{self.name}_turn();"

    def usage(self, graph: Graph) -> str:
        """Return how to talk to it, for the comment of a sketch."""
        return ""

    def by_hand(self, graph: Graph) -> str:
        """Return C for a sketch that reads its inputs from pins, as a comment; empty where that makes no sense."""
        return ""

    def text(self) -> str:
        """Return the part of the C that is the same for every net: NAME.h beside this file."""
        return files("levsha.applications").joinpath(f"{self.name}.h").read_text()
