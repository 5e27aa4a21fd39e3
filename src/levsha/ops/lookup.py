"""y = table[x]: from a class to the byte it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.errors import LevshaError
from levsha.ir import Constant, Graph, Op, Value, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup(Op):
    """One table entry, 0..255, for each element; every index the input can hold must have one."""

    table: np.ndarray

    def infer(self, *x: Value) -> Value:
        (x_,) = x
        if x_.lo < 0 or x_.hi >= len(self.table):
            raise LevshaError(
                f"{self.inputs[0]!r} can be {x_.lo}..{x_.hi}; the table has entries 0..{len(self.table) - 1}."
            )
        if self.table.min() < 0 or self.table.max() > 255:
            raise LevshaError(f"the table holds {self.table.min()}..{self.table.max()}; bytes allow 0..255.")
        return Value(x_.shape, int(self.table.min()), int(self.table.max()))

    def run(self, *x: np.ndarray) -> np.ndarray:
        return self.table.astype(np.int64)[x[0]]

    def constants(self) -> dict[str, Constant]:
        return {f"{c_name(self.name)}_table": Constant("uint8_t", self.table)}

    def c(self, out: Value, *x: Value) -> str:
        y, source = c_name(self.name), c_name(self.inputs[0])
        return f"for (uint16_t i = 0; i < {out.size}; ++i) {y}[i] = ({out.c_type})LEVSHA_U8({y}_table + {source}[i]);"

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        yield Graph({"x": Value((9,), 0, 39)}, (cls(name="y", inputs=("x",), table=rng.integers(0, 256, 40)),))
