"""y[o] = sum over i of weight[o, i] * x[i]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.arith import FLOAT64_EXACT
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ir import Constant, Graph, Op, Value, c_name

ARRAY_BYTES = 32_767  # avr-gcc refuses larger arrays: the weights of larger layers are emitted in parts


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(Op):
    """A matrix product without bias; legend: O outputs, I inputs.

    weight_OI: integers on the grid of `format`. sum_bits: 16 or 32, the widest type a sum may need.
    """

    weight_OI: np.ndarray
    format: Format
    sum_bits: int = 32

    def infer(self, *x: Value) -> Value:
        """Bound every partial sum, in any order, so that no sum overflows on the way."""
        (x_,) = x
        outputs, count = self.weight_OI.shape
        if x_.shape != (count,):
            raise LevshaError(f"the weight reads {count} inputs, but {self.inputs[0]!r} has shape {x_.shape}.")
        lo, hi = self._bounds(x_)
        allowed = (1 << (self.sum_bits - 1)) - 1
        if hi > allowed or lo < -allowed - 1:
            reached = hi if hi > allowed else lo
            raise LevshaError(
                f"a sum can reach {reached:,}; int{self.sum_bits} allows {allowed:,}. {count} inputs in {x_.lo}..{x_.hi}, "
                f"weights {self.weight_OI.min()}..{self.weight_OI.max()}. Use activations of fewer bits, fewer inputs, a "
                f"narrower format such as binary, or sum_bits=32.".replace(",", " ", 1)
            )
        return Value((outputs,), lo, hi)

    def _bounds(self, x: Value) -> tuple[int, int]:
        weight_OI = self.weight_OI.astype(np.int64)
        ends = np.stack([weight_OI * x.lo, weight_OI * x.hi])
        hi = int(np.maximum(ends.max(0), 0).sum(1).max())
        lo = int(np.minimum(ends.min(0), 0).sum(1).min())
        if x.total is not None:  # the elements' magnitudes add up to no more than this, whichever input they meet
            reach = int(np.abs(weight_OI).max()) * x.total
            hi, lo = min(hi, reach), max(lo, -reach)
        return lo, hi

    def run(self, *x: np.ndarray) -> np.ndarray:
        (x_NI,) = x
        bound = int(np.abs(x_NI).max(initial=0)) * int(np.abs(self.weight_OI.astype(np.int64)).sum(1).max())
        if bound < FLOAT64_EXACT:  # exact there, and a float64 product runs through BLAS
            return (x_NI.astype(np.float64) @ self.weight_OI.T.astype(np.float64)).astype(np.int64)
        return x_NI @ self.weight_OI.T.astype(np.int64)

    def packed(self) -> np.ndarray:
        """Return the weight bytes in the order the kernel reads them: block of outputs, input, output in the block."""
        outputs, count = self.weight_OI.shape
        size = self.format.block
        lowest = self.format.digit_offset if self.format.digits_per_byte > 1 else 0
        rows = np.full((-(-outputs // size) * size, count), lowest, np.int64)
        rows[:outputs] = self.weight_OI
        return self.format.pack(rows.reshape(-1, size, count).swapaxes(1, 2).reshape(-1))

    def _parts(self) -> list[tuple[str, int, int]]:
        """C name, first output and number of outputs of each part of the weights."""
        outputs, count = self.weight_OI.shape
        block_bytes = self.format.block // self.format.digits_per_byte * count
        step = max(1, ARRAY_BYTES // block_bytes) * self.format.block
        starts = range(0, outputs, step)
        names = [f"{c_name(self.name)}_weight{f'_{start}' if len(starts) > 1 else ''}" for start in starts]
        return [(name, start, min(step, outputs - start)) for name, start in zip(names, starts, strict=True)]

    def constants(self) -> dict[str, Constant]:
        size, count = self.format.block, self.weight_OI.shape[1]
        rows = self.packed().reshape(-1, size // self.format.digits_per_byte * count)
        return {name: Constant("uint8_t", rows[start // size : -(-(start + n) // size)].ravel()) for name, start, n in self._parts()}

    def c(self, out: Value, *x: Value) -> str:
        kernel, count = self._kernel(out, *x), self.weight_OI.shape[1]
        y, source = c_name(self.name), c_name(self.inputs[0])
        return "\n".join(f"{kernel}({name}, {source}, {count}, {y} + {start}, {n});" for name, start, n in self._parts())

    def _kernel(self, out: Value, x: Value) -> str:
        return f"dense_{self.format.name}_{x.c_type[:-2]}_{_sum_type(out)[:-2]}_{out.c_type[:-2]}"

    def functions(self, out: Value, *x: Value) -> dict[str, str]:
        return {self._kernel(out, *x): _c_kernel(self._kernel(out, *x), self.format, x[0].c_type, out.c_type, _sum_type(out))}

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for weight_format in FORMATS.values():
            for value in (Value((7,), 0, 255), Value((9,), -128, 127), Value((3,), -32768, 32767), Value((6,), 0, 60, total=60)):
                outputs = int(rng.integers(1, 20))
                weight_OI = rng.choice(weight_format.grid, (outputs, value.size))
                yield Graph({"x": value}, (cls(name="y", inputs=("x",), weight_OI=weight_OI, format=weight_format),))


def _sum_type(out: Value) -> str:
    return "uint32_t" if out.c_type == "int32_t" else "uint16_t"


def _c_kernel(name: str, weights: Format, x_type: str, y_type: str, sum_type: str) -> str:
    """Outputs in blocks, their sums in registers; a zero input is skipped.

    Sums are unsigned and wrap: the proven range of the result makes the final conversion exact.
    """
    sums = [f"s{k}" for k in range(weights.block)]
    narrow = x_type == "uint8_t" and sum_type == "uint16_t"
    accumulate = "\n                ".join(weights.c_accumulate(sum_type, narrow))
    corrects = weights.digit_offset != 0
    total = f"""
    {sum_type} total = 0;
    for (const {x_type} *v = x; v != x_end; ++v) total = ({sum_type})(total + ({sum_type})*v);
    total = ({sum_type})(total * {-weights.digit_offset}u);"""
    scale = "" if weights.digit_scale == 1 else f" * {weights.digit_scale}u"
    stores = "\n        ".join(
        f"*y++ = ({y_type})({sum_type})({s}{scale}{' - total' if corrects else ''}); if (y == y_end) return;" for s in sums
    )
    return f"""/* y[o] = sum of weight[o][i] * x[i]; weights {weights.meaning}; blocks of {weights.block} outputs, zero inputs skipped. */
static void {name}(const uint8_t *w, const {x_type} *x, uint16_t inputs, {y_type} *y, uint16_t outputs)
{{
    const {x_type} *const x_end = x + inputs;
    {y_type} *const y_end = y + outputs;{total if corrects else ""}
    for (;;) {{
        {sum_type} {", ".join(f"{s} = 0" for s in sums)};
        const {x_type} *v = x;
        do {{
            const {x_type} a = *v++;
            if (a) {{
                {accumulate}
            }}
            w += {weights.block // weights.digits_per_byte};
        }} while (v != x_end);
        {stores}
    }}
}}
"""
