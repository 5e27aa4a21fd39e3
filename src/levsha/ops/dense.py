"""y[o] = sum over i of weight[o, i] * x[i]; x of any shape is read as it lies in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from levsha.arith import FLOAT64_EXACT
from levsha.builder import MOST_BYTES_SUMMED, OnnxBuilder, flat
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ir import Code, Constant, Graph, Op, Value, c_index, c_long, c_name

ARRAY_BYTES = (
    32_767  # compilers with a 16-bit int refuse larger arrays: the weights of larger layers are emitted in parts
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(Op):
    """A matrix product without bias; legend: O outputs, I inputs.

    weight_OI: integers on the grid of `format`, one for each element of x in C order. sum_bits: 16 or 32, the widest type a
    sum may need.
    """

    learnt: ClassVar[bool] = True
    weight_OI: np.ndarray
    format: Format
    sum_bits: int = 32

    def infer(self, *x: Value) -> Value:
        """Bound every partial sum, in any order, so that no sum overflows on the way."""
        (x_,) = x
        outputs, count = self.weight_OI.shape
        if x_.size != count:
            raise LevshaError(f"the weight reads {count} inputs, but {self.inputs[0]!r} has shape {x_.shape}.")
        check_grid(self.weight_OI, self.format)
        lo, hi = self._bounds(x_)
        check_sums(lo, hi, self.sum_bits, x_, self.weight_OI)
        return Value((outputs,), lo, hi)

    def _bounds(self, x: Value) -> tuple[int, int]:
        weight_OI = self.weight_OI.astype(np.int64)
        ends = np.stack([weight_OI * np.broadcast_to(end, x.shape).ravel() for end in (x.lows, x.highs)])
        hi = int(np.maximum(ends.max(0), 0).sum(1).max())
        lo = int(np.minimum(ends.min(0), 0).sum(1).min())
        if x.total is not None:  # the elements' magnitudes add up to no more than this, whichever input they meet
            reach = int(np.abs(weight_OI).max()) * x.total
            hi, lo = min(hi, reach), max(lo, -reach)
        return lo, hi

    def run(self, *x: np.ndarray) -> np.ndarray:
        x_NI = x[0].reshape(len(x[0]), self.weight_OI.shape[1])
        bound = int(np.abs(x_NI).max(initial=0)) * int(np.abs(self.weight_OI.astype(np.int64)).sum(1).max())
        if bound < FLOAT64_EXACT:  # exact there, and a float64 product runs through BLAS
            return (x_NI.astype(np.float64) @ self.weight_OI.T.astype(np.float64)).astype(np.int64)
        return x_NI @ self.weight_OI.T.astype(np.int64)

    def macs(self, out: Value, *x: Value) -> int:
        return self.weight_OI.size

    def packed(self) -> np.ndarray:
        """Return the weight bytes in the order the kernel reads them: block of outputs, input, output in the block."""
        return pack_blocks(self.weight_OI, self.format)

    def parts(self, block: int, block_bytes: int) -> list[tuple[str, int, int]]:
        """Return name, first output and number of outputs of each array that the weights are cut into.

        block: outputs that lie together; block_bytes: bytes of one block.
        """
        step = max(1, ARRAY_BYTES // block_bytes) * block
        starts, outputs = range(0, len(self.weight_OI), step), len(self.weight_OI)
        names = [f"{self.name}_weight{f'_{start}' if len(starts) > 1 else ''}" for start in starts]
        return [(name, start, min(step, outputs - start)) for name, start in zip(names, starts, strict=True)]

    def code(self, out: Value, *x: Value) -> Code:
        kernel, functions = c_functions(self.format, x[0], out, max(self.weight_OI.shape))
        return self.in_parts(kernel, self.format.block, self.packed(), functions)

    def in_parts(self, kernel: str, block: int, packed: np.ndarray, functions: dict[str, str]) -> Code:
        """Return the calls of a kernel(weights, x, inputs, y, outputs) over weights packed in blocks of outputs, cut into parts."""
        count, blocks = self.weight_OI.shape[1], -(-len(self.weight_OI) // block)
        y, source, rows = c_name(self.name), c_name(self.inputs[0]), packed.reshape(blocks, -1)
        parts = self.parts(block, rows.shape[1])
        calls = [f"${kernel}(${name}, {source}, {count}, {y} + {start}, {n});" for name, start, n in parts]
        constants = {
            name: Constant("uint8_t", rows[start // block : -(-(start + n) // block)].ravel())
            for name, start, n in parts
        }
        return Code("\n".join(calls), constants, functions)

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        """Bytes without a sign on both sides: with one, processors without VNNI saturate sums of two products at 16 bits."""
        weight_IO = self.weight_OI.T.astype(np.int64)
        if not sums_bytes(self.format, x[0], len(weight_IO)):
            weights = builder.cast(builder.constant(weight_IO, self.format.type), "int32")
            return builder.node("MatMul", [flat(builder, builder.read(self.inputs[0], "int32"), x[0]), weights])
        source, zero = builder.unsigned(self.inputs[0])
        weights, zeros = builder.constant(weight_IO + 128, "uint8"), [builder.constant(z, "uint8") for z in (zero, 128)]
        return builder.node("MatMulInteger", [flat(builder, source, x[0]), weights, *zeros], "int32")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for weight_format in FORMATS.values():
            for value in (
                Value((7,), 0, 255),
                Value((9,), -128, 127),
                Value((3,), -32768, 32767),
                Value((6,), 0, 60, total=60),
            ):
                outputs = int(rng.integers(1, 20))
                fits = np.abs(weight_format.grid) * value.size * max(value.hi, -value.lo) < 1 << 31
                weight_OI = rng.choice(weight_format.grid[fits], (outputs, value.size))
                yield Graph({"x": value}, (cls(name="y", inputs=("x",), weight_OI=weight_OI, format=weight_format),))
        image = Value((2, 1, 3), -128, 255, ranges=((0, 9), (-128, 127), (0, 255)))
        for weight_format, value in ((FORMATS["int8"], image), (FORMATS["int4"], Value((2, 3), -128, 127))):
            weight_OI = rng.choice(weight_format.grid, (5, value.size))
            yield Graph({"x": value}, (cls(name="y", inputs=("x",), weight_OI=weight_OI, format=weight_format),))


def sums_bytes(weights: Format, x: Value, count: int) -> bool:
    """Say whether ONNX can sum so many products of one output as products of bytes."""
    return weights.type == "int8" and x.dtype.itemsize == 1 and count <= MOST_BYTES_SUMMED


def check_grid(weight_OI: np.ndarray, weights: Format) -> None:
    """Raise LevshaError unless every weight is on the grid of a format."""
    if not np.isin(weight_OI, weights.grid).all():
        raise LevshaError(f"a weight is not on the grid of {weights.name}: {weights.meaning}.")


def check_sums(lo: int, hi: int, sum_bits: int, x: Value, weight_OI: np.ndarray) -> None:
    """Raise LevshaError unless sums in lo..hi fit `sum_bits` bits; x and weight_OI are named in it."""
    allowed = (1 << (sum_bits - 1)) - 1
    if hi > allowed or lo < -allowed - 1:
        reached = hi if hi > allowed else lo
        raise LevshaError(
            f"a sum can reach {_grouped(reached)}; int{sum_bits} allows {_grouped(allowed)}. {weight_OI.shape[1]} inputs in "
            f"{x.lo}..{x.hi}, weights {weight_OI.min()}..{weight_OI.max()}. Use activations of fewer bits, "
            f"fewer inputs, a narrower format such as binary, or sum_bits=32."
        )


def pack_blocks(weight_OI: np.ndarray, weights: Format) -> np.ndarray:
    """Return the bytes of weights in the order `c_functions` reads them: block of outputs, input, output in the block."""
    outputs, count = weight_OI.shape
    rows = np.full((-(-outputs // weights.block) * weights.block, count), weights.digit_offset, np.int64)
    rows[:outputs] = weight_OI
    return weights.pack(rows.reshape(-1, weights.block, count).swapaxes(1, 2).reshape(-1))


def c_functions(weights: Format, x: Value, out: Value, most: int) -> tuple[str, dict[str, str]]:
    """Return the name of a C function (w, x, inputs, y, outputs) that multiplies by packed blocks, and the functions it needs.

    x, out: what it reads and writes. most: the largest number of inputs or outputs.
    """
    sum_type = "uint32_t" if out.c_type == "int32_t" else "unsigned"
    name, index = f"dense_{weights.name}_{x.c_type[:-2]}_", c_index(most)
    block, kernel = f"{name}block{32 if sum_type == 'uint32_t' else 16}", name + out.c_type[:-2] + c_long(index)
    return kernel, {
        block: _c_block(block, weights, x.c_place, sum_type),
        kernel: _c_kernel(kernel, block, weights, x.c_place, out, sum_type, index),
    }


def _grouped(number: int) -> str:
    return f"{number:_}".replace("_", " ")


def _c_block(name: str, weights: Format, x_type: str, sum_type: str) -> str:
    """The inner loop: a function of its own, so that nothing but the sums competes for registers."""
    sums = [f"s{k}" for k in range(weights.block)]
    narrow = x_type == "uint8_t" and sum_type == "unsigned"
    accumulate = "\n            ".join(weights.c_accumulate(sum_type, narrow))
    return f"""/* Sums of {weights.block} outputs, from weights {weights.meaning}; zero inputs are skipped where branches are cheap. Returns the end of the weights. */
