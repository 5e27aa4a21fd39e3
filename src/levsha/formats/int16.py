"""-32767 .. 32767: two bytes a weight, two's complement, the low byte first."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.arith import INT16_MAX
from levsha.formats.base import Format

LARGEST_SUM = (
    1 << 30
) // 255  # of the magnitudes of a row: of inputs of 8 bits, 31 bits hold every sum, with a bit to spare


class Int16(Format):
    """Sixteen bits a weight; the digit is the weight itself."""

    name = "int16"
    meaning = "-32767 .. 32767; 1 weight in 2 bytes"
    bits = 16.0
    lo, hi = -INT16_MAX, INT16_MAX
    bytes_per_group = 2
    expected_loss = (0.5, 0.01)
    block = 4

    def scale(self, weight_OI: Any) -> Any:
        """Return max |w| / 32767 per output, so that nothing is clipped; more where a row's sums of products with bytes could exceed 31 bits."""
        magnitude_OI = abs(weight_OI)
        largest = magnitude_OI.max(-1)
        scale_O = (largest if isinstance(weight_OI, np.ndarray) else largest.values) / INT16_MAX
        least_O = magnitude_OI.sum(-1) / LARGEST_SUM
        return scale_O.clip(least_O)[:, None]

    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        return digits[:, 0]

    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        return ((groups ^ 0x8000) - 0x8000)[:, None]

    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        wide = "(uint32_t)(int32_t)" if sum_type == "uint32_t" else "(unsigned)"
        places = [f"$U8(w + {2 * k}) | (uint16_t)$U8(w + {2 * k + 1}) << 8" for k in range(self.block)]
        return [f"s{k} += {wide}(int16_t)({place}) * ({sum_type})a;" for k, place in enumerate(places)]

    def c_next(self) -> list[str]:
        return ["const int16_t weight = (int16_t)b;"]
