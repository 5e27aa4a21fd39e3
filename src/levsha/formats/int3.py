"""-4 .. 3: eight weights in three bytes, the lowest bits first."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.formats.base import Format, bit_fields, c_product

_DIGITS = ("b & 7", "b >> 3 & 7", "b >> 6 | (c & 1) << 2", "c >> 1 & 7", "c >> 4 & 7", "c >> 7 | (d & 3) << 1", "d >> 2 & 7", "d >> 5")  # fmt: skip


class Int3(Format):
    """Three bits a weight; digit 0..7 means -4..+3."""

    name = "int3"
    meaning = "-4 .. 3; 8 weights in 3 bytes"
    bits = 3.0
    lo, hi = -4, 3
    digit_offset = -4
    digits_per_group, bytes_per_group = 8, 3
    expected_loss = (4.0, 0.06)
    block = 8

    def scale(self, weight_OI: Any) -> Any:
        """Return 0.7 mean |w| per output: close to least squares for normally distributed weights."""
        return abs(weight_OI).mean(-1)[:, None] * 0.7

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return (digits << bit_fields(3, 24)).sum(1)

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        return groups[:, None] >> bit_fields(3, 24) & 7

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        read = "const uint8_t b = $U8(w), c = $U8(w + 1), d = $U8(w + 2);"
        return [read, *(f"s{k} += {c_product(digit, sum_type, narrow)};" for k, digit in enumerate(_DIGITS))]
