"""The files of a chat that are the same on every target: the net, and the conversation around it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from levsha.emit.c import emit_c
from levsha.ir import Graph


@dataclass(frozen=True)
class ChatLimits:
    """query_bytes: a longer line is cut, at a word boundary after cut_from where there is one. answer_bytes: the most it says."""

    query_bytes: int = 60
    cut_from: int = 40
    answer_bytes: int = 50


def chat_files(graph: Graph, limits: ChatLimits, title: str) -> dict[str, str]:
    """Return the two headers of a chat, by file name: the net and the conversation around it."""
    settings = f"#define CHAT_CUT_FROM {limits.cut_from}\n#define CHAT_ANSWER_BYTES {limits.answer_bytes}\n"
    return {"net.h": emit_c(graph, title), "chat.h": settings + _resource("levsha.emit", "chat.h")}


def _resource(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text()
