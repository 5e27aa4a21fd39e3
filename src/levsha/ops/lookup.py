"""y = table[x]: from a class to the byte it stands for, or any function of a small integer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.arith import INT16_MAX
from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError
from levsha.ir import Code, Constant, Graph, Op, Value, c_index, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup(Op):
    """One table entry, within int16, for each element; every index the input can hold must have one."""

    table: np.ndarray

    @property
    def rises(self) -> bool:
        """Whether no entry is smaller than the one before it."""
        return bool((np.diff(self.table.astype(np.int64)) >= 0).all())

    def infer(self, *x: Value) -> Value:
        (x_,) = x
        if x_.lo < 0 or x_.hi >= len(self.table):
            raise LevshaError(
                f"{self.inputs[0]!r} can be {x_.lo}..{x_.hi}; the table has entries 0..{len(self.table) - 1}."
            )
        entries = self._entries()
        if entries.lo < -INT16_MAX - 1 or entries.hi > INT16_MAX:
            raise LevshaError(
                f"the table holds {entries.lo}..{entries.hi}; int16 allows {-INT16_MAX - 1}..{INT16_MAX}. Scale it down."
            )
        return Value(x_.shape, entries.lo, entries.hi)

    def _entries(self) -> Value:
        return Value(self.table.shape, int(self.table.min()), int(self.table.max()))

    def run(self, *x: np.ndarray) -> np.ndarray:
        return self.table.astype(np.int64)[x[0]]

    def code(self, out: Value, *x: Value) -> Code:
        """The output's type is the table's: its cast makes a byte read from program memory signed again."""
        y, source, table = c_name(self.name), c_name(self.inputs[0]), f"{self.name}_table"
        read = "$I16" if out.c_type == "int16_t" else "$U8"
        call = f"for ({c_index(out.size)} i = 0; i < {out.size}; ++i) {y}[i] = ({out.c_type}){read}(${table} + {source}[i]);"
        return Code(call, {table: Constant(self._entries().c_type, self.table)})

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        table = builder.constant(self.table, self._entries().dtype.name)
        return builder.node("Gather", [table, builder.read(self.inputs[0], "int32")])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for index, low, high in ((39, 0, 255), (255, -128, 127), (255, -32768, 32767), (299, -1, 255)):
            table = rng.integers(low, high, index + 1, endpoint=True)
            table[[0, -1]] = low, high
            yield Graph({"x": Value((9,), 0, index)}, (cls(name="y", inputs=("x",), table=table),))
