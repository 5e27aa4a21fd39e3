"""y[i] = x[index[i]]: whatever moves elements and changes none, such as a transpose, a slice, a pad or an upsampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from levsha.builder import OnnxBuilder, flat, held, reshaped
from levsha.errors import LevshaError
from levsha.ir import Code, Constant, Graph, Op, Value, c_index, c_name
from levsha.ops.dense import ARRAY_BYTES
from levsha.ops.nest import Nest, c_nest, find_nest, find_runs
from levsha.ops.requantize import Requantize

LOOP_BYTES = 24  # of program memory, about, that a loop takes: where a table of indices takes less, it is the table


@dataclass(frozen=True, kw_only=True, eq=False)
class Gather(Op):
    """An element of x for each element of y, in flat order.

    index: integers of y's shape, 0 to the size of x less one; where it is -1, y is `fill`. Its C has loops where the index is
    regular, a table of indices where it is not.
    """

    index: np.ndarray
    fill: int = 0

    def __post_init__(self) -> None:
        """What never reads an element behind the one it writes may write over its input."""
        ahead = bool((self.index.ravel() >= np.arange(self.index.size)).all())
        object.__setattr__(self, "elementwise", ahead)

    def infer(self, *x: Value) -> Value:
        """What is read decides the range; where channels of x have ranges of their own, element by element."""
        (x_,) = x
        if not self.index.size or not self.index.ndim or self.index.dtype.kind not in "iu":
            raise LevshaError(
                f"the index is {self.index.dtype} of shape {self.index.shape}; integers are needed, of a shape with an element."
            )
        least, most = int(self.index.min()), int(self.index.max())
        if least < -1 or most >= x_.size:
            raise LevshaError(
                f"the index holds {least if least < -1 else most}; {self.inputs[0]!r} has elements 0..{x_.size - 1}, and -1 stands for "
                f"the fill."
            )
        filled, shape = int((self.index == -1).sum()), self.index.shape
        total = None
        if x_.total is not None:
            often = int(np.bincount(self.index[self.index >= 0].astype(np.int64), minlength=1).max())
            total = x_.total * often + abs(self.fill) * filled
        if x_.ranges is None:
            ends = [x_.lo, x_.hi] * (filled < self.index.size) + [self.fill] * (filled > 0)
            return Value(shape, min(ends), max(ends), total, x_.step)
        lows, highs = (self._read(np.broadcast_to(side, x_.shape)[None])[0] for side in (x_.lows, x_.highs))
        return replace(Value.of_ends(shape, lows, highs, total), step=x_.step)

    def _read(self, x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        filled = np.concatenate([flat, np.full((len(x), 1), self.fill, np.int64)], 1)
        return filled[:, self.index]

    def run(self, *x: np.ndarray) -> np.ndarray:
        return self._read(x[0])

    def code(self, out: Value, *x: Value) -> Code:
        """Loops where there are any, else a few runs, else a table."""
        index, t = c_index(max(out.size, x[0].size)), out.c_type
        y, source = c_name(self.name), c_name(self.inputs[0])
        flat = self.index.ravel().astype(np.int64)
        at = np.flatnonzero(flat >= 0)
        points_ND = np.stack([at, flat[at]], 1)
        nest = find_nest(points_ND) if len(at) else None
        runs = [nest] if nest else find_runs(points_ND, self._table_bytes(x[0]) // LOOP_BYTES)
        if runs is None:
            return self._by_table(out, x[0], index)
        fill = [f"for ({index} i = 0; i < {out.size}; ++i) {y}[i] = ({t})({self.fill});"]
        copies = [_copy(run, y, f"({t}){source}", index) for run in runs]
        if out.size == x[0].size and t == x[0].c_type and np.array_equal(at, flat):
            copies = [f"if ({y} != {source})   /* where it is not in its place already */\n{copies[0]}"]
        return Code("\n".join((fill if len(at) < out.size else []) + copies))

    def _table_bytes(self, x: Value) -> int:
        return self.index.size * self._table_type(x)[1]

    def _table_type(self, x: Value) -> tuple[str, int]:
        """The C type of an entry, and its bytes; one more than the last element of x stands for the fill."""
        largest = x.size if (self.index == -1).any() else int(self.index.max())
        return ("uint8_t", 1) if largest <= 0xFF else ("int16_t", 2) if largest <= 0xFFFF else ("int32_t", 4)

    def _by_table(self, out: Value, x: Value, index: str) -> Code:
        """Tables of 16 bits hold indices without a sign, in a type that has one: the cast makes them right again."""
        (kind, width), size, t = self._table_type(x), x.size, out.c_type
        y, source, step = c_name(self.name), c_name(self.inputs[0]), ARRAY_BYTES // width
        table = np.where(self.index == -1, size, self.index).ravel()
        entries = table.astype(np.uint16).astype(np.int16) if kind == "int16_t" else table
        read = {"uint8_t": "(uint8_t)$U8", "int16_t": "(uint16_t)$I16", "int32_t": "(uint32_t)$I32"}[kind]
        calls, constants = [], {}
        for start in range(0, len(entries), step):
            part = entries[start : start + step]
            name = f"{self.name}_index{f'_{start}' if len(entries) > step else ''}"
            constants[name] = Constant(kind, part)
            to = f"{y}[{start} + i]" if start else f"{y}[i]"
            take = f"{to} = ({t}){source}[{read}(${name} + i)];"
            if (self.index == -1).any():
                take = f"{{ const {index} j = {read}(${name} + i); {to} = ({t})(j < {size} ? {source}[j] : {self.fill}); }}"
            calls.append(f"for ({index} i = 0; i < {len(part)}; ++i) {take}")
        return Code("\n".join(calls), constants)

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        """A last element more stands for the fill."""
        filled, size = self.index == -1, x[0].size
        source = builder.read(self.inputs[0])
        if filled.any():
            kind = held(Value((1,), min(x[0].lo, self.fill), max(x[0].hi, self.fill)))
            ends, fill = builder.constant([0, 0, 0, 1], "int64"), builder.constant(self.fill, kind)
            source = builder.node("Pad", [flat(builder, builder.cast(source, kind), x[0]), ends, fill])
        elif np.array_equal(self.index.ravel(), np.arange(size)):
            return reshaped(builder, source, out.shape)
        index = builder.constant(np.where(filled, size, self.index), "int32")
        return builder.node("Gather", [source if filled.any() else flat(builder, source, x[0]), index], axis=1)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        def graph(x: Value, index: np.ndarray, fill: int = 0) -> Graph:
            return Graph({"x": x}, (cls(name="y", inputs=("x",), index=index, fill=fill),))

        image, bytes_, words = np.arange(24).reshape(2, 3, 4), Value((2, 3, 4), 0, 255), Value((2, 3, 4), -32768, 32767)
        yield graph(bytes_, image.transpose(2, 1, 0))
        yield graph(words, image.repeat(2, 0).repeat(2, 1))
        yield graph(bytes_, np.pad(image, ((1, 1), (2, 0), (0, 0)), constant_values=-1), -7)
        yield graph(words, rng.integers(-1, 24, 30), 32_768)
        yield graph(Value((300,), -128, 127), rng.integers(0, 300, 25))
        yield graph(Value((60,), 0, 9, total=60), np.concatenate([np.arange(40, 60), np.arange(39, 9, -1)]))
        own = Value((2, 3), -900, 4096, ranges=((0, 1), (-900, 4096), (0, 255)))
        yield graph(own, np.array([[0, 2], [5, 3]]))
        clip = Requantize(
            name="z", inputs=("x",), multiplier_O=np.array([1]), bias_O=np.array([0]), bias_shift=0, shift=1, rounding=0, lo=-99, hi=99
        )  # fmt: skip
        yield Graph({"x": words}, (clip, cls(name="y", inputs=("z",), index=image[:, 1:, ::2])))


def _copy(run: Nest, y: str, source: str, index: str) -> str:
    """What lies together on both sides takes a plain loop."""
    if [step for _, step in run.loops] != [(1, 1)]:
        return c_nest(run, ("i", "j"), f"{y}[i] = {source}[j];", index)
    to, at = (f"{start} + i" if start else "i" for start in run.first)
    return f"for ({index} i = 0; i < {run.loops[0][0]}; ++i) {y}[{to}] = {source}[{at}];"
