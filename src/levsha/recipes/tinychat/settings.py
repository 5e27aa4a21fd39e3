"""Every setting of the recipe tinychat; the command line's flags are derived from these dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from levsha.errors import LevshaError, check_range
from levsha.formats import FORMATS, Format
from levsha.recipes.base import RunSettings, only_named
from levsha.recipes.variant import Variant, parse_variant
from levsha.train.schedule import Schedule

BASES = ("baseline", "pruned")
GIVEN = "z80ai"  # the base of the net that --from-baseline starts from
VARIANTS = ("baseline", "pruned", "pruned-int4", "pruned-two_bit", "pruned-ternary", "pruned-binary")


@dataclass(frozen=True)
class Train(Schedule):
    """The float baseline: its schedule, its teachers, and how its data is varied."""

    epochs: int = 60
    rate: float = 3e-3
    dropout: float = 0.05
    weight_decay: float = 0.02
    teachers: int = 1
    """With more than 1: so many nets learn from the labels, the baseline learns from their mean, and all of them teach."""
    noisy_queries: int = 32
    """Noisy variants of each query (typos, words dropped, swapped or doubled), made once."""
    clean: float = 0.75
    """Share of the samples whose query is left as it is."""


@dataclass(frozen=True)
class Prune(Schedule):
    """Structured pruning: whole neurons go, the net gets physically smaller, then it is trained again."""

    keep: float = 0.5
    """Share of each hidden layer's neurons that stay."""
    epochs: int = 50
    rate: float = 2e-3
    distil: float = 0.4


_QUANTISED = Schedule(epochs=120, rate=3e-3, distil=0.4, recombined=0.1, average=0.99, clip=3.0)
_INT8 = Schedule(epochs=0)
_INT4 = replace(_QUANTISED, epochs=24, rate=1.5e-3, recombined=0.0, clip=0.0)
_TWO_BIT, _TERNARY = replace(_QUANTISED, clip=4.7), replace(_QUANTISED, rate=4e-3)
_BINARY = replace(_QUANTISED, epochs=160, rate=8e-3, temperature=1.0)


@dataclass(frozen=True)
class Quantise:
    """Training with quantised weights and activations, one schedule a format; 8 bits need none."""

    int16: Schedule = _INT8
    int8: Schedule = _INT8
    int4: Schedule = _INT4
    int3: Schedule = _INT4
    two_bit: Schedule = _TWO_BIT
    two_bit_z80: Schedule = _QUANTISED
    ternary: Schedule = _TERNARY
    binary: Schedule = _BINARY
    percentile: float = 99.9
    """Activations are scaled so that this percentile of the positive ones becomes the largest integer."""


ACTIVATION_TOP = {
    "int16": 255,
    "int8": 255,
    "int4": 63,
    "two_bit": 127,
    "two_bit_z80": 127,
    "ternary": 255,
    "binary": 255,
}
"""Largest activation integer for each weight format, so that sums over 128 inputs fit 16 bits; 127 where it is not named."""
SUM_BITS = {"int8": 32, "int16": 32}
"""Widest sum a format's layers may need; 16 where it is not named."""


def top_of(weights: Format) -> int:
    """Return the largest activation integer that goes with a format."""
    return ACTIVATION_TOP.get(weights.name, 127)


def sum_bits_of(weights: Format) -> int:
    """Return the bits of a format's sums."""
    return SUM_BITS.get(weights.name, 16)


@dataclass(frozen=True)
class TinyChat(RunSettings):
    """Train a chat net on query|response pairs, prune it, quantise it, and ship it to a chip as exact integers."""

    preset: Literal["quick", "full"] = "quick"
    """quick: one split of each kind, in minutes; learns its pairs well. full: three splits of each kind, six teachers and strong
    regularisation, for noisy data such as z80ai's, where one query has many replies."""
    out: Path = Path("runs/tinychat")
    data: Path | None = None
    """A text file of query|response lines, plain or .gz; without it, the corpus that comes with Levsha."""
    baseline: Path | None = None
    """A model.npz of z80ai, to be evaluated on the same data and put beside the table."""
    from_baseline: bool = False
    """Start from the net of --baseline instead of an untrained one: evaluated as it is, fine-tuned, pruned, fine-tuned, quantised."""
    variants: tuple[str, ...] = VARIANTS
    """What to make: baseline or pruned, alone (float) or with a format behind it, such as baseline-binary."""
    hidden: tuple[int, ...] = (256, 192, 128)
    """Neurons of the baseline's hidden layers."""
    prompts: int = 40
    """Real queries typed into the simulated chip to measure cycles, half of them seen in training."""
    train: Train = field(default_factory=Train)
    prune: Prune = field(default_factory=Prune)
    quantise: Quantise = field(default_factory=Quantise)

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        super().check()
        if not self.variants:
            raise LevshaError(f"--variants: is empty; name one or more of {', '.join(VARIANTS)}.")
        for name in self.variants:
            parse_variant(name, BASES)
        only_named(self.variants, "variants")
        check_range("prompts", self.prompts, 1, 10_000)
        if self.from_baseline and not self.baseline:
            raise LevshaError("--from-baseline: needs the net to start from; give its file with --baseline.")
        if not self.hidden or min(self.hidden) < 2 or max(self.hidden) > 4096:
            raise LevshaError(
                f"--hidden: is {' '.join(map(str, self.hidden))}; give one or more layers of 2 to 4096 neurons."
            )
        if not 0 < self.prune.keep <= 1:
            raise LevshaError(f"--prune.keep: is {self.prune.keep}; allowed is more than 0, up to 1.")
        self.train.check("train")
        check_range("train.teachers", self.train.teachers, 1, 50)
        check_range("train.noisy-queries", self.train.noisy_queries, 0, 1000)
        check_range("train.clean", self.train.clean, 0, 1)
        check_range("quantise.percentile", self.quantise.percentile, 1, 100)
        if self.train.distil and self.train.teachers < 2:
            raise LevshaError(
                f"--train.distil: the baseline learns from a mean of nets; --train.teachers is {self.train.teachers}, give 2 or more."
            )
        self.prune.check("prune")
        for name in FORMATS:
            self.schedule(name).check(f"quantise.{name}")

    @property
    def made(self) -> list[Variant]:
        """The variants, in the order asked for; before them the net that the chain starts from, if one is given."""
        given = [Variant(GIVEN, FORMATS["two_bit_z80"])] if self.from_baseline else []
        return [*given, *(parse_variant(name, BASES) for name in self.variants)]

    def schedule(self, format_name: str) -> Schedule:
        """Return the schedule of a format."""
        return getattr(self.quantise, format_name, _QUANTISED)


def preset(name: str) -> TinyChat:
    """Return the settings a preset stands for."""
    return _FULL if name == "full" else TinyChat()


_LONG = replace(_QUANTISED, epochs=60, distil=0.8, recombined=0.25)
_FULL = TinyChat(
    preset="full",
    splits=3,
    train=Train(
        teachers=6, dropout=0.25, weight_decay=0.1, label_smoothing=0.05, clean=0.5, distil=0.7, temperature=1.3
    ),
    prune=Prune(epochs=60, dropout=0.1, weight_decay=0.05, distil=0.7, average=0.99),
    quantise=Quantise(
        int4=replace(_LONG, epochs=16, rate=1.5e-3, distil=0.7, recombined=0.0, clip=0.0),
        two_bit=replace(_LONG, clip=4.7),
        two_bit_z80=_LONG,
        ternary=replace(_LONG, rate=4e-3),
        binary=replace(_LONG, epochs=90, rate=8e-3, distil=0.7, recombined=0.3, temperature=1.0),
    ),
)
