"""What cannot be converted, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from levsha.errors import LevshaError


class Problem(NamedTuple):
    """what: is in the way, with the name of the operation. place: where it stands in the user's source. advice: what to use instead."""

    what: str
    place: str
    advice: str


def refuse(about: str, problems: Sequence[Problem]) -> NoReturn:
    """Raise the LevshaError that lists every problem of a model: what, where, and what could be used instead."""
    lines = [f"  {p.place}: {p.what}; {p.advice}" for p in problems]
    count = f"{len(problems)} operation{'s' if len(problems) > 1 else ''}"
    raise LevshaError("\n".join([f"{about}: {count} cannot become integers (docs/convert.md lists what can):", *lines]))
