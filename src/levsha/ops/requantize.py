"""y = clip((x * multiplier + (bias << bias_shift) + rounding) >> shift, lo, hi).  lo = 0 makes it a ReLU as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from levsha.arith import INT16_MAX, INT32_MAX, half, rescale
from levsha.errors import LevshaError
from levsha.ir import Constant, Graph, Op, Value, c_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantize(Op):
    """Scale sums to the next layer's integers: batch normalisation, rounding and ReLU in one; legend: O channels.

    multiplier_O, bias_O: int16, one per channel, or a single one for all. A multiplier that is 1 everywhere costs nothing.
    """

    elementwise: ClassVar[bool] = True
    multiplier_O: np.ndarray
    bias_O: np.ndarray
    bias_shift: int
    shift: int
    rounding: int
    lo: int
    hi: int
    step: float = 1.0

    def infer(self, *x: Value) -> Value:
        """Prove that the product and both sums fit 32 bits for every channel."""
        (x_,) = x
        for label, array in (("multiplier", self.multiplier_O), ("bias", self.bias_O)):
            if array.shape not in ((1,), x_.shape):
                raise LevshaError(f"{label} has shape {array.shape}; {self.inputs[0]!r} has shape {x_.shape}.")
            if np.abs(array).max() > INT16_MAX:
                raise LevshaError(
                    f"a {label} is {int(np.abs(array).max())}; int16 allows {INT16_MAX}. Use a smaller shift."
                )
        if not (0 <= self.shift <= 30 and 0 <= self.bias_shift <= 30):
            raise LevshaError(f"shift is {self.shift} and bias_shift {self.bias_shift}; both must be 0 to 30.")
        m, b = self.multiplier_O.astype(np.int64), self.bias_O.astype(np.int64) << self.bias_shift
        product = np.maximum(np.abs(m * x_.lo), np.abs(m * x_.hi))
        reach = int((product + np.abs(b)).max()) + self.rounding
        if reach > INT32_MAX:
            raise LevshaError(
                f"x * multiplier + bias can reach {reach}; int32 allows {INT32_MAX}. Use a smaller shift."
            )
        ends = np.stack(
            [
                rescale(
                    end, m, self.bias_O.astype(np.int64), self.bias_shift, self.shift, self.rounding, self.lo, self.hi
                )
                for end in (x_.lo, x_.hi)
            ]
        )
        return Value(x_.shape, int(ends.min()), int(ends.max()), step=self.step)

    def run(self, *x: np.ndarray) -> np.ndarray:
        m, b = self.multiplier_O.astype(np.int64), self.bias_O.astype(np.int64)
        return rescale(x[0], m, b, self.bias_shift, self.shift, self.rounding, self.lo, self.hi)

    def constants(self) -> dict[str, Constant]:
        arrays = {"multiplier": self.multiplier_O, "bias": self.bias_O}
        return {
            f"{c_name(self.name)}_{label}": Constant("int16_t", array)
            for label, array in arrays.items()
            if array.size > 1
        }

    def c(self, out: Value, *x: Value) -> str:
        tables = "".join(f", {name}" for name in self.constants())
        return f"{self._kernel(out, *x)}({c_name(self.inputs[0])}{tables}, {c_name(self.name)}, {out.size});"

    def _kernel(self, out: Value, x: Value) -> str:
        scalars = [
            f"{k}{int(a[0])}".replace("-", "m")
            for k, a in (("m", self.multiplier_O), ("b", self.bias_O))
            if a.size == 1
        ]
        settings = f"{self.bias_shift}_{self.shift}_{self.rounding}_{self.lo}_{self.hi}".replace("-", "m")
        return "_".join(["requantize", x.c_type[:-2], out.c_type[:-2], settings, *scalars])

    def functions(self, out: Value, *x: Value) -> dict[str, str]:
        tables = "".join(
            f", const int16_t *{label}" for label, a in (("m", self.multiplier_O), ("b", self.bias_O)) if a.size > 1
        )
        m = "LEVSHA_I16(m++)" if self.multiplier_O.size > 1 else f"{int(self.multiplier_O[0])}L"
        b = "LEVSHA_I16(b++)" if self.bias_O.size > 1 else f"{int(self.bias_O[0])}L"
        name = self._kernel(out, *x)
        clips = [
            f"if (v {sign} {end}L) v = {end}L;"
            for sign, end in (("<", self.lo), (">", self.hi))
            if abs(end) < INT32_MAX
        ]
        clip = "\n        ".join(clips)
        source = f"""/* y = clip((x * m + (b << {self.bias_shift}) + {self.rounding}) >> {self.shift}, {self.lo}, {self.hi}) */
static void {name}(const {x[0].c_type} *x{tables}, {out.c_type} *y, uint16_t n)
{{
    do {{
        int32_t v = (int32_t)*x++ * {m};
        v += (int32_t){b} * {1 << self.bias_shift}L + {self.rounding}L;
        v >>= {self.shift};
        {clip}
        *y++ = ({out.c_type})v;
    }} while (--n);
}}
"""
        return {name: source}

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for x, shift, bias_shift, lo, hi in (
            (Value((13,), -32768, 32767), 16, 10, 0, 255),
            (Value((13,), -32768, 32767), 11, 4, 0, 127),
            (Value((13,), 0, 60), 3, 0, -32768, 32767),
            (Value((13,), -(1 << 19), 1 << 19), 20, 8, -127, 127),
        ):
            most = min(INT16_MAX, (INT32_MAX >> 2) // max(-x.lo, x.hi))
            m, b = rng.integers(-most, most, 13, endpoint=True), rng.integers(-INT16_MAX, INT16_MAX, 13)
            yield Graph({"x": x}, (cls._example(m, b, bias_shift, shift, half(shift), lo, hi),))
        one = np.array([1])  # a multiplier and a bias for all channels, rounding down
        yield Graph({"x": Value((5,), -999, 999)}, (cls._example(one, one * -2, 0, 2, 0, 0, INT32_MAX),))

    @classmethod
    def _example(
        cls, m: np.ndarray, b: np.ndarray, bias_shift: int, shift: int, rounding: int, lo: int, hi: int
    ) -> Requantize:
        settings = {"bias_shift": bias_shift, "shift": shift, "rounding": rounding, "lo": lo, "hi": hi}
        return cls(name="y", inputs=("x",), multiplier_O=m, bias_O=b, **settings)
