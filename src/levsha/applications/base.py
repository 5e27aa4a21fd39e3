"""What an application is: a conversation around a net, in C for the chip and in Python for what it must say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np

from levsha.ir import Graph
from levsha.meaning import Meaning

Message = str | bytes
"""What is typed at once: a line of text, whose end is put behind it, or bytes as they are."""


def sent(message: Message) -> bytes:
    """Return the bytes of a message.

    >>> sent("1 2"), sent(b"P5")
    (b'1 2\\n', b'P5')
    """
    return message if isinstance(message, bytes) else f"{message}\n".encode("utf-8", "surrogateescape")


class Application(ABC):
    """A message in, a line out; applications are frozen dataclasses.

    Its C includes nothing: before it come the net (prefix `net`, one instance), mark.h, and what every target has of a serial line:
    serial_put(byte); serial_get(); serial_get_checked(), '?' in place of a byte that came damaged; serial_get_within(n), n times 2 ms,
    SERIAL_SILENT where nothing came, SERIAL_DAMAGED. It defines what `main` calls, which asks for a message, runs the net and answers.
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
    def expected(self, graph: Graph, message: Message) -> str:
        """Return what the firmware must answer to a message, as the interpreter has it; of several lines in one, to the first."""

    def message(self, graph: Graph, row: np.ndarray) -> Message:
        """Return what to send for one row of the net's one input, integers as they lie in memory."""
        return " ".join(map(str, row.ravel().tolist()))

    @abstractmethod
    def answer(self, text: str) -> str:
        """Return the answer in what the firmware sent between a message and its readiness for the next."""

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
