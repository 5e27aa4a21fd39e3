"""A C library: a header and a source, or one header, with any prefix; several nets go into one program."""

from __future__ import annotations

from levsha.emit.c import CText, Style, emit_c
from levsha.emit.names import Names
from levsha.export.base import Source
from levsha.export.example import chat_program, is_chat


def write(source: Source) -> dict[str, bytes]:
    """Return PREFIX.h and PREFIX.c, or with `single` PREFIX.h alone."""
    style = Style(prefix=source.prefix, instance=source.instance, single=source.single)
    return {name: content.encode() for name, content in library(source, style).files.items()}


def library(source: Source, style: Style) -> CText:
    """Return the library of a net, with a self-test and an example of its whole conversation."""
    net = source.integer
    names = Names(style.prefix, style.instance, style.private, style.single)
    example = chat_program(names) if is_chat(net) else ()
    return emit_c(net.graph, net.title, style, net.meaning, source.tests, example)
