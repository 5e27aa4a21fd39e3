"""y = clip((x * multiplier + (bias << bias_shift) + rounding) >> shift, lo, hi).  lo = 0 makes it a ReLU as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from levsha.arith import INT16_MAX, INT32_MAX, half, rescale
from levsha.builder import OnnxBuilder, combine, shift_right
from levsha.errors import LevshaError
from levsha.ir import Code, Constant, Graph, Op, Value, c_index, c_long, c_name

MOST_SHIFT = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantize(Op):
    """Scale sums to the next layer's integers: batch normalisation, rounding and ReLU in one; legend: O channels, the last axis.

    multiplier_O, bias_O: int16, one per channel, or a single one for all, or one per element in C order. A multiplier that is
    1 everywhere costs nothing.
    Where 32 bits would leave the multipliers too few: pre_shift, by which the sum is first shifted right, rounding to nearest;
    where channels differ too much to share a shift: extra_O, by which each channel is shifted further (bias and rounding
    keep their meaning).
    """

    elementwise: ClassVar[bool] = True
    learnt: ClassVar[bool] = True
    later: ClassVar[dict[str, Any]] = {"pre_shift": 0, "extra_O": None}
    multiplier_O: np.ndarray
    bias_O: np.ndarray
    bias_shift: int
    shift: int
    rounding: int
    lo: int
    hi: int
    step: float = 1.0
    pre_shift: int = 0
    extra_O: np.ndarray | None = None

    @property
    def _tables(self) -> dict[str, np.ndarray]:
        """The parameters by what they are called in C: one number, or one for each channel."""
        extra = {} if self.extra_O is None else {"extra": self.extra_O}
        return {"multiplier": self.multiplier_O, "bias": self.bias_O, **extra}

    @property
    def _widths(self) -> np.ndarray:
        return np.zeros(1, np.int64) if self.extra_O is None else self.extra_O.astype(np.int64)

    @property
    def rises(self) -> bool:
        """Whether no output falls as its input rises."""
        return bool(self.multiplier_O.min() >= 0)

    def fits(self, channels: int) -> bool:
        """Say whether every pixel of so many channels has the same parameters."""
        return all(array.size in (1, channels) for array in self._tables.values())

    def infer(self, *x: Value) -> Value:
        """Prove that the product and both sums fit 32 bits for every channel."""
        (x_,) = x
        self._check_tables(x_)
        reach = int(np.ceil(self._reach(x_)).max())
        if reach > INT32_MAX:
            raise LevshaError(
                f"x * multiplier + bias can reach {reach}; int32 allows {INT32_MAX}. Use a smaller shift, or a pre_shift."
            )
        ends = [self._rescaled(end, x_.shape) for end in (x_.lows, x_.highs)]
        return Value(x_.shape, int(np.minimum(*ends).min()), int(np.maximum(*ends).max()), step=self.step)

    def _check_tables(self, x: Value) -> None:
        for label, array in self._tables.items():
            if array.shape not in ((1,), x.shape[-1:], (x.size,)):
                raise LevshaError(
                    f"{label} has shape {array.shape}; {self.inputs[0]!r} has shape {x.shape}: one number, one for each of "
                    f"{x.shape[-1]} channels, or one for each element, is needed."
                )
        for label, array in (("multiplier", self.multiplier_O), ("bias", self.bias_O)):
            if np.abs(array).max() > INT16_MAX:
                raise LevshaError(
                    f"a {label} is {int(np.abs(array).max())}; int16 allows {INT16_MAX}. Use a smaller shift."
                )
        deepest = self.shift + int(self._widths.max())
        if not (0 <= self.shift <= deepest <= MOST_SHIFT and 0 <= self.bias_shift <= MOST_SHIFT):
            raise LevshaError(f"shift is {deepest} and bias_shift {self.bias_shift}; both must be 0 to {MOST_SHIFT}.")
        if not 0 <= self.pre_shift <= 16 or self._widths.min() < 0:
            raise LevshaError(
                f"pre_shift is {self.pre_shift}, the least extra shift {self._widths.min()}; 0 to 16 and 0 or more are allowed."
            )

    def _reach(self, x: Value) -> np.ndarray:
        """The largest magnitude on the way to each channel's output; also that of the sum itself before it is shifted."""
        m, b, widths = (_spread(a, x.shape) for a in (self.multiplier_O, self.bias_O, self._widths))
        m, b = np.abs(m), np.abs(b) << self.bias_shift
        largest = np.maximum(np.abs(x.lows), np.abs(x.highs)) + half(self.pre_shift)
        return np.maximum((largest >> self.pre_shift) * m + ((b + self.rounding) << widths), largest)

    def _rescaled(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        m, b, widths = (_spread(a, shape) for a in (self.multiplier_O, self.bias_O, self._widths))
        widen = 1 if self.extra_O is None else 1 << widths
        settings = (self.bias_shift, self.shift, self.rounding, self.lo, self.hi, self.pre_shift, widen)
        return rescale(x, m, b, *settings)

    def run(self, *x: np.ndarray) -> np.ndarray:
        return self._rescaled(x[0], x[0].shape[1:])

    def code(self, out: Value, *x: Value) -> Code:
        longest = max(array.size for array in self._tables.values())
        channels = longest if longest > 1 else out.size
        tables = {label: np.resize(a, longest) for label, a in self._tables.items() if a.size > 1}
        kinds = {label: "uint8_t" if label == "extra" else "int16_t" for label in tables}
        constants = {f"{self.name}_{label}": Constant(kinds[label], array) for label, array in tables.items()}
        kernel = self._kernel(out, *x) + c_long(c_index(channels))
        y, source, names = c_name(self.name), c_name(self.inputs[0]), "".join(f", ${name}" for name in constants)
        call = f"${kernel}({source}{names}, {y}, {channels});"
        if channels < out.size:
            at = f" + i * {channels}"
            call = f"for ({c_index(out.size)} i = 0; i < {out.size // channels}; ++i) ${kernel}({source}{at}{names}, {y}{at}, {channels});"
        return Code(call, constants, {kernel: self._function(kernel, kinds, out, x[0], c_index(channels))})

    def _kernel(self, out: Value, x: Value) -> str:
        scalars = [f"{label[0]}{int(a[0])}".replace("-", "m") for label, a in self._tables.items() if a.size == 1]
        settings = f"{self.bias_shift}_{self.shift}_{self.rounding}_{self.lo}_{self.hi}".replace("-", "m")
        pre = [f"p{self.pre_shift}"] if self.pre_shift else []
        extra = ["extra"] if self.extra_O is not None else []
        return "_".join(["requantize", x.c_type[:-2], out.c_type[:-2], settings, *scalars, *pre, *extra])

    def _function(self, name: str, kinds: dict[str, str], out: Value, x: Value, index: str) -> str:
        parameters = "".join(f", const {kind} *{label[0]}" for label, kind in kinds.items())
        m, b, e = (
            f"{'$U8' if label == 'extra' else '$I16'}({label[0]}++)"
            if label in kinds
            else f"{int(self._tables.get(label, np.zeros(1))[0])}"
            for label in ("multiplier", "bias", "extra")
        )
        sums = f"(int32_t)*x++ * {m}"
        if self.pre_shift:
            sums = f"(((int32_t)*x++ + {half(self.pre_shift)}) >> {self.pre_shift}) * {m}"
        added = f"{_shifted(b, self.bias_shift)} + {self.rounding}"
        result, shifted = "v", [f"v >>= {self.shift};"]
        if self.shift >= 16 and self.extra_O is None and max(-self.lo - 1, self.hi) <= INT16_MAX:
            # the upper half alone: 8-bit chips take it as it lies, and shift the rest of the way in half the time
            result, shifted = "r", [f"int16_t r = (int16_t)((int16_t)(v >> 16) >> {self.shift - 16});"]
        adds = [f"v += {added};", *shifted]
        if self.extra_O is not None:
            adds = [
                f"const uint8_t k = (uint8_t){e};",
                f"v += ({added}) * ((int32_t)1 << k);",
                f"v >>= {self.shift} + k;",
            ]
        clips = [
            f"if ({result} {sign} {end}) {result} = {end};"
            for sign, end, most in (("<", self.lo, -self.lo - 1), (">", self.hi, self.hi))
            if most < (INT16_MAX if result == "r" else INT32_MAX)
        ]
        body = "\n        ".join([f"int32_t v = {sums};", *adds, *clips, f"*y++ = ({out.c_type}){result};"])
        before = f"round(x / {1 << self.pre_shift})" if self.pre_shift else "x"
        further = "" if self.extra_O is None else ", each channel further by its own k"
        return f"""/* y = clip(({before} * m + (b << {self.bias_shift}) + {self.rounding}) >> {self.shift}, {self.lo}, {self.hi}){further} */
static void ${name}(const {x.c_place} *x{parameters}, {out.c_place} *y, {index} n)
{{
    {out.c_place} *const end = y + n;
    do {{
        {body}
    }} while (y != end);
}}
"""

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        m, b, widths = (_spread(array, x[0].shape) for array in (self.multiplier_O, self.bias_O, self._widths))
        y, low, high = builder.read(self.inputs[0], "int32"), x[0].lows, x[0].highs
        if self.pre_shift:
            to_nearest = np.array(half(self.pre_shift))
            y = builder.cast(shift_right(builder, y, (low, high), to_nearest, np.array(self.pre_shift)), "int32")
            low, high = (low + to_nearest) >> self.pre_shift, (high + to_nearest) >> self.pre_shift
        ends = np.minimum(low * m, high * m), np.maximum(low * m, high * m)
        added = ((b << self.bias_shift) + self.rounding) << widths
        return shift_right(builder, combine(builder, "Mul", y, m), ends, added, self.shift + widths, self.lo, self.hi)

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
        m, b = rng.integers(-90, 90, 3), rng.integers(-INT16_MAX, INT16_MAX, 3)
        yield Graph({"x": Value((2, 4, 3), -32768, 32767)}, (cls._example(m, b, 3, 9, 256, -127, 127),))
        wide, most = Value((13,), -(1 << 24), 1 << 24), (INT32_MAX >> 2) // (1 << 18)
        m, b = rng.integers(-most, most, 13, endpoint=True), rng.integers(-INT16_MAX, INT16_MAX, 13)
        pre = cls._example(m, b, 9, 18, half(18), -32767, 32767)
        yield Graph({"x": wide}, (replace(pre, pre_shift=6),))
        ranges = Value.of_ranges([(0, 1), (-32768, 32767), (-900, 4096), (7, 7)])
        m, b = np.array([16397, 16397, -11937, 2]), rng.integers(-400, 400, 4)
        apart = cls._example(m, b, 4, 8, half(8), -127, 127)
        yield Graph({"x": ranges}, (replace(apart, extra_O=np.array([0, 15, 12, 1])),))
        m, b = rng.integers(-90, 90, 6), rng.integers(-400, 400, 2)  # one for each element, and one for each channel
        image = Value((3, 2), -900, 999, ranges=((0, 999), (-900, 7)))
        each = replace(cls._example(m, b, 4, 8, half(8), -127, 127), extra_O=np.array([0, 2, 1, 3, 0, 5]))
        yield Graph({"x": image}, (each,))

    @classmethod
    def _example(
        cls, m: np.ndarray, b: np.ndarray, bias_shift: int, shift: int, rounding: int, lo: int, hi: int
    ) -> Requantize:
        return cls(
            name="y", inputs=("x",), multiplier_O=m, bias_O=b, bias_shift=bias_shift, shift=shift, rounding=rounding, lo=lo, hi=hi
        )  # fmt: skip


def _spread(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return parameters as int64 that broadcast against values of a shape: one for all, for each channel, or for each element."""
    return array.astype(np.int64) if array.size in (1, shape[-1]) else array.astype(np.int64).reshape(shape)


def _shifted(number: str, bits: int) -> str:
    """C for a 16-bit number shifted left, where the result is known to fit 32 bits: by whole bytes and back where that is nearer, for 8-bit chips.

    >>> _shifted("b", 4), _shifted("b", 7), _shifted("b", 19)
    ('(int32_t)b * 16', '((int32_t)b * 256 >> 1)', '(int32_t)(int16_t)(b * 8) * 65536')
    """
    back = -bits % 8
    if bits > 16:
        return f"(int32_t)(int16_t)({number} * {1 << (bits - 16)}) * 65536"
    if bits > 8 and back:
        return f"((int32_t){number} * 65536 >> {16 - bits})"
    if back in (1, 2):
        return f"((int32_t){number} * 256 >> {back})"
    return f"(int32_t){number} * {1 << bits}"
