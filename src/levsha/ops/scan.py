"""y = what a body of ops makes of one row after the other: recurrent layers, such as GRU and LSTM, over a fixed length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from levsha.arith import half
from levsha.builder import OnnxBuilder, flat, reshaped
from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.ir import Code, Graph, Op, Value, count_macs
from levsha.ops.add import Add
from levsha.ops.dense import Dense
from levsha.ops.gather import Gather
from levsha.ops.lookup import Lookup
from levsha.ops.multiply import Multiply
from levsha.ops.requantize import Requantize
from levsha.ops.scan_code import scan_code


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan(Op):
    """A graph that runs once for each of the T rows of x, (T, ...), and carries states from row to row.

    body: its inputs are the states, in the ranges that they keep, and last the row; its outputs the states after the row, in
    the same order, each made by an op. init: integers, the elements of all states before the first row, one state after the
    other. last: y is the first state after the last row; else that after every row, (T, ...).
    """

    learnt: ClassVar[bool] = True
    body: Graph
    init: np.ndarray
    last: bool = True

    def infer(self, *x: Value) -> Value:
        """The body proves itself for the declared ranges of states and row; here is proven that they hold at every row."""
        (x_,) = x
        self._check_form(x_)
        *states, row = self.body.inputs.items()
        if _beyond(x_, row[1]):
            raise LevshaError(
                f"{self.inputs[0]!r} can be {_said(x_)}; the body's row {row[0]!r} is declared as {_said(row[1])}. Declare it wider."
            )
        for (name, state), made in zip(states, self.body.outputs, strict=True):
            after, first = self.body.values[made], self.starts[name]
            if _beyond(after, state):
                raise LevshaError(
                    f"state {name!r} can be {_said(after)} after a row ({made!r}); it is declared as {_said(state)}. Clip it, or declare "
                    f"it wider."
                )
            whole = first.reshape(state.shape)
            much = state.total is not None and int(np.abs(first).sum()) > state.total
            if much or (whole < state.lows).any() or (whole > state.highs).any():
                raise LevshaError(
                    f"state {name!r} starts with {first.min()}..{first.max()}; it is declared as {_said(state)}. Declare it wider."
                )
        state = self.body.values[self.body.outputs[0]]
        if self.last:
            return state
        total = None if state.total is None else state.total * x_.shape[0]
        return replace(state, shape=(x_.shape[0], *state.shape), total=total)

    def _check_form(self, x: Value) -> None:
        *states, row = self.body.inputs.items()
        made = [name for name in self.body.outputs if name not in self.body.inputs]
        if not states or len(made) != len(states) or len(made) != len(self.body.outputs):
            raise LevshaError(
                f"the body reads {', '.join(self.body.inputs)} and makes {', '.join(made) or 'nothing'}; it must read one state or more and, "
                f"last, the row, and an op must make each state of the next row."
            )
        if not row[1].shape or x.shape[1:] != row[1].shape:
            raise LevshaError(
                f"{self.inputs[0]!r} has shape {x.shape}; rows of shape {row[1].shape} are needed, as the body's {row[0]!r}."
            )
        for (name, state), after in zip(states, made, strict=True):
            if self.body.values[after].shape != state.shape:
                raise LevshaError(
                    f"state {name!r} has shape {state.shape}, after a row {self.body.values[after].shape} ({after!r}); they must be equal."
                )
        size = sum(state.size for _, state in states)
        if self.init.shape != (size,) or self.init.dtype.kind not in "iu":
            raise LevshaError(
                f"init is {self.init.dtype} of shape {self.init.shape}; {size} integers are needed, one for each element of the states."
            )

    @property
    def starts(self) -> dict[str, np.ndarray]:
        """Each state's integers before the first row, flat, by the input of the body."""
        states = list(self.body.inputs.items())[:-1]
        ends = np.cumsum([state.size for _, state in states])
        return {
            name: part for (name, _), part in zip(states, np.split(self.init.astype(np.int64), ends[:-1]), strict=True)
        }

    def macs(self, out: Value, *x: Value) -> int:
        return x[0].shape[0] * count_macs(self.body)

    def run(self, *x: np.ndarray) -> np.ndarray:
        *states, row = self.body.inputs
        known = {
            name: np.broadcast_to(
                start.reshape(self.body.inputs[name].shape), (len(x[0]), *self.body.inputs[name].shape)
            )
            for name, start in self.starts.items()
        }
        found = []
        for t in range(x[0].shape[1]):
            known[row] = x[0][:, t]
            for op in self.body.ops:
                known[op.name] = op.run(*(known[name] for name in op.inputs))
            known = {name: known[made] for name, made in zip(states, self.body.outputs, strict=True)}
            found.append(known[states[0]])
        return found[-1] if self.last else np.stack(found, 1)

    def code(self, out: Value, *x: Value) -> Code:
        return scan_code(self.name, self.inputs[0], self.body, self.starts, self.last, out, x[0])

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        """The states begin as constants repeated for each example of the batch, whose size only a tensor knows."""
        rows, starts = builder.read(self.inputs[0]), {}
        ends = [builder.constant([end], "int64") for end in (0, 1, 1)]  # from, to, axis
        one = builder.node("Slice", [builder.cast(flat(builder, rows, x[0]), "int32"), *ends])
        zero = builder.node("Mul", [one, builder.constant(0, "int32")])
        for name, start in self.starts.items():
            repeated = builder.node("Add", [zero, builder.constant(start[None], "int32")])
            starts[name] = reshaped(builder, repeated, self.body.inputs[name].shape)
        return builder.scan(self.body, starts, rows, self.last)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        def graph(x: Value, body: Graph, last: bool, init: np.ndarray) -> Graph:
            return Graph({"x": x}, (cls(name="y", inputs=("x",), body=body, init=init, last=last),))

        yield graph(Value((5, 3), -127, 127), _gru(rng, 3, 4), True, np.zeros(4, np.int64))
        # rows of another type than the body reads
        yield graph(Value((4, 3), 0, 127), _gru(rng, 3, 4), False, rng.integers(-127, 127, 4))
        yield graph(Value((3, 2), -127, 127), _lstm(rng, 2, 3), True, rng.integers(-127, 127, 6))
        yield graph(Value((3, 2), -127, 127), _lstm(rng, 2, 3), False, np.repeat([5, -2000], 3))
        row, most = Value((2, 3), -9, 9, ranges=((0, 9), (-9, 0), (-1, 1))), 100_000
        ops = (Add(name="more", inputs=("sum", "row")), _scaled("next", "more", 0, -most, most))
        sums = Graph({"sum": Value((2, 3), -most, most), "row": row}, ops)
        yield graph(replace(row, shape=(40, 2, 3)), sums, False, np.full(6, 99_999))
        rows = cls(name="sums", inputs=("image",), body=sums, init=np.arange(6) - 3)
        ops = (rows, Add(name="more", inputs=("sums", "most")), _scaled("next", "more", 1, -most, most))
        whole = Graph({"most": Value((2, 3), -most, most), "image": replace(row, shape=(4, 2, 3))}, ops)
        yield graph(replace(row, shape=(3, 4, 2, 3)), whole, True, np.zeros(6, np.int64))


