"""The hand-made kernels of AVR chips; the list at the end is what their planner chooses from."""

from __future__ import annotations

import math

from levsha.emit.choose import NONZERO, Cost, Kernel
from levsha.ir import Code, Op, Value
from levsha.ops import Conv, Dense
from levsha.ops.conv_code import map_code, window_code
from levsha.ops.window import WindowCode
from levsha.targets.avr import dense24, dense24_text
from levsha.targets.avr.portable import FLASH_BYTES, around, portable_conv, portable_dense
from levsha.targets.avr.requantize24 import Requantize24
from levsha.targets.avr.window24 import Window24

VARIANT_BYTES = 400  # of weights that another number of outputs must save: its code takes as much


class Dense24(Kernel):
    """int8 and int4 layers in assembly, sums of 24 or 16 bits: see dense24."""

    name = "dense24"
    op = Dense

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        return isinstance(op, Dense) and dense24.takes(op, out, x[0])

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Dense)
        return Cost(dense24.estimate(op, x[0].c_type, out.c_type, nonzero, block_of(op)), FLASH_BYTES)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Dense)
        return portable_dense(op, out, nonzero)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        assert isinstance(op, Dense)
        block = block_of(op)
        name, functions = _functions(op, out, x[0], block)
        return op.in_parts(name, block, dense24.packed(op, block), functions)


class Conv24(Kernel):
    """Convolutions with the same assembly, window after window; what gathers a window is the portable C."""

    name = "conv24"
    op = Conv

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        return isinstance(op, Conv) and not op.is_depthwise and dense24.takes(op, out, x[0])

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Conv)
        window = sum(dense24.estimate(group, x[0].c_type, out.c_type, nonzero) for group in _groups(op))
        window += around(op, out, pooled)
        return Cost(math.prod(op.out_size) * window, FLASH_BYTES)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Conv)
        return portable_conv(op, out, nonzero, pooled)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        assert isinstance(op, Conv)
        return map_code(op, out, self.window(op, out, *x))

    def window(self, op: Op, out: Value, *x: Value) -> WindowCode:
        assert isinstance(op, Conv)
        name, functions = _functions(op, out, x[0])
        packed = [dense24.packed(group) for group in _groups(op)]
        return window_code(op, out, x[0], name, functions, dense24_text.BLOCK, packed)


def block_of(op: Dense) -> int:
    """Return how many outputs a block best has: as many as there are registers for, or fewer, where too many weights would fill up the last block."""
    outputs, count = op.weight_OI.shape
    step = op.format.digits_per_group  # whole bytes
    fewer = -(-outputs // (-(-outputs // dense24_text.BLOCK) * step)) * step
    spared = (-outputs % dense24_text.BLOCK - -outputs % fewer) * count // step
    return fewer if spared > VARIANT_BYTES else dense24_text.BLOCK


def _functions(op: Dense | Conv, out: Value, x: Value, block: int = dense24_text.BLOCK) -> tuple[str, dict[str, str]]:
    """Name and text of the assembly for a layer."""
    name = (
        f"dense24_{op.format.name}_{x.c_type[:-2]}_{out.c_type[:-2]}{f'_{block}' if block < dense24_text.BLOCK else ''}"
    )
    return name, {name: dense24_text.c_function(f"${name}", op.format.name, x.c_type, out.c_type, out.c_place, block)}


def _groups(op: Conv) -> list[Dense]:
    """What each group computes of one window."""
    weights = op.weight_OI.reshape(op.groups, op.group_shape[0], -1)
    return [Dense(name=op.name, inputs=op.inputs, weight_OI=weight_OI, format=op.format) for weight_OI in weights]


KERNELS = (Dense24(), Conv24(), Window24(), Requantize24())
