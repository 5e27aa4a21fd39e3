"""The targets; this list is the only place that names them all."""

from levsha.errors import LevshaError
from levsha.targets.base import Outcome, Target, Tool
from levsha.targets.host import Host
from levsha.targets.uno import Uno

TARGETS: dict[str, Target] = {target.name: target for target in (Host(), Uno())}


def find_target(name: str) -> Target:
    """Return the target called `name`; LevshaError lists what there is."""
    if name not in TARGETS:
        raise LevshaError(f"target {name!r}: unknown; there are {', '.join(TARGETS)}.")
    return TARGETS[name]


__all__ = ["TARGETS", "Outcome", "Target", "Tool", "find_target"]
