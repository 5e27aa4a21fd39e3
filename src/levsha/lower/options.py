"""How a net is lowered: what a caller may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ways import OBSERVERS, REFINE


@dataclass(frozen=True)
class Options:
    """How a net is lowered.

    format: of the weights; formats: of single layers by name. top: largest integer behind a clip from 0. sum_bits: 16 or 32,
    the widest sum a layer may need. percentile: of a value's elements; what lies beyond is clipped, the steps of all the rest
    get finer; None: as much is clipped as makes the mean square error least, behind a table 0.05 % on both sides. measured: this is a
    conversion, which looks at what it loses and makes up for some of it. observer: what chooses the steps of values then: what they cost at the outputs
    (measured), the largest magnitude (min-max), percentile 99.99, or the least square error. refine: what is done, each where it costs less at the outputs on rows
    that it was not fitted to. means: offsets make up for what rounded weights do to the means (bias correction); steps: a value may have a step for each channel;
    equalise: these may follow the weights that read them (cross-layer equalisation); scales: of weights, exactly the best, or of the largest;
    rounding: refined by what layers make of data, for 4 bits and below.
    """

    format: Format = FORMATS["int8"]
    formats: Mapping[str, Format] = field(default_factory=dict)
    top: int = 255
    sum_bits: int = 32
    percentile: float | None = None
    measured: bool = False
    observer: str = "measured"
    refine: tuple[str, ...] = REFINE

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise LevshaError(f"observer: is {self.observer!r}; there are {', '.join(OBSERVERS)}.")
        unknown = [name for name in self.refine if name not in REFINE]
        if unknown:
            raise LevshaError(f"refine: holds {unknown[0]!r}; there are {', '.join(REFINE)}, or none.")

    def does(self, what: str) -> bool:
        """Say whether a conversion does this, one of REFINE."""
        return self.measured and what in self.refine

    def format_of(self, layer: str) -> Format:
        """Return the format of a layer's weights."""
        return self.formats.get(layer, self.format)
