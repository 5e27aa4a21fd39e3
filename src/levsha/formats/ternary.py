"""-1, 0, +1: five weights a byte, read by multiplication."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.formats.base import Format, c_widened

_POWERS = np.array([81, 27, 9, 3, 1])


class Ternary(Format):
    """Five trits a byte (1.6 bits a weight): byte = ceil(q * 256 / 243), q in base 3, the first weight highest.

    Each multiplication of the byte by 3 brings the next digit out at the top: no division and no table.
    """

    name = "ternary"
    meaning = "-1, 0, +1; 5 weights a byte"
    bits = 1.6
    lo, hi = -1, 1
    digit_offset = -1
    digits_per_group = 5
    expected_loss = (8.0, 0.15)
    block = 5

    def scale(self, weight_OI: Any) -> Any:
        """Return 1.4 mean |w| per output, so that weights below 0.7 mean |w| become 0 (Li et al. 2016)."""
        return abs(weight_OI).mean(-1)[:, None] * 1.4

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return -(-(digits @ _POWERS) * 256 // 243)

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        digits, rest = [], groups
        for _ in range(5):
            digits.append(rest * 3 >> 8)
            rest = rest * 3 & 255
        return np.stack(digits, 1)

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        lines, addend = c_widened(sum_type)
        lines += ["uint8_t b = $U8(w);", "uint16_t m;", f"const {sum_type} a2 = {addend} + {addend};"]
        for k in range(self.block):  # two bit tests beat a product: 8-bit compilers would multiply 16 by 16 bits here
            add = f"if (m & 0x100) s{k} += {addend}; if (m & 0x200) s{k} += a2;"
            lines.append("m = (uint16_t)(b * 3u); b = (uint8_t)m;")
            lines.append(f"if ($BRANCHES) {{ {add} }} else s{k} += ({sum_type})(m >> 8) * {addend};")
        return lines

    def c_next(self) -> list[str]:
        lines = ["const uint16_t m = (uint16_t)(b * 3u);", "const int8_t weight = (int8_t)((m >> 8) - 1);"]
        return [*lines, "b = (uint8_t)m;"]
