"""The targets; this list is the only place that names them all."""

from levsha.errors import LevshaError
from levsha.targets.avr import ARDUINO, Uno
from levsha.targets.base import Target
from levsha.targets.firmware import Answer, Conversation, Firmware, Outcome, Tool, Typed, find_image
from levsha.targets.host import Host

DEFAULT_TARGET = "uno"
TARGETS: dict[str, Target] = {target.name: target for target in (Host(), Uno())}


def find_target(name: str) -> Target:
    """Return the target called `name`; LevshaError lists what there is."""
    if name not in TARGETS:
        raise LevshaError(f"target {name!r}: unknown; there are {', '.join(TARGETS)}.")
    return TARGETS[name]


__all__ = [
    "ARDUINO",
    "DEFAULT_TARGET",
    "TARGETS",
    "Answer",
    "Conversation",
    "Firmware",
    "Outcome",
    "Target",
    "Tool",
    "Typed",
    "find_image",
    "find_target",
]
