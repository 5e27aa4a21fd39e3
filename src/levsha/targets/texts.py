"""What every target's firmware shares: a text, and how a message goes into its program."""

from __future__ import annotations

from importlib.resources import files

from levsha.applications import Message, sent


def mark_header() -> str:
    """Return mark.h: what a firmware tells a simulator."""
    return files("levsha.applications").joinpath("mark.h").read_text()


def framed(message: Message) -> bytes:
    """Return a message as a simulator reads it: how many bytes it has, in a line, then they.

    >>> framed("hi")
    b'3\\nhi\\n'
    """
    data = sent(message)
    return b"%d\n%s" % (len(data), data)
