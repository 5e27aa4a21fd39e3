"""Every setting of the recipe tinychat; the command line's flags are derived from these dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from levsha.errors import LevshaError, check_range
from levsha.formats import FORMATS, Format, find_format
from levsha.train.schedule import Schedule

BASES = ("baseline", "pruned")
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

    int8: Schedule = _INT8
    int4: Schedule = _INT4
    two_bit: Schedule = _TWO_BIT
    two_bit_z80: Schedule = _QUANTISED
    ternary: Schedule = _TERNARY
    binary: Schedule = _BINARY
    percentile: float = 99.9
    """Activations are scaled so that this percentile of the positive ones becomes the largest integer."""


ACTIVATION_TOP = {"int8": 255, "int4": 63, "two_bit": 127, "two_bit_z80": 127, "ternary": 255, "binary": 255}
"""Largest activation integer for each weight format, so that sums over 128 inputs fit 16 bits; 127 where it is not named."""
LIMITS = {"splits": (1, 100), "vectors": (1, 1_000_000), "prompts": (1, 10_000), "jobs": (0, 256), "seed": (0, 1 << 30)}
SUM_BITS = {"int8": 32}
"""Widest sum a format's layers may need; 16 where it is not named."""


def quantisation_of(name: str) -> tuple[Format, int, int]:
    """Return a format, the largest activation integer that goes with it, and the bits of its sums."""
    return FORMATS[name], ACTIVATION_TOP.get(name, 127), SUM_BITS.get(name, 16)


@dataclass(frozen=True)
class TinyChat:
    """Train a chat net on query|response pairs, prune it, quantise it, and ship it to a chip as exact integers."""

    preset: Literal["quick", "full"] = "quick"
    """quick: one split of each kind, in minutes; learns its pairs well. full: three splits of each kind, six teachers and strong
    regularisation, for noisy data such as z80ai's, where one query has many replies."""
    data: Path | None = None
    """A text file of query|response lines, plain or .gz; without it, the corpus that comes with Levsha."""
    baseline: Path | None = None
    """A model.npz of z80ai, to be evaluated on the same data and put beside the table."""
    out: Path = Path("runs/tinychat")
    """Folder of the run; repeating the command continues there."""
    seed: int = 0
    """Seed of the first split and of everything random in it; the next split has the next seed."""
    splits: int = 1
    """Number of splits of each kind (by sample, by unique query); accuracies are their means."""
    variants: tuple[str, ...] = VARIANTS
    """What to make: baseline or pruned, alone (float) or with a format behind it, such as baseline-binary."""
    hidden: tuple[int, ...] = (256, 192, 128)
    """Neurons of the baseline's hidden layers."""
    target: str = "uno"
    """The chip to build for, check and measure; levsha targets lists them."""
    vectors: int = 1000
    """Random and real vectors with which each net on the chip is compared with the interpreter."""
    prompts: int = 40
    """Real queries typed into the simulated chip to measure cycles, half of them seen in training."""
    jobs: int = 0
    """Processes at work at the same time; 0: one a core."""
    train: Train = field(default_factory=Train)
    prune: Prune = field(default_factory=Prune)
    quantise: Quantise = field(default_factory=Quantise)

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        if not self.variants:
            raise LevshaError(f"--variants: is empty; name one or more of {', '.join(VARIANTS)}.")
        for name in self.variants:
            parse_variant(name)
        if len(set(self.variants)) < len(self.variants):
            raise LevshaError(f"--variants: one is named twice in {' '.join(self.variants)}; name each once.")
        for name, (low, high) in LIMITS.items():
            check_range(name, getattr(self, name), low, high)
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

    def schedule(self, format_name: str) -> Schedule:
        """Return the schedule of a format."""
        return getattr(self.quantise, format_name, _QUANTISED)


def parse_variant(name: str) -> tuple[str, str | None]:
    """Split a variant's name into its base and its format, None for float.

    >>> parse_variant("pruned-two_bit"), parse_variant("baseline")
    (('pruned', 'two_bit'), ('baseline', None))
    """
    base, dash, weights = name.partition("-")
    if base not in BASES or (dash and weights not in FORMATS):
        raise LevshaError(
            f"variant {name!r}: unknown; write {' or '.join(BASES)}, and with a dash one of {', '.join(FORMATS)}."
        )
    return base, find_format(weights).name if dash else None


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
