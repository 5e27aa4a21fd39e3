"""Two bits a weight, four weights a byte, the lowest bits first: the symmetric grid and z80ai's."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.formats.base import Format, bit_fields, c_product


class TwoBit(Format):
    """-3, -1, +1, +3: four equal steps, symmetric about zero; digit 0..3 means -3..+3."""

    name = "two_bit"
    meaning = "-3, -1, +1, +3; 4 weights a byte"
    bits = 2.0
    lo, hi = -3, 3
    digit_scale, digit_offset = 2, -3
    digits_per_group = 4
    expected_loss = (6.0, 0.10)
    block = 8

    def to_integers(self, x: Any) -> Any:
        """Return the odd integer nearest to x, from -3 to +3."""
        return (x // 2 * 2 + 1).clip(-3, 3)

    def scale(self, weight_OI: Any) -> Any:
        """Return 0.624 mean |w| per output: least squares for normally distributed weights (Max 1960)."""
        return abs(weight_OI).mean(-1)[:, None] * 0.624

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return (digits << bit_fields(2)).sum(1)

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        return groups[:, None] >> bit_fields(2) & 3

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        lines = ["uint8_t b = $U8(w);"]
        for k in range(self.block):
            lines += ["b = $U8(w + 1);"] if k == 4 else []
            lines.append(f"s{k} += {c_product('b & 3', sum_type, narrow)}; b = (uint8_t)(b >> 2);")
        return lines


class TwoBitZ80(TwoBit):
    """-2, -1, 0, +1: the grid of z80ai; digit 0..3 means -2..+1."""

    name = "two_bit_z80"
    meaning = "-2, -1, 0, +1; 4 weights a byte"
    lo, hi = -2, 1
    digit_scale, digit_offset = 1, -2

    def to_integers(self, x: Any) -> Any:
        """Return the integer nearest to x, from -2 to +1."""
        return x.round().clip(-2, 1)

    def scale(self, weight_OI: Any) -> Any:
        """Return 1.25 mean |w| per output: close to least squares for normally distributed weights."""
        return abs(weight_OI).mean(-1)[:, None] * 1.25
