"""The sets of vector instructions that kernels of this machine are written for, each a C dialect and kernels; see vectors.h of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from levsha.emit.choose import Kernel
from levsha.emit.dialect import Dialect

SLACK = 64  # bytes of the widest vector


@dataclass(frozen=True)
class Instructions:
    """One set of vector instructions. needs: macros that gcc defines where the processor has them."""

    name: str
    needs: tuple[str, ...]
    dialect: Dialect
    kernels: Sequence[Kernel]

    def found(self, machine: str) -> bool:
        """Say whether a processor has them; machine: the macros that gcc defines for it."""
        return all(re.search(rf"^#define {name} ", machine, re.MULTILINE) for name in self.needs)


_PROLOGUE = """#define $BRANCHES 0
#define $KERNEL
#define $FLASH __attribute__((aligned(64)))
#define $U8(p) (*(p))
#define $I16(p) (*(p))
#define $I32(p) (*(p))
"""
INSTRUCTIONS: dict[str, Instructions] = {
    one.name: one for one in (Instructions("portable", (), Dialect("native-portable", _PROLOGUE, SLACK), ()),)
}


def best_of(machine: str) -> Instructions:
    """Return the fastest instructions that a processor has: the first in the list."""
    return next(one for one in INSTRUCTIONS.values() if one.found(machine))
