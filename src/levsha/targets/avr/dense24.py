"""Dense layers of int8 and int4 weights in AVR assembly, with sums of 24 bits (16 where the result fits).

Eight sums live in registers while the inputs go by once; a zero input is skipped. The weights are stored as digits = bias - weight,
which are unsigned and never zero: a product with a uint8_t is unsigned, and one with an int8_t has the sign of the input, so
that its third byte is a constant, which `sbci` takes in. The sums start at bias * sum of x, and digit * x is subtracted.

Two 4-bit digits come in a byte b = d0 + 16 d1: p collects b * x and q collects (b with its nibbles swapped) * x, with no
masking. With p = y0 + 16 y1 and q = y1 + 16 y0 follow y0 = (16 q - p) / 255 and y1 = q - 16 y0; 255 is odd, so that this holds
in arithmetic that wraps: 1 / 255 = -(1 + 2**8 + 2**16) modulo 2**24. The proven range of the result makes it exact.
"""

from __future__ import annotations

import numpy as np

from levsha.ir import Value
from levsha.ops import Conv, Dense
from levsha.ops.dense import ARRAY_BYTES
from levsha.targets.avr.dense24_text import BIAS, BLOCK, SUM_BYTES, Assembly

_LIMIT = 1 << 23


def takes(op: Dense | Conv, out: Value, x: Value) -> bool:
    """Say whether the kernel computes this layer exactly: its formats, its types, results proven to fit signed 24 bits.

    A block of outputs must also fit one array in program memory, for weights are split between blocks.
    """
    typed = op.format.name in BIAS and x.c_type in ("uint8_t", "int8_t")
    return typed and sums_fit(out) and block_bytes(op) <= ARRAY_BYTES


def sums_fit(out: Value) -> bool:
    """Say whether results have 16 bits, or 24 of 32."""
    return out.c_type in SUM_BYTES and out.lo >= -_LIMIT and out.hi < _LIMIT


def sum_bytes(out: Value) -> int:
    """Return the bytes of a sum: 2 or 3."""
    return SUM_BYTES[out.c_type]


def block_bytes(op: Dense | Conv) -> int:
    """Return the bytes of one block of outputs: the packed weights may be cut at any multiple of it."""
    return op.format.packed_bytes(BLOCK * op.weight_OI.shape[1])


def packed(op: Dense, block: int = BLOCK) -> np.ndarray:
    """Return the weight bytes in the order the kernel reads them: block of outputs, input, output in the block.

    A byte holds one digit, or two, the lower output in the low nibble. Weights of zero fill up the last block.
    """
    outputs, count = op.weight_OI.shape
    rows = np.zeros((-(-outputs // block) * block, count), np.int64)
    rows[:outputs] = op.weight_OI
    digits = (BIAS[op.format.name] - rows).reshape(-1, block, count).swapaxes(1, 2).reshape(-1)
    return (digits if op.format.name == "int8" else digits[::2] | digits[1::2] << 4).astype(np.uint8)


def estimate(op: Dense, x_type: str, y_type: str, nonzero: float, block: int = BLOCK) -> float:
    """Return the cycles of a call where a share `nonzero` (0..1) of the inputs is not zero, half of the signed ones negative.

    Instructions counted one by one, and 200 cycles for the call and the saving of registers.
    """
    outputs, count = op.weight_OI.shape
    kernel = Assembly.of(op.format.name, x_type, y_type, block)
    blocks, passes = -(-outputs // block), -(-count // 256)
    an_input = 9 + nonzero * (kernel.nonzero_cycles - 9)
    a_block = 32 + 25 * kernel.bytes + 7 * passes
    a_result = (33.5 if kernel.paired else 22) if kernel.wide else (20.5 if kernel.paired else 16)
    return 200 + (11 + kernel.signed) * count + blocks * (a_block + an_input * count) + a_result * outputs
