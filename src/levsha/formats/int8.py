"""-127 .. 127: one byte a weight, two's complement."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.formats.base import Format


class Int8(Format):
    """Eight bits a weight; the digit is the weight itself."""

    name = "int8"
    meaning = "-127 .. 127; 1 weight a byte"
    bits = 8.0
    lo, hi = -127, 127
    expected_loss = (0.5, 0.01)
    block = 4

    def scale(self, weight_OI: Any) -> Any:
        """Return max |w| / 127 per output, so that nothing is clipped."""
        largest = abs(weight_OI).max(-1)
        return (largest if isinstance(weight_OI, np.ndarray) else largest.values)[:, None] / 127

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return digits[:, 0] & 255

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        return ((groups ^ 128) - 128)[:, None]

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        wide = "int32_t" if sum_type == "uint32_t" else "int16_t"
        if narrow:  # a signed and an unsigned byte: the product fits 16 bits
            return [f"s{k} += (unsigned)((int16_t)(int8_t)$U8(w + {k}) * a);" for k in range(self.block)]
        return [f"s{k} += ({sum_type})({wide})(int8_t)$U8(w + {k}) * ({sum_type})a;" for k in range(self.block)]

    def c_next(self) -> list[str]:
        return ["const int8_t weight = (int8_t)b;"]
