"""-1 and +1: eight weights a byte, the lowest bit first."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.formats.base import Format, bit_fields, c_widened


class Binary(Format):
    """One bit a weight; digit 1 means +1, digit 0 means -1."""

    name = "binary"
    meaning = "-1, +1; 8 weights a byte"
    bits = 1.0
    lo, hi = -1, 1
    digit_scale, digit_offset = 2, -1
    digits_per_group = 8
    expected_loss = (25.0, 0.30)
    block = 8

    def to_integers(self, x: Any) -> Any:
        """Return the sign of x, +1 for zero."""
        return (x >= 0) * 2.0 - 1.0

    def scale(self, weight_OI: Any) -> Any:
        """Return mean |w| per output, the least-squares scale (Rastegari et al. 2016, XNOR-Net)."""
        return abs(weight_OI).mean(-1)[:, None]

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return (digits << bit_fields(1)).sum(1)

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        return groups[:, None] >> bit_fields(1) & 1

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        lines, addend = c_widened(sum_type)
        return [*lines, "const uint8_t b = $U8(w);"] + [f"if (b & {1 << k}) s{k} += {addend};" for k in range(8)]
