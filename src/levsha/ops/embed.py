"""y[t] = table[x[t]]: a vector of learnt numbers for each token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from levsha.arith import INT16_MAX
from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError
from levsha.ir import C_TYPES, Code, Constant, Graph, Op, Value, c_index, c_name
from levsha.ops.dense import ARRAY_BYTES


@dataclass(frozen=True, kw_only=True, eq=False)
class Embed(Op):
    """A row of the table for each element; legend: V tokens, E numbers each.

    table_VE: integers within int16. x of shape (T,) becomes y of shape (T, E).
    """

    learnt: ClassVar[bool] = True
    table_VE: np.ndarray

    def infer(self, *x: Value) -> Value:
        """Every token that the input can hold must have a row; rows it cannot reach do not count."""
        (x_,) = x
        if self.table_VE.ndim != 2 or not self.table_VE.size:
            raise LevshaError(f"the table has shape {self.table_VE.shape}; (tokens, numbers each) is needed.")
        if x_.lo < 0 or x_.hi >= len(self.table_VE):
            raise LevshaError(
                f"{self.inputs[0]!r} can be {x_.lo}..{x_.hi}; the table has rows 0..{len(self.table_VE) - 1}. Give it a row for each, "
                f"or narrow the range."
            )
        least, most = int(self.table_VE.min()), int(self.table_VE.max())
        if least < -INT16_MAX - 1 or most > INT16_MAX:
            raise LevshaError(
                f"the table holds {least}..{most}; int16 allows {-INT16_MAX - 1}..{INT16_MAX}. Scale it down."
            )
        reached = self.table_VE[x_.lo : x_.hi + 1]
        return Value((*x_.shape, self.table_VE.shape[1]), int(reached.min()), int(reached.max()))

    def run(self, *x: np.ndarray) -> np.ndarray:
        return self.table_VE.astype(np.int64)[x[0]]

    def parts(self) -> dict[str, Constant]:
        """Return the arrays that the table is cut into, whole rows each."""
        least, most = int(self.table_VE.min()), int(self.table_VE.max())
        kind = Value(self.table_VE.shape, least, most).c_type
        rows = self._rows(kind)
        starts = range(0, len(self.table_VE), rows)
        names = [f"{self.name}_table{f'_{start}' if len(starts) > 1 else ''}" for start in starts]
        return {
            name: Constant(kind, self.table_VE[start : start + rows].ravel())
            for name, start in zip(names, starts, strict=True)
        }

    def _rows(self, kind: str) -> int:
        """How many rows one array holds."""
        return max(1, ARRAY_BYTES // (self.table_VE.shape[1] * np.dtype(C_TYPES[kind][2]).itemsize))

    def code(self, out: Value, *x: Value) -> Code:
        """A row's first element is found once; which part of the table it lies in, by comparing."""
        parts, (tokens, width) = self.parts(), self.table_VE.shape
        kind = next(iter(parts.values())).c_type
        rows, row, count = self._rows(kind), c_index(tokens), c_index(out.size)
        offset = c_index(min(rows, tokens) * width)
        places = [
            f"${name} + ({offset})({f'(v - {k * rows}u)' if k else 'v'} * ({offset}){width}u)"
            for k, name in enumerate(parts)
        ]
        place = places[-1]
        for k in reversed(range(len(places) - 1)):
            place = f"v < {(k + 1) * rows}u ? {places[k]} : {place}"
        read = "$I16" if kind == "int16_t" else "$U8"
        y, source = c_name(self.name), c_name(self.inputs[0])
        call = f"""for ({count} i = 0, k = 0; i < {x[0].size}; ++i) {{
    const {row} v = ({row}){source}[i];
    const {kind} *w = {place};
    for ({count} e = 0; e < {width}; ++e) {y}[k++] = ({out.c_type})({kind}){read}(w++);
}}"""
        return Code(call, parts)

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        kind = Value(self.table_VE.shape, int(self.table_VE.min()), int(self.table_VE.max())).dtype.name
        return builder.node("Gather", [builder.constant(self.table_VE, kind), builder.read(self.inputs[0], "int32")])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for value, table_VE in (
            (Value((5,), 0, 9), rng.integers(-128, 127, (10, 3), endpoint=True)),
            (Value((1,), 0, 255), rng.integers(0, 255, (256, 4), endpoint=True)),
            (Value((4,), 2, 299), rng.integers(-32768, 32767, (300, 2), endpoint=True)),
            (Value((2, 3), 0, 6), rng.integers(-128, 300, (7, 1), endpoint=True)),
            (Value((6,), 1, 2), np.array([[-30_000, 0], [1, 200], [3, 4]])),
        ):
            yield Graph({"x": value}, (cls(name="y", inputs=("x",), table_VE=table_VE),))
