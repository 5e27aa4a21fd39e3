"""y = a + b, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError
from levsha.ir import Code, Graph, Op, Value, c_index, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(Op):
    """The sum of two values of one shape."""

    elementwise: ClassVar[bool] = True

    def infer(self, *x: Value) -> Value:
        a, b = x
        if a.shape != b.shape:
            raise LevshaError(f"adds shapes {a.shape} and {b.shape}; they must be equal.")
        return Value(a.shape, a.lo + b.lo, a.hi + b.hi)

    def run(self, *x: np.ndarray) -> np.ndarray:
        return x[0] + x[1]

    def code(self, out: Value, *x: Value) -> Code:
        y, a, b = (c_name(name) for name in (self.name, *self.inputs))
        t = out.c_type
        return Code(f"for ({c_index(out.size)} i = 0; i < {out.size}; ++i) {y}[i] = ({t})(({t}){a}[i] + ({t}){b}[i]);")

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        return builder.node("Add", [builder.read(name, "int32") for name in self.inputs])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for lo, hi in ((0, 127), (-128, 127), (-(1 << 15), (1 << 15) - 1), (-(1 << 29), 1 << 29)):
            value = Value((11,), lo, hi)
            yield Graph({"a": value, "b": value}, (cls(name="y", inputs=("a", "b")),))