def _beyond(found: Value, declared: Value) -> bool:
    """Whether a value can be what a declaration does not allow."""
    much = declared.total is not None and (found.total is None or found.total > declared.total)
    return much or bool((found.lows < declared.lows).any() or (found.highs > declared.highs).any())


def _said(value: Value) -> str:
    own = "" if value.ranges is None else ", a range for each channel"
    return f"{value.lo}..{value.hi}{own}" + ("" if value.total is None else f", {value.total} in all")


def _scaled(name: str, source: str, shift: int, lo: int, hi: int, offset: int = 0) -> Requantize:
    return Requantize(
        name=name, inputs=(source,), multiplier_O=np.array([1]), bias_O=np.array([offset]), bias_shift=shift, shift=shift,
        rounding=half(shift), lo=lo, hi=hi,
    )  # fmt: skip


def _gates(rng: np.random.Generator, inputs: int, units: int, gates: int) -> list[Op]:
    """Sums of row and state for each gate, and where each sum lies in a table of 64."""
    ops: list[Op] = []
    for name, source, count in (("of_x", "x", inputs), ("of_h", "h", units)):
        weight_OI = rng.integers(-127, 127, (gates * units, count), endpoint=True)
        ops.append(Dense(name=name, inputs=(source,), weight_OI=weight_OI, format=FORMATS["int8"]))
    return [*ops, Add(name="sums", inputs=("of_x", "of_h")), _scaled("at", "sums", 9, 0, 63, 32)]


def _part(name: str, source: str, start: int, units: int) -> Gather:
    return Gather(name=name, inputs=(source,), index=np.arange(start, start + units))


def _sigmoid() -> np.ndarray:
    return np.rint(127 / (1 + np.exp(-np.arange(-32, 32) / 8))).astype(np.int64)


def _gru(rng: np.random.Generator, inputs: int, units: int) -> Graph:
    """h = z * n + (1 - z) * h, with a gate z and a new state n of h and x."""
    ops = [
        *_gates(rng, inputs, units, 2), _part("at_z", "at", 0, units), _part("sums_n", "sums", units, units),
        Lookup(name="z", inputs=("at_z",), table=_sigmoid()), Lookup(name="kept", inputs=("at_z",), table=127 - _sigmoid()),
        _scaled("n", "sums_n", 7, -127, 127), Multiply(name="new", inputs=("n", "z")), Multiply(name="old", inputs=("kept", "h")),
        Add(name="both", inputs=("new", "old")), _scaled("next", "both", 7, -127, 127),
    ]  # fmt: skip
    return Graph({"h": Value((units,), -127, 127), "x": Value((inputs,), -127, 127)}, tuple(ops))


def _lstm(rng: np.random.Generator, inputs: int, units: int) -> Graph:
    """c = f * c + i * g; h = o * tanh(c), with gates i, f, o and a new state g of h and x."""
    tanh = np.rint(127 * np.tanh(np.arange(-125, 126) / 40)).astype(np.int64)
    ops = [
        *_gates(rng, inputs, units, 4), _part("at_gates", "at", 0, 3 * units), _part("sums_g", "sums", 3 * units, units),
        Lookup(name="gates", inputs=("at_gates",), table=_sigmoid()), _scaled("g", "sums_g", 7, -127, 127),
        *(_part(name, "gates", k * units, units) for k, name in enumerate("ifo")),
        Multiply(name="kept", inputs=("c", "f")), Multiply(name="new", inputs=("g", "i")), Add(name="both", inputs=("kept", "new")),
        _scaled("next_c", "both", 7, -2000, 2000), _scaled("at_c", "next_c", 4, 0, 250, 125),
        Lookup(name="tanh_c", inputs=("at_c",), table=tanh), Multiply(name="gated", inputs=("tanh_c", "o")),
        _scaled("next_h", "gated", 7, -127, 127),
    ]  # fmt: skip
    states = {"h": Value((units,), -127, 127), "c": Value((units,), -2000, 2000)}
    return Graph({**states, "x": Value((inputs,), -127, 127)}, tuple(ops), ("next_h", "next_c"))
