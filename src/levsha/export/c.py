"""A C library: a header and a source, or one header, with any prefix; several nets go into one program."""

from __future__ import annotations

from levsha.emit.c import Style, emit_c
from levsha.export.base import Source


def write(source: Source) -> dict[str, bytes]:
    """Return PREFIX.h and PREFIX.c, or with `single` PREFIX.h alone."""
    net = source.integer
    style = Style(prefix=source.prefix, instance=source.instance)
    text = emit_c(net.graph, net.title, style, net.meaning, source.tests)
    files = {f"{source.prefix}.h": text.single} if source.single else text.files
    return {name: content.encode() for name, content in files.items()}
