"""y = the index of the largest element; the first one wins a tie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.builder import OnnxBuilder, flat
from levsha.ir import Code, Graph, Op, Value, c_index, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Argmax(Op):
    """The class a classifier chooses."""

    def infer(self, *x: Value) -> Value:
        return Value((1,), 0, x[0].size - 1)

    def run(self, *x: np.ndarray) -> np.ndarray:
        return x[0].reshape(len(x[0]), -1).argmax(1)[:, None]

    def code(self, out: Value, *x: Value) -> Code:
        y, source, index = c_name(self.name), c_name(self.inputs[0]), c_index(x[0].size)
        return Code(
            f"""{y}[0] = 0;
for ({index} i = 1; i < {x[0].size}; ++i)
    if ({source}[i] > {source}[{y}[0]]) {y}[0] = ({out.c_type})i;"""
        )

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        source = flat(builder, builder.read(self.inputs[0], "int32"), x[0])
        return builder.node("ArgMax", [source], "int64", axis=1)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for size, bound in ((40, 2), (300, 30_000), (1, 1)):
            yield Graph({"x": Value((size,), -bound, bound)}, (cls(name="y", inputs=("x",)),))
