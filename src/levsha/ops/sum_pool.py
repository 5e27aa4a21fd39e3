"""y[p, c] = the sum of x[position, c] over window p; padding counts 0.  With a Requantize, the mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.builder import OnnxBuilder
from levsha.ir import Code, Graph, Value
from levsha.ops.pool import pool_code, pool_examples, pool_window
from levsha.ops.window import WindowCode, Windowed
from levsha.ops.window_onnx import sum_onnx


@dataclass(frozen=True, kw_only=True, eq=False)
class SumPool(Windowed):
    """The sum of the real elements of each window and channel."""

    def infer(self, *x: Value) -> Value:
        """Bound the sums by how many real elements the windows hold, from the fewest to the most."""
        (x_,) = x
        self.check(x_)
        counts, (low_C, high_C) = self.real_taps(), self.channel_ends(x_)
        few, many = int(counts.min()), int(counts.max())
        low_C, high_C = np.minimum(low_C * few, low_C * many), np.maximum(high_C * few, high_C * many)
        if x_.total is not None:
            low_C, high_C = np.maximum(low_C, -x_.total), np.minimum(high_C, x_.total)
        ranges = tuple(zip(low_C.tolist(), high_C.tolist(), strict=True)) if x_.ranges is not None else None
        return Value((*self.out_size, self.shape[2]), int(low_C.min()), int(high_C.max()), step=x_.step, ranges=ranges)

    def run(self, *x: np.ndarray) -> np.ndarray:
        return sum(self.taps(x[0], 0), np.zeros(1, np.int64))

    def code(self, out: Value, *x: Value) -> Code:
        return pool_code(self, out, x[0], "The sum of the elements")

    def window(self, out: Value, x: Value) -> WindowCode:
        return pool_window(self, out, x, "0", f"y[c] = ({out.c_type})(y[c] + v[c]);")

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        return sum_onnx(self, builder)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        yield from pool_examples(cls)
