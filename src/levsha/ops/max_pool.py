"""y[p, c] = the largest x[position, c] in window p; padding never wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np

from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError
from levsha.ir import C_TYPES, Code, Constant, Graph, Value
from levsha.ops.pool import pool_code, pool_examples, pool_window
from levsha.ops.window import WindowCode, Windowed
from levsha.ops.window_onnx import max_onnx


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(Windowed):
    """The largest element of each window and channel; every window must hold a real element."""

    def infer(self, *x: Value) -> Value:
        (x_,) = x
        self.check(x_)
        if not self.real_taps().all():
            raise LevshaError("a window lies in the padding alone, and has no largest element. Use less padding.")
        low_C, high_C = self.channel_ends(x_)
        ranges = tuple(zip(low_C.tolist(), high_C.tolist(), strict=True)) if x_.ranges is not None else None
        return Value((*self.out_size, self.shape[2]), int(low_C.min()), int(high_C.max()), step=x_.step, ranges=ranges)

    def run(self, *x: np.ndarray) -> np.ndarray:
        return reduce(np.maximum, self.taps(x[0], np.iinfo(np.int64).min))

    def code(self, out: Value, *x: Value) -> Code:
        return pool_code(self, out, x[0], "The largest element")

    def window(self, out: Value, x: Value) -> WindowCode:
        return pool_window(self, out, x, c_lowest(out.c_type), f"if (v[c] > y[c]) y[c] = ({out.c_type})v[c];")

    def c_filling(self, x: Value) -> tuple[str, dict[str, Constant]]:
        return c_lowest(x.c_type), {}

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        return max_onnx(self, builder)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        yield from pool_examples(cls)


def c_lowest(c_type: str) -> str:
    """Return the C of the smallest number of a type.

    >>> c_lowest("uint8_t"), c_lowest("int8_t")
    ('0', '(int8_t)(-127 - 1)')
    """
    lowest = C_TYPES[c_type][0]
    # less one: the smallest literal of a type is of a wider one in C
    return f"({c_type})({lowest + 1} - 1)" if lowest else "0"
