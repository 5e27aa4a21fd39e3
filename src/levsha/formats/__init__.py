"""The weight formats, one a file; this list is the only place that names them all."""

from levsha.errors import LevshaError
from levsha.formats.base import Format, loss_verdict
from levsha.formats.binary import Binary
from levsha.formats.int3 import Int3
from levsha.formats.int4 import Int4
from levsha.formats.int8 import Int8
from levsha.formats.int16 import Int16
from levsha.formats.ternary import Ternary
from levsha.formats.two_bit import TwoBit, TwoBitZ80

EVERY = (Binary(), Ternary(), TwoBit(), TwoBitZ80(), Int3(), Int4(), Int8(), Int16())
FORMATS: dict[str, Format] = {weights.name: weights for weights in EVERY}


def find_format(name: str) -> Format:
    """Return the format called `name`; LevshaError lists what there is."""
    if name not in FORMATS:
        raise LevshaError(f"format {name!r}: unknown; there are {', '.join(FORMATS)}.")
    return FORMATS[name]


__all__ = ["FORMATS", "Format", "find_format", "loss_verdict"]
