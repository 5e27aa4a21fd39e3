"""y = a * b, element by element; b may hold one factor for each channel of a."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from levsha.builder import OnnxBuilder, reshaped
from levsha.errors import LevshaError
from levsha.ir import Code, Graph, Op, Value, c_index, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Multiply(Op):
    """The product of two values of one shape, or of a value and a gate: one factor for each channel, the last axis."""

    elementwise: ClassVar[bool] = True

    def infer(self, *x: Value) -> Value:
        """The product is largest and smallest at corners of the two ranges, channel by channel."""
        a, b = x
        if not (a.size == b.size and a.shape[-1] == b.shape[-1]) and b.size != a.shape[-1]:
            raise LevshaError(
                f"multiplies shapes {a.shape} and {b.shape}; they must be equal, or the second must hold one factor for each of "
                f"the {a.shape[-1]} channels of the first."
            )
        corners = [np.multiply(*np.broadcast_arrays(p, q)) for p in (a.lows, a.highs) for q in (b.lows, b.highs)]
        return Value(a.shape, int(np.min(corners)), int(np.max(corners)))

    def run(self, *x: np.ndarray) -> np.ndarray:
        a, b = x
        return a * (b.reshape(a.shape) if a.size == b.size else b.reshape(len(b), *(1,) * (a.ndim - 2), -1))

    def code(self, out: Value, *x: Value) -> Code:
        """The factors are widened first, to 16 bits where both and the product have no more."""
        y, a, b = (c_name(name) for name in (self.name, *self.inputs))
        wide = "int16_t" if max(value.dtype.itemsize for value in (out, *x)) < 4 else "int32_t"
        product, count = f"= ({out.c_type})(({wide}){a}[i] * ({wide}){b}[", c_index(out.size)
        if x[1].size == out.size:
            return Code(f"for ({count} i = 0; i < {out.size}; ++i) {y}[i] {product}i]);")
        inner = f"for ({count} c = 0; c < {x[1].size}; ++c, ++i) {y}[i] {product}c]);"
        return Code(f"for ({count} i = 0; i < {out.size};)\n    {inner}")

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        a, b = (builder.read(name, "int32") for name in self.inputs)
        if x[0].shape != x[1].shape:
            b = reshaped(builder, b, out.shape if x[1].size == out.size else (*(1,) * (len(out.shape) - 1), x[1].size))
        return builder.node("Mul", [a, b])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for a, b in (
            (Value((11,), 0, 15), Value((11,), 0, 17)),
            (Value((11,), -128, 127), Value((11,), 0, 255)),
            (Value((11,), -32768, 32767), Value((11,), -32768, 32767)),
            (Value((3,), 0, 32768), Value((3,), -1, 0)),
            (Value((2, 3, 5), -128, 127), Value((5,), 0, 127)),
            (Value((2, 3, 5), -9, 70_000), Value((1, 1, 5), -3, 5, ranges=((0, 5), (0, 0), (-3, -3), (1, 2), (-3, 5)))),
        ):
            yield Graph({"a": a, "b": b}, (cls(name="y", inputs=("a", "b")),))
        yield Graph({"x": Value((4,), -181, 181)}, (cls(name="y", inputs=("x", "x")),))
