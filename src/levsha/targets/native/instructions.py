"""The sets of vector instructions that kernels of this machine are written for; the best is first in the list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from levsha.emit.choose import Kernel
from levsha.targets.native.avx2 import AVX2
from levsha.targets.native.kernels import VectorConv, VectorDense
from levsha.targets.native.portable import PORTABLE
from levsha.targets.native.vectors import Vectors
from levsha.targets.native.vnni import VNNI

INSTRUCTIONS: dict[str, Vectors] = {one.name: one for one in (VNNI, AVX2, PORTABLE)}


def kernels_of(vectors: Vectors) -> Sequence[Kernel]:
    """Return what is computed in vectors."""
    return VectorConv(vectors), VectorDense(vectors)


def found_on(machine: str) -> list[str]:
    """Return the instructions that a processor has, the best first; machine: the macros that gcc defines for it."""
    has = lambda name: re.search(rf"^#define {name} ", machine, re.MULTILINE)  # noqa: E731
    return [name for name, one in INSTRUCTIONS.items() if all(map(has, one.needs))]
