"""What say.h needs: the types of what is said, texts that lie in flash, names as they can be sent."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from levsha.arith import INT16_MAX
from levsha.ir import c_index


def say_header(low: int, high: int, places: int) -> str:
    """Return say.h for numbers of low..high, 32 bits only where they need them, and for so many places of an element."""
    wide = low < -INT16_MAX - 1 or high > INT16_MAX
    bits, digits = (32, 10) if wide else (16, 5)
    lines = [
        f"typedef {c_index(places)} say_index_t;",
        f"typedef int{bits}_t say_number_t;",
        f"typedef uint{bits}_t say_whole_t;",
        f"#define SAY_DIGITS {digits}",
    ]
    return "\n".join(lines) + "\n" + files("levsha.applications").joinpath("say.h").read_text()


def plain_name(name: str) -> str:
    """Return a name as it can be sent: one line, at most 24 bytes of it.

    >>> plain_name("a b" * 9)
    'a ba ba ba ba ba ba ba b'
    """
    one_line = "".join(c if c.isprintable() else " " for c in name)
    return one_line.encode()[:24].decode("utf-8", "ignore").strip() or "?"


def c_strings(names: Sequence[str]) -> str:
    """Return texts one after the other in one C string, each ended by a zero byte."""
    safe = (name.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") for name in names)
    return " ".join(f'"{name}\\0"' for name in safe)
