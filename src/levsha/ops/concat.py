"""y = a, b, ... side by side along the last axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.builder import OnnxBuilder, held
from levsha.errors import LevshaError
from levsha.ir import Code, Graph, Op, Value, c_index, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Op):
    """The channels of the first input, then those of the second, and so on; every other axis is the same in all."""

    def infer(self, *x: Value) -> Value:
        """Keep each channel's own range where they differ, and the total where all inputs have one."""
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
        return np.concatenate(x, -1)

    def code(self, out: Value, *x: Value) -> Code:
        """One loop for each input; around them one over the rows, where there are several."""
        y, index, t = c_name(self.name), c_index(out.size), out.c_type
        rows, width = out.size // out.shape[-1], out.shape[-1]
        lines, start = [], 0
        for name, value in zip(self.inputs, x, strict=True):
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
        return builder.node("Concat", [builder.read(name, held(out)) for name in self.inputs], axis=-1)

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


def _plain(index: str) -> str:
    return index.replace(" + 0 +", " +").removeprefix("0 + ")
