"""A chat: a line in, an answer character by character out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from levsha.applications.base import Application, Message, sent
from levsha.data.pairs import CONTEXT_BYTES, QUERY_BYTES, QUERY_CUT, RESPONSE_BYTES, context_of, text_rows, typed_query
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.meaning import Meaning
from levsha.ops import Lookup

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Query rows (N, 60) and context rows (N, 8) of bytes -> real-valued logits (N, classes)."""
BATCH = 4096


@dataclass(frozen=True)
class Chat(Application):
    """The query is cut at 60 bytes, at a word boundary from byte 40 on where there is one; the answer has at most 50 bytes.

    folds: small letters are put for the capitals of Latin-1, Greek and Cyrillic in a line, as training did.
    """

    folds: bool = False
    name = "chat"
    answer_unit = "a character"

    @classmethod
    def from_json(cls, about: Mapping[str, Any], meaning: Meaning) -> Chat:
        return cls(bool(about.get("folds")))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "folds": self.folds}

    def header(self, graph: Graph) -> str:
        if list(graph.inputs) != ["query", "context"] or graph.outputs[-1] != "next":
            raise LevshaError(
                f"chat: the graph reads {', '.join(graph.inputs)} and gives {', '.join(graph.outputs)}; a chat reads 'query' and 'context' and gives 'next'."
            )
        settings = f"#define CHAT_CUT_FROM {QUERY_CUT}\n#define CHAT_ANSWER_BYTES {RESPONSE_BYTES}\n"
        fold = (
            files("levsha.applications").joinpath("fold.h").read_text() + "#define CHAT_FOLDS\n" if self.folds else ""
        )
        return settings + fold + self.text()

    def wake(self, graph: Graph) -> str:
        return "go"

    def expected(self, graph: Graph, message: Message) -> str:
        line = sent(message).decode("utf-8", "surrogateescape").split("\n")[0]
        query = typed_query(line, self.folds)
        answer = decode(graph_predictor(graph), [query], charset_of(graph))[0] if query else b""
        return answer.decode("utf-8", "replace")

    def answer(self, text: str) -> str:
        shown = text.split("\r\n")  # the echo, the answer, the next prompt
        return shown[1] if len(shown) > 2 else ""


def charset_of(graph: Graph) -> bytes:
    """Return the bytes that a chat net can say, by class, the end mark last; LevshaError where it ends in no table of them."""
    last = graph.ops[-1]
    if not isinstance(last, Lookup):
        raise LevshaError(
            f"chat: the graph ends in {last.name} ({type(last).__name__}); a chat ends in a table of characters."
        )
    return bytes(int(byte) for byte in last.table)


def graph_predictor(graph: Graph) -> Predict:
    """Return a chat net as a function from bytes to its integer logits times their step."""
    step = graph.values["logits"].step
    return lambda query_NL, context_NL: interpret(graph, {"query": query_NL, "context": context_NL})["logits"] * step


def decode(predict: Predict, queries: list[bytes], charset: bytes, most: int = RESPONSE_BYTES) -> list[bytes]:
    """Return the greedy answer to each query: the likeliest byte until the end mark or `most` bytes."""
    said, alive = [b""] * len(queries), np.arange(len(queries))
    query_rows = text_rows(queries, QUERY_BYTES)
    for _ in range(most):
        if not len(alive):
            break
        contexts = text_rows([context_of(said[i]) for i in alive], CONTEXT_BYTES)
        parts = [slice(start, start + BATCH) for start in range(0, len(alive), BATCH)]
        choice = np.concatenate([predict(query_rows[alive[part]], contexts[part]).argmax(1) for part in parts])
        going = choice != len(charset) - 1
        for i, c in zip(alive[going], choice[going], strict=True):
            said[i] += charset[c : c + 1]
        alive = alive[going]
    return said
