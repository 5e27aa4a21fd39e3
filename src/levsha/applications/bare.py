"""No conversation at all: the net runs over and over, for a simulator that puts vectors in."""

from __future__ import annotations

from dataclasses import dataclass

from levsha.applications.base import Application, Message
from levsha.ir import Graph


@dataclass(frozen=True)
class Bare(Application):
    """Only the net."""

    name = "bare"

    def header(self, graph: Graph) -> str:
        runs = []
        for stage, name in enumerate(graph.inputs):
            runs += [
                f"    LEVSHA_MARK(MARK_STARTS + {stage});",
                f"    net_run_{name}();",
                f"    LEVSHA_MARK(MARK_ENDS + {stage});",
            ]
        return "\n".join(["static void bare_turn(void)", "{", *runs, "}", ""])

    def wake(self, graph: Graph) -> str:
        return "go"

    def expected(self, graph: Graph, message: Message) -> str:
        return ""

    def answer(self, text: str) -> str:
        return ""
