"""The hand-made kernels of AVR chips; the list at the end is what their planner chooses from."""

from __future__ import annotations

from levsha.emit.choose import NONZERO, Cost, Kernel
from levsha.ir import Code, Op, Value
from levsha.ops import Dense
from levsha.targets.avr import dense24

PORTABLE_CYCLES = {  # of the portable C, a MAC: (where the input is zero, where it is not), by the bytes of a sum; see benchmarks/kernels.py
    4: (4.0, 64.0),
    2: (3.0, 12.0),
}


class Dense24(Kernel):
    """int8 and int4 layers in assembly, sums of 24 or 16 bits: see dense24."""

    name = "dense24"
    op = Dense

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        return isinstance(op, Dense) and dense24.takes(op, out, x[0])

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO) -> Cost:
        assert isinstance(op, Dense)
        return Cost(dense24.estimate(op, x[0], nonzero), 440)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO) -> Cost:
        assert isinstance(op, Dense)
        zero, other = PORTABLE_CYCLES[out.dtype.itemsize]
        return Cost(200 + op.weight_OI.size * (zero + nonzero * (other - zero)), 440)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        assert isinstance(op, Dense)
        name = f"dense24_{op.format.name}_{x[0].c_type[:-2]}_{out.c_type[:-2]}"
        text = dense24.c_function(f"${name}", op.format.name, x[0].c_type, out.c_type, out.c_place)
        return op.in_parts(name, dense24.BLOCK, dense24.packed(op), {name: text})


KERNELS = (Dense24(),)
