"""The settings of every recipe whose float net is captured and becomes integers in the formats asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from levsha.errors import LevshaError, check_range
from levsha.formats import FORMATS, find_format
from levsha.recipes.base import RunSettings, only_named
from levsha.recipes.variant import Variant
from levsha.ways import REFINE

Observer = Literal["measured", "min-max", "percentile", "mean-square"]
FLOAT = "float"  # the base of all variants: the net before it becomes integers


@dataclass(frozen=True)
class Conversion(RunSettings):
    """How a float net becomes integers."""

    weights: tuple[str, ...] = ("int8",)
    """Formats of the weights, a variant each; levsha formats lists them."""
    layer: tuple[str, ...] = ()
    """Layers with a format of their own, PATTERN=FORMAT, such as 'conv1=int8' or 'stage.*=int4'."""
    per_layer: Literal["auto"] | None = None
    """auto: one more variant, whose layers have formats of their own out of --weights (all formats, where there is one), chosen by what each layer costs in each."""
    flash: int | None = None
    """Bytes that weights and other constants of that variant may take; without it, what they take in int4."""
    fine_tune: int = 0
    """Epochs of training with quantised weights and activations, the float net as teacher; 0: none."""
    observer: Observer = "measured"
    """What chooses the steps of values: measured, by what they cost at the outputs; or min-max, percentile (99.99), mean-square."""
    refine: tuple[str, ...] = REFINE
    """What is done to lose less, where it helps on rows that it was not fitted to: offsets (means), a step for each channel (steps),
    also one that follows the weights (equalise), the best scales of weights (scales), their rounding (rounding). --refine alone: nothing."""
    keep: float = 1.0
    """Share of the channels to keep, by structured pruning, before fine-tuning; 1: all."""

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        super().check()
        for name in (*self.weights, *self.layers.values()):
            find_format(name)
        if not self.weights:
            raise LevshaError("--weights: are none; name one format or more, such as int8.")
        only_named(self.weights, "weights")
        unknown = [name for name in self.refine if name not in REFINE]
        if unknown:
            raise LevshaError(f"--refine: holds {unknown[0]!r}; there are {', '.join(REFINE)}, or nothing.")
        if self.flash is not None:
            check_range("flash", self.flash, 1, 1 << 30)
            if self.per_layer is None:
                raise LevshaError(
                    "--flash: limits the variant whose formats are chosen by layer; add --per-layer auto."
                )
        check_range("fine-tune", self.fine_tune, 0, 10_000)
        check_range("keep", self.keep, 0.01, 1.0)

    @property
    def integers(self) -> list[Variant]:
        """The integer variants that are made."""
        mixed = [Variant(FLOAT, FORMATS["int4"], mixed=True)] if self.per_layer else []
        return [*(Variant(FLOAT, FORMATS[name]) for name in self.weights), *mixed]

    @property
    def layers(self) -> dict[str, str]:
        """The formats of single layers, by pattern; LevshaError where one is malformed."""
        found = {}
        for text in self.layer:
            pattern, equals, name = text.partition("=")
            if not pattern or not equals or not name:
                raise LevshaError(f"--layer: is {text!r}; write PATTERN=FORMAT, such as conv1=int8.")
            found[pattern] = name
        return found

    @property
    def deciding(self) -> list[object]:
        """What decides which integers a float net becomes."""
        return [
            *self.weights,
            *self.layer,
            self.fine_tune,
            self.keep,
            self.observer,
            *self.refine,
            self.per_layer,
            self.flash,
        ]
