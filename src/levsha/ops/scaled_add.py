"""y = clip((a * ma + b * mb + ... + bias + rounding) >> shift, lo, hi): a residual addition, of values with steps of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from levsha.arith import INT16_MAX, INT32_MAX, half
from levsha.builder import OnnxBuilder, combine, reshaped, shift_right
from levsha.errors import LevshaError
from levsha.ir import Code, Constant, Graph, Op, Value, c_index, c_name
from levsha.ops.requantize import MOST_SHIFT


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaledAdd(Op):
    """The sum of values of one size, each scaled first, as one rounding; legend: K values, C channels, the last axis.

    multiplier_KC: int16, (K, C), or (K, 1) where all channels share it. bias_C: int32, (C,) or (1,).
    """

    learnt: ClassVar[bool] = True
    multiplier_KC: np.ndarray
    bias_C: np.ndarray
    shift: int
    rounding: int
    lo: int
    hi: int
    step: float = 1.0

    def infer(self, *x: Value) -> Value:
        """Prove that every partial sum fits 32 bits."""
        first = x[0]
        if any(value.size != first.size for value in x):
            raise LevshaError(f"adds values of {', '.join(str(value.shape) for value in x)}; they must be of one size.")
        for label, array in (("multiplier", self.multiplier_KC), ("bias", self.bias_C)):
            if array.shape[-1] not in (1, first.shape[-1]) or len(array.shape) != (2 if label == "multiplier" else 1):
                raise LevshaError(
                    f"{label} has shape {array.shape}; one number, or one for each of {first.shape[-1]} channels, is needed."
                )
        if (
            len(self.multiplier_KC) != len(x)
            or np.abs(self.multiplier_KC).max() > INT16_MAX
            or not 0 <= self.shift <= MOST_SHIFT
        ):
            raise LevshaError(
                f"multipliers {self.multiplier_KC.tolist()}, shift {self.shift}: one int16 a value and a shift of 0 to {MOST_SHIFT} are needed."
            )
        ends = [np.stack([end * m_C for end in (value.lo, value.hi)]) for value, m_C in zip(x, self._wide, strict=True)]
        reach = sum((np.abs(end).max(0) for end in ends), np.abs(self.bias_C.astype(np.int64)) + self.rounding)
        if reach.max() > INT32_MAX:
            raise LevshaError(f"the sum can reach {int(reach.max())}; int32 allows {INT32_MAX}. Use a smaller shift.")
        lows, highs = (
            self._finish(sum(side(end) for end in ends)) for side in (lambda e: e.min(0), lambda e: e.max(0))
        )
        return Value(first.shape, int(np.min(lows)), int(np.max(highs)), step=self.step)

    @property
    def _wide(self) -> np.ndarray:
        return self.multiplier_KC.astype(np.int64)

    def _finish(self, total: Any) -> np.ndarray:
        return ((total + self.bias_C.astype(np.int64) + self.rounding) >> self.shift).clip(self.lo, self.hi)

    def run(self, *x: np.ndarray) -> np.ndarray:
        shape = x[0].shape
        return self._finish(sum(part.reshape(shape) * m_C for part, m_C in zip(x, self._wide, strict=True)))

    def code(self, out: Value, *x: Value) -> Code:
        """One loop over all elements; around the channels' own loop, where any of them has a number of its own."""
        y, channels, constants = c_name(self.name), out.shape[-1], self._constants
        m = [str(int(m_C[0])) for m_C in self.multiplier_KC]
        if f"{self.name}_multiplier" in constants:
            m = [f"$I16(${self.name}_multiplier + {k * channels} + c)" for k in range(len(x))]
        bias = (
            f"$I32(${self.name}_bias + c) + {self.rounding}"
            if f"{self.name}_bias" in constants
            else f"{int(self.bias_C[0]) + self.rounding}"
        )
        terms = " + ".join(f"(int32_t){c_name(name)}[i] * {m_k}" for name, m_k in zip(self.inputs, m, strict=True))
        clips = [f"if (v {sign} {end}) v = {end};" for sign, end in (("<", self.lo), (">", self.hi))]
        lines = [f"int32_t v = {terms} + {bias};", f"v >>= {self.shift};", *clips, f"{y}[i] = ({out.c_type})v;"]
        index, body = c_index(out.size), "\n    ".join(lines)
        if not constants:
            return Code(f"for ({index} i = 0; i < {out.size}; ++i) {{\n    {body}\n}}")
        inner = f"for ({c_index(channels)} c = 0; c < {channels}; ++c, ++i) {{\n        {body.replace(chr(10), chr(10) + '    ')}\n    }}"
        return Code(f"for ({index} i = 0; i < {out.size};)\n    {inner}", constants)

    @property
    def _constants(self) -> dict[str, Constant]:
        """The arrays with a number for each channel."""
        found = {}
        if self.multiplier_KC.shape[-1] > 1:
            found[f"{self.name}_multiplier"] = Constant("int16_t", self.multiplier_KC)
        if self.bias_C.size > 1:
            found[f"{self.name}_bias"] = Constant("int32_t", self.bias_C)
        return found

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        total, low_C, high_C = "", np.zeros(1, np.int64), np.zeros(1, np.int64)
        for name, value, m_C in zip(self.inputs, x, self._wide, strict=True):
            part = builder.read(name, "int32")
            if value.shape != out.shape:
                part = reshaped(builder, part, out.shape)
            part = combine(builder, "Mul", part, m_C)
            total = builder.node("Add", [total, part]) if total else part
            low_C = low_C + np.minimum(value.lo * m_C, value.hi * m_C)
            high_C = high_C + np.maximum(value.lo * m_C, value.hi * m_C)
        added_C = self.bias_C.astype(np.int64) + self.rounding
        return shift_right(builder, total, (low_C, high_C), added_C, np.array(self.shift), self.lo, self.hi)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for values, channels, shift, lo, hi in (
            ((Value((11,), 0, 255), Value((11,), -127, 127)), 1, 12, 0, 255),
            ((Value((2, 3, 5), -127, 127), Value((2, 3, 5), 0, 255)), 5, 14, -127, 127),
            ((Value((4,), -32767, 32767), Value((4,), 0, 99), Value((2, 2), -5, 5)), 4, 9, -32767, 32767),
        ):
            most = min(INT16_MAX, INT32_MAX // 4 // max(max(-v.lo, v.hi) for v in values) // len(values))
            m, b = rng.integers(-most, most, (len(values), channels)), rng.integers(-(1 << 20), 1 << 20, channels)
            names = tuple("abc"[: len(values)])
            op = cls(name="y", inputs=names, multiplier_KC=m, bias_C=b, shift=shift, rounding=half(shift), lo=lo, hi=hi)
            yield Graph(dict(zip(names, values, strict=True)), (op,))
