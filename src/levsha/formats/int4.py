"""-7 .. 7: two weights a byte, the low nibble first."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.formats.base import Format, bit_fields, c_product


class Int4(Format):
    """Four bits a weight; digit 0..14 means -7..+7 (15 is not used)."""

    name = "int4"
    meaning = "-7 .. 7; 2 weights a byte"
    bits = 4.0
    lo, hi = -7, 7
    digit_offset = -7
    digits_per_group = 2
    expected_loss = (2.0, 0.03)
    block = 4

    def scale(self, weight_OI: Any) -> Any:
        """Return 0.42 mean |w| per output: least squares for normally distributed weights (Max 1960)."""
        return abs(weight_OI).mean(-1)[:, None] * 0.42

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return (digits << bit_fields(4)).sum(1)

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        return groups[:, None] >> bit_fields(4) & 15

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        lines = ["uint8_t b = $U8(w);"]
        for k in range(self.block):
            lines += ["b = $U8(w + 1);"] if k == 2 else []
            digit = "b >> 4" if k % 2 else "b & 15"
            lines.append(f"s{k} += {c_product(digit, sum_type, narrow)};")
        return lines
