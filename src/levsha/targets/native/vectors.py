"""What kernels of this machine are written in: vectors of 32-bit sums, and steps that add several products to each of them.

A kernel's text calls, for N lanes: $load, $fill, $max, $min; $bytes_u, $bytes_s, $pairs (the same four bytes or two int16 in every lane);
$weights_b, $weights_p (as many weights for each lane), $dot_b, $dot_p (adds their products); $widen_u8, $widen_i8, $widen_i16 (N elements);
$store_1, $store_2, $store_4 (the low bytes of N sums). What differs between processors is the C of these and how weights lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from levsha.emit.dialect import Dialect

SLACK = 64  # bytes of the widest vector


@dataclass(frozen=True)
class Vectors:
    """One set of vector instructions.

    needs: macros that gcc defines where a processor has them. text: C that defines the functions above. lanes: how many sums a vector may
    have, the most first. byte_type: C type of a weight that meets bytes. arrange: weights (lanes, 4 or 2) of one step, in the order
    in which they lie. offset: what $bytes_s adds to every byte. registers: how many sums it is good to have at once, as vectors.
    """

    name: str
    needs: tuple[str, ...]
    text: str
    lanes: tuple[int, ...]
    byte_type: str
    arrange: Callable[[np.ndarray], np.ndarray]
    offset: int = 0
    registers: int = 4

    @property
    def dialect(self) -> Dialect:
        """The C dialect of a library."""
        return Dialect(f"native-{self.name}", _PROLOGUE + self.text, SLACK)


_PROLOGUE = """#include <string.h>
#define $BRANCHES 0
#define $KERNEL __attribute__((noinline))
#define $FLASH __attribute__((aligned(64)))
#define $U8(p) (*(p))
#define $I16(p) (*(p))
#define $I32(p) (*(p))
typedef int32_t $v16 __attribute__((vector_size(64)));
typedef int32_t $v8 __attribute__((vector_size(32)));
"""