static $KERNEL const uint8_t *${name}(const uint8_t *w, const {x_type} *v, const {x_type} *v_end, {sum_type} *sums)
{{
    {sum_type} {", ".join(f"{s} = 0" for s in sums)};
    do {{
        const {x_type} a = *v++;
        if (a || !$BRANCHES) {{
            {accumulate}
        }}
        w += {weights.packed_bytes(weights.block)};
    }} while (v != v_end);
    {" ".join(f"sums[{k}] = {s};" for k, s in enumerate(sums))}
    return w;
}}
"""


def _c_kernel(name: str, block: str, weights: Format, x_type: str, out: Value, sum_type: str, index: str) -> str:
    """Sums are unsigned and wrap: the proven range of the result makes the final conversion exact."""
    total = f"""
    {sum_type} total = 0;
    for (const {x_type} *v = x; v != x_end; ++v) {{
        const {sum_type} u = ({sum_type})*v;
        total += u;
    }}
    total *= {-weights.digit_offset}u;"""
    corrects = weights.digit_offset != 0
    scale = "" if weights.digit_scale == 1 else f" * {weights.digit_scale}u"
    narrow = "uint32_t" if sum_type == "uint32_t" else "uint16_t"
    return f"""/* y[o] = sum of weight[o][i] * x[i] */
static void ${name}(const uint8_t *w, const {x_type} *x, {index} inputs, {out.c_place} *y, {index} outputs)
{{
    const {x_type} *const x_end = x + inputs;
    {sum_type} sums[{weights.block}];{total if corrects else ""}
    for ({index} o = 0, k = {weights.block}; o < outputs; ++o, ++k) {{
        if (k == {weights.block}) {{
            w = ${block}(w, x, x_end, sums);
            k = 0;
        }}
        *y++ = ({out.c_type})({narrow})(sums[k]{scale}{" - total" if corrects else ""});
    }}
}}
"""
