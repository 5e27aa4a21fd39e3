"""What differs between C compilers: where constants live, and how a byte of them is read."""

from __future__ import annotations

from dataclasses import dataclass

ALIAS = """#if defined(__GNUC__)   /* the arena's bytes are elements of one type, then of another */
#define $ALIAS __attribute__((__may_alias__))
#else
#define $ALIAS
#endif
typedef int16_t $ALIAS $i16;
typedef int32_t $ALIAS $i32;
"""


@dataclass(frozen=True)
class Dialect:
    """prologue: C that defines, with `$` for the net's prefix: $FLASH behind the name of a constant array, $U8(p), $I16(p)
    and $I32(p) to read an element of one, $KERNEL before an inner loop, $BRANCHES: 1 where a branch costs less than the sums it
    skips, 0 where it keeps them from being computed several at once. slack: bytes behind every value that kernels may read, or fill with
    anything, because they work on whole vectors; 0 where they may not, and memory is scarce."""

    name: str
    prologue: str
    slack: int = 0


PORTABLE = Dialect(
    "portable",
    """#if UINTPTR_MAX > 0xFFFFFFFFu && !defined(__OPTIMIZE_SIZE__)   /* 64-bit processors compute several sums at once, others skip what is zero */
#define $BRANCHES 0
#else
#define $BRANCHES 1
#endif
#if !$BRANCHES && defined(__OPTIMIZE__) && defined(__GNUC__) && !defined(__clang__)
#define $KERNEL __attribute__((optimize("O3")))   /* with less, gcc computes one after the other */
#else
#define $KERNEL
#endif
#define $FLASH
#define $U8(p) (*(p))
#define $I16(p) (*(p))
#define $I32(p) (*(p))
""",
)
