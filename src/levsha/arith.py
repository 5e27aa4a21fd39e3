"""Rounding shift and saturation: defined once, for numpy integers and for integer-valued torch floats alike."""

from __future__ import annotations

from typing import Any

INT16_MAX = 32_767
INT32_MAX = 2_147_483_647
FLOAT32_EXACT = 1 << 24  # integers below this magnitude are exact in float32
FLOAT64_EXACT = 1 << 53


def rescale(
    x: Any, multiplier: Any, bias: Any, bias_shift: int, shift: int, rounding: int, lo: int, hi: int,
    pre_shift: int = 0, widen: Any = 1,
) -> Any:  # fmt: skip
    """Return clip((round(x / 2**pre_shift) * multiplier + ((bias << bias_shift) + rounding) * widen) >> shift >> log2(widen), lo, hi).

    Shifts round down; the first one, by pre_shift, to nearest with halves up. x: integers, channels last; multiplier, bias,
    widen (powers of two): integers that broadcast against x. Works on int64 arrays and, because a division by a power of two
    and a floor are exact there, on float64 tensors that hold integers below 2**53.

    >>> import numpy as np
    >>> rescale(np.array([-3, -2, 2, 3]), 1, 0, 0, shift=2, rounding=2, lo=-8, hi=7)   # halves go up
    array([-1,  0,  1,  1])
    """
    if pre_shift:
        x = (x + half(pre_shift)) // (1 << pre_shift)
    wide = x * multiplier + (bias * (1 << bias_shift) + rounding) * widen
    return (wide // (widen * (1 << shift))).clip(lo, hi)


def half(shift: int) -> int:
    """Return the constant that turns a shift right by `shift` bits into rounding to nearest, halves up.

    >>> half(0), half(4)
    (0, 8)
    """
    return (1 << shift) >> 1
