"""The kernels of this machine, for one set of vector instructions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from levsha.emit.choose import NONZERO, Cost, Kernel
from levsha.emit.fuse import Group
from levsha.ir import Code, Op, Value
from levsha.ops import Conv, Dense
from levsha.targets.native.padded import copied_bytes
from levsha.targets.native.vectors import Vectors
from levsha.targets.native.windows import Windows, takes_group

MOST_STACK = 1 << 20  # bytes of a copy with padding
CYCLES = 0.5  # a multiply-accumulate of the portable C


class VectorConv(Kernel):
    """Convolutions, of depthwise ones those with an output a channel, and what follows them."""

    name = "vector_conv"
    op = Conv

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    def _windows(self, group: Group, values: Mapping[str, Value]) -> Windows:
        return Windows(group, values, self.vectors)

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        if (
            not isinstance(op, Conv)
            or (op.is_depthwise and op.group_shape[0] > 1)
            or x[0].dtype.itemsize > 2
            or op.format.hi > 32767
        ):
            return False
        windows = self._windows((op,), {op.name: out, op.inputs[0]: x[0]})
        return copied_bytes(op, x[0], windows.wide) <= MOST_STACK

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Conv)
        sums = self._windows((op,), {op.name: out, op.inputs[0]: x[0]}).sums
        steps = sums.reads.runs * -(-sums.reads.length // 4) * sum(len(blocks) for blocks in sums.sets)
        return Cost(20 + 2 * steps * math.prod(op.out_size), 0)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        return Cost(20 + op.macs(out, *x) * CYCLES, 0)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        return self._windows((op,), {op.name: out, op.inputs[0]: x[0]}).code()

    def group(self, group: Group, values: Mapping[str, Value]) -> Code | None:
        return self._windows(group, values).code() if takes_group(group) else None


class VectorDense(Kernel):
    """Dense layers: a convolution with one window, which reads everything."""

    name = "vector_dense"
    op = Dense

    def __init__(self, vectors: Vectors) -> None:
        self.conv = VectorConv(vectors)

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        return isinstance(op, Dense) and self.conv.takes(_as_conv(op), out, *x)

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        return self.conv.cost(_as_conv(op), out, *x, nonzero=nonzero)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        return self.conv.portable_cost(_as_conv(op), out, *x, nonzero=nonzero)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        return self.conv.code(_as_conv(op), out, *x)


def _as_conv(op: Op) -> Conv:
    assert isinstance(op, Dense)
    shape = (1, 1, op.weight_OI.shape[1])
    return Conv(name=op.name, inputs=op.inputs, shape=shape, kernel=(1, 1), weight_OI=op.weight_OI, format=op.format)
