"""What the portable C of layers costs on AVR chips; see benchmarks/kernels.py and benchmarks/windows.py."""

from __future__ import annotations

import math

from levsha.emit.choose import Cost
from levsha.ir import Value
from levsha.ops import Conv, Dense

CYCLES = {  # a MAC: (where the input is zero, where it is not), by the bytes of a sum
    4: (4.0, 64.0),
    2: (3.0, 12.0),
}
FLASH_BYTES = 440  # of a layer's code


def portable_dense(op: Dense, out: Value, nonzero: float) -> Cost:
    """Return the cost of a layer where a share `nonzero` (0..1) of the inputs is not zero."""
    return Cost(_cycles(op.weight_OI.size, out, nonzero), FLASH_BYTES)


def portable_conv(op: Conv, out: Value, nonzero: float) -> Cost:
    """Return the cost of a convolution, all its windows."""
    window = op.groups * _cycles(op.weight_OI.size // op.groups, out, nonzero)
    return Cost(math.prod(op.out_size) * window, FLASH_BYTES)


def _cycles(products: int, out: Value, nonzero: float) -> float:
    zero, other = CYCLES[out.dtype.itemsize]
    return 200 + products * (zero + nonzero * (other - zero))
