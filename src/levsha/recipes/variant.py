"""A variant of a run's net: what it starts from, and the format of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format

AUTO = "auto"  # the format of a variant whose layers have formats of their own, as they were chosen


@dataclass(frozen=True)
class Variant:
    """base: the float net. format: of the integers, None for the float net itself. mixed: each layer has a format of its own; `format` is what
    such a net is judged by."""

    base: str
    format: Format | None = None
    mixed: bool = False

    @property
    def name(self) -> str:
        """The name in tables and of files."""
        return f"{self.base}-{self.weights}" if self.format else self.base

    @property
    def weights(self) -> str:
        """What tables call the weights' format."""
        return AUTO if self.mixed else self.format.name if self.format else "float32"

    @property
    def source(self) -> Variant:
        """The float net before any quantisation."""
        return Variant(self.base)


def parse_variant(name: str, bases: Sequence[str]) -> Variant:
    """Return the variant of that name; LevshaError says how names are made.

    >>> parse_variant("pruned-two_bit", ("baseline", "pruned")).format.bits, parse_variant("pruned", ("pruned",)).format
    (2.0, None)
    """
    base, dash, weights = name.rpartition("-") if name not in bases else (name, "", "")
    if base not in bases or (dash and weights not in FORMATS):
        raise LevshaError(
            f"variant {name!r}: unknown; write {' or '.join(bases)}, and with a dash one of {', '.join(FORMATS)}."
        )
    return Variant(base, FORMATS[weights] if dash else None)
