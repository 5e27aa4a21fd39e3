"""Formats of single layers, chosen by patterns of their names."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence

from levsha.errors import LevshaError
from levsha.formats.base import Format


def formats_of(nodes: Sequence[str], layers: Mapping[str, Format]) -> dict[str, Format]:
    """Return the format of each named layer; LevshaError names the nearest where there is none."""
    found: dict[str, Format] = {}
    for pattern, weights in layers.items():
        hit = fnmatch.filter(nodes, pattern.replace(".", "_"))
        if not hit:
            near = difflib.get_close_matches(pattern, nodes, 3, 0.3) or nodes[:5]
            raise LevshaError(f"layer {pattern!r}: there is none; the nearest are {', '.join(near)}.")
        found |= dict.fromkeys(hit, weights)
    return found
