"""y = a, b, ... side by side along the last axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from levsha.builder import OnnxBuilder, held, reshaped
from levsha.errors import LevshaError
from levsha.ir import Code, Graph, Op, Value, c_index, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Op):
    """The channels of the first input, then those of the second, and so on; every other axis is the same in all.

    leading: the output's axes before the last, as which every input is read whatever its shape; None: those that they have.
    """

    later: ClassVar[dict[str, Any]] = {"leading": None}
    leading: tuple[int, ...] | None = None

    def _read(self, x: Value) -> Value:
        if self.leading is None:
            return x
        rows = math.prod(self.leading)
        if x.size % rows:
            raise LevshaError(f"{x.shape} has {x.size} elements; they are to be read as {rows} rows.")
        shape = (*self.leading, x.size // rows)
        same = x.ranges is None or x.shape[-1] == shape[-1]
        return replace(x, shape=shape) if same else replace(x, shape=shape, ranges=None)

    def infer(self, *x: Value) -> Value:
        """Keep each channel's own range where they differ, and the total where all inputs have one."""
        x = tuple(map(self._read, x))
        leading = {value.shape[:-1] for value in x}
        if len(leading) != 1:
            shapes = ", ".join(str(value.shape) for value in x)
            raise LevshaError(
                f"joins shapes {shapes or 'of no input'}; at least one, that differ in the last axis alone."
            )
        shape = (*x[0].shape[:-1], sum(value.shape[-1] for value in x))
        lows, highs = (
            np.concatenate([np.broadcast_to(ends, value.shape[-1:]) for ends, value in zip(all_ends, x, strict=True)])
            for all_ends in ([value.lows for value in x], [value.highs for value in x])
        )
        totals = [value.total for value in x if value.total is not None]
        return Value.of_ends(shape, lows, highs, sum(totals) if len(totals) == len(x) else None)

    def run(self, *x: np.ndarray) -> np.ndarray:
        return np.concatenate(
            x if self.leading is None else [part.reshape(len(part), *self.leading, -1) for part in x], -1
        )

    def code(self, out: Value, *x: Value) -> Code:
        """One loop for each input; around them one over the rows, where there are several."""
        y, index, t = c_name(self.name), c_index(out.size), out.c_type
        rows, width = out.size // out.shape[-1], out.shape[-1]
        lines, start = [], 0
        for name, value in zip(self.inputs, map(self._read, x), strict=True):
            channels = value.shape[-1]
            to, at = (f"r * {width} + {start} + i", f"r * {channels} + i") if rows > 1 else (f"{start} + i", "i")
            lines.append(
                f"for ({index} i = 0; i < {channels}; ++i) {y}[{_plain(to)}] = ({t}){c_name(name)}[{_plain(at)}];"
            )
            start += channels
        if rows == 1:
            return Code("\n".join(lines))
        inner = "\n    ".join(lines)
        return Code(f"for ({index} r = 0; r < {rows}; ++r) {{\n    {inner}\n}}")

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        parts = [builder.read(name, held(out)) for name in self.inputs]
        if self.leading is not None:
            parts = [reshaped(builder, part, self._read(value).shape) for part, value in zip(parts, x, strict=True)]
        return builder.node("Concat", parts, axis=-1)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for values in (
            (Value((5,), 0, 255), Value((3,), 0, 255)),
            (Value((4,), -128, 127), Value((1,), 0, 255), Value((2,), -70_000, 9)),
            (Value((2, 3, 4), 0, 255), Value((2, 3, 1), 0, 255), Value((2, 3, 2), -3, 5)),
            (Value((7,), 0, 60, total=60), Value((7,), 0, 9, total=9)),
            (Value.of_ranges([(0, 1), (-900, 4096)]), Value((2,), 0, 1)),
        ):
            inputs = {f"x{k}": value for k, value in enumerate(values)}
            yield Graph(inputs, (cls(name="y", inputs=tuple(inputs)),))
        maps = {"a": Value((2, 2, 3), 0, 255), "b": Value((5, 3), -3, 3), "c": Value((6,), 0, 9)}
        for leading in ((), (3,)):  # along the first axis, and read as rows
            yield Graph(maps, (cls(name="y", inputs=tuple(maps), leading=leading),))


def _plain(index: str) -> str:
    return index.replace(" + 0 +", " +").removeprefix("0 + ")
