"""What the portable C of layers costs on AVR chips, measured by benchmarks/windows.py and benchmarks/kernels.py."""

from __future__ import annotations

import math

from levsha.emit.choose import Cost
from levsha.ir import Value
from levsha.ops import Conv, Dense
from levsha.ops.conv_code import is_contiguous

CYCLES = {  # a MAC with sums of 16 bits: where the input is zero, and what it takes more where it is not
    "binary": (2.1, 3.9), "ternary": (4.2, 17.0), "two_bit": (2.4, 10.2), "two_bit_z80": (2.4, 10.2), "int3": (2.4, 15.1),
    "int4": (3.0, 9.3),
}  # fmt: skip
OTHERS = (3.0, 9.0)
WIDE = {"int4": (7.7, 40.3), "int8": (6.4, 55.6)}  # the same with sums of 32 bits
OTHERS_WIDE = (7.0, 45.0)
FLASH_BYTES = 440  # of a layer's code


def portable_dense(op: Dense, out: Value, nonzero: float) -> Cost:
    """Return the cost of a layer where a share `nonzero` (0..1) of the inputs is not zero."""
    return Cost(200 + op.weight_OI.size * _cycles(op, out, nonzero), FLASH_BYTES)


def portable_conv(op: Conv, out: Value, nonzero: float, pooled: bool) -> Cost:
    """Return the cost of a convolution, all its windows; pooled: only the largest of several are wanted."""
    window = 500 * op.groups + op.weight_OI.size * _cycles(op, out, nonzero)
    return Cost(math.prod(op.out_size) * (window + around(op, out, pooled)), FLASH_BYTES)


def around(op: Conv, out: Value, pooled: bool) -> float:
    """Return the cycles of a window for gathering its elements, and for keeping the larger sums."""
    gathers = 0 if is_contiguous(op) else 45 + 8.3 * op.weight_OI.shape[1] * op.groups
    return gathers + (30 + (38 if out.dtype.itemsize == 4 else 25) * len(op.weight_OI)) * pooled


def _cycles(op: Dense | Conv, out: Value, nonzero: float) -> float:
    wide = out.dtype.itemsize == 4
    zero, more = (WIDE if wide else CYCLES).get(op.format.name, OTHERS_WIDE if wide else OTHERS)
    return zero + nonzero * more
