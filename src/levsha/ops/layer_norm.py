"""y = 32768 / sqrt(n) * (x - mean) / sqrt(variance), row by row: layer normalisation; weights and biases are what requantising y does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.arith import INT16_MAX
from levsha.builder import OnnxBuilder, reshaped
from levsha.errors import LevshaError
from levsha.ir import Code, Graph, Op, Value, c_index, c_name

MOST_WIDTH = 32_000  # of the differences from the mean in 2**-bits: times 65 535 they fit 32 bits
MOST_SIZE = 32_767
MOST_BITS = 8
NORMAL, TOP = 30, 1 << 32  # what is under the root is shifted left by twos into 2**30..2**32
ROOT_BITS = 16
ONE = 1 << 15


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerNorm(Op):
    """Each row of `size` elements, in the order they lie in memory, less its mean and divided by its spread.

    With e = x - round(mean): A = sum of e**2 - (sum of e)**2 / size + epsilon, at least 1; root = isqrt(A * 4**t), of 16 bits;
    r = min(2**31 / root, 65535); d = 2**bits * e - round(2**bits * sum of e / size); y = clip(d * r >> 16 + bits - t), rounded to
    nearest. Divisions round down. epsilon: size * the real one / step**2, an integer. bits: of a mean's fraction, 0 to 8.
    """

    size: int
    epsilon: int = 0
    bits: int = 0

    def infer(self, *x: Value) -> Value:
        """Prove that the squares of a row add up to 32 bits; at best they are size / 4 times the square of the width."""
        (x_,) = x
        if not 0 < self.size <= MOST_SIZE or x_.size % self.size:
            raise LevshaError(
                f"normalises {self.size} elements; {self.inputs[0]!r} has shape {x_.shape}: rows of 1 to {MOST_SIZE} are needed."
            )
        width = x_.hi - x_.lo
        if not 0 <= self.bits <= MOST_BITS or (width + 1) << self.bits > MOST_WIDTH:
            raise LevshaError(
                f"{self.inputs[0]!r} can be {x_.lo}..{x_.hi}, {width} apart, with {self.bits} bits more; {MOST_WIDTH} steps are allowed, "
                f"and 0 to {MOST_BITS} bits. Use fewer."
            )
        reach = self.size * (width * width + 1) // 4 + 1 + self.epsilon
        if reach >= TOP or self.epsilon < 0:
            raise LevshaError(
                f"the squares of {self.size} elements in {x_.lo}..{x_.hi} and an epsilon of {self.epsilon} can reach {reach}; "
                f"0..{TOP - 1} are allowed. Use fewer bits."
            )
        return Value((x_.size // self.size, self.size), -INT16_MAX, INT16_MAX)

    def run(self, *x: np.ndarray) -> np.ndarray:
        x_NRI = x[0].reshape(len(x[0]), -1, self.size)
        n = self.size
        e_NRI = x_NRI - (x_NRI.sum(-1, keepdims=True) + n // 2) // n
        rest_NR1 = e_NRI.sum(-1, keepdims=True)
        a_NR1 = np.maximum((e_NRI**2).sum(-1, keepdims=True) - rest_NR1**2 // n + self.epsilon, 1)
        twos_NR1 = sum((a_NR1 < 1 << (NORMAL - 2 * k)).astype(np.int64) for k in range(NORMAL // 2))
        # exact: float64 holds these integers, and no root of one comes nearer to the next integer than it resolves
        root_NR1 = np.sqrt((a_NR1 << (2 * twos_NR1)).astype(np.float64)).astype(np.int64)
        r_NR1 = np.minimum((1 << 31) // root_NR1, 65_535)
        d_NRI = (e_NRI << self.bits) - ((rest_NR1 << self.bits) + n // 2) // n
        shift_NR1 = 16 + self.bits - twos_NR1
        y_NRI = (d_NRI * r_NR1 + (1 << (shift_NR1 - 1))) >> shift_NR1
        return y_NRI.clip(-INT16_MAX, INT16_MAX)

    def code(self, out: Value, *x: Value) -> Code:
        name = f"layer_norm_{x[0].c_type[:-2]}"
        rows, size = out.shape
        call = (
            f"${name}({c_name(self.inputs[0])}, {c_name(self.name)}, {rows}, {size}, {x[0].lo}, {self.epsilon}u, {self.bits});"
        )  # fmt: skip
        return Code(call, functions={"square_root": _SQUARE_ROOT, name: _function(name, x[0], out)})

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        """All in int64; the root is found bit by bit."""
        one = Steps(builder)
        n, bits = self.size, self.bits
        source = reshaped(builder, builder.read(self.inputs[0], "int64"), out.shape)
        low = n * (abs(x[0].lo) + 1)
        # numbers are moved above 0 before a division, which rounds towards it
        mean = one("Sub", one("Div", one("Add", one.sum(source), n // 2 + n * low), n), low)
        e = builder.node("Sub", [source, mean])
        rest = one.sum(e)
        squares = builder.node(
            "Sub", [one.sum(builder.node("Mul", [e, e])), one("Div", builder.node("Mul", [rest, rest]), n)]
        )
        a = one("Max", one("Add", squares, self.epsilon), 1)
        least = builder.constant([1 << (NORMAL - 2 * k) for k in range(NORMAL // 2)], "int64")
        twos = one.sum(one.truth(builder.node("Sub", [least, a])))
        root = one.root(builder.node("Mul", [a, one.power(4, twos)]))
        r = one("Min", builder.node("Div", [builder.constant([1 << 31], "int64"), root]), 65_535)
        part = one("Sub", one("Div", one("Add", one("Mul", rest, 1 << bits), n // 2 + (n << bits)), n), 1 << bits)
        product = builder.node("Mul", [builder.node("Sub", [one("Mul", e, 1 << bits), part]), r])
        unit = builder.node("Div", [builder.constant([1 << (16 + bits)], "int64"), one.power(2, twos)])
        above = builder.node("Add", [one("Mul", unit, 2 * ONE), one("Div", unit, 2)])
        y = one("Sub", builder.node("Div", [builder.node("Add", [product, above]), unit]), 2 * ONE)
        ends = [builder.constant(end, "int64") for end in (-INT16_MAX, INT16_MAX)]
        return builder.node("Clip", [y, *ends])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for x, size, epsilon, bits in (
            (Value((7,), -127, 127), 7, 0, 6),
            (Value((3, 5), 0, 255), 5, 3, 0),
            (Value((2, 2, 3), -128, 127), 6, 1, 6),
            (Value((2, 8), -8191, 8191), 8, 0, 0),
            (Value((64,), -4000, 4000), 64, 90_000, 1),
            (Value((4,), 20_000, 50_000), 4, 0, 0),
            (Value((3, 1), -1, 1), 1, 0, 8),
            (Value((300,), -127, 127), 300, 1 << 31, 4),
            (Value((2, 3), 5, 5), 3, 0, 8),
        ):
            yield Graph({"x": x}, (cls(name="y", inputs=("x",), size=size, epsilon=epsilon, bits=bits),))


class Steps:
    """Nodes of an int64 tensor and a number."""

    def __init__(self, builder: OnnxBuilder) -> None:
        self.builder = builder

    def __call__(self, operator: str, x: str, number: int) -> str:
        return self.builder.node(operator, [x, self.builder.constant([number], "int64")])

    def sum(self, x: str) -> str:
        """Return the sum over the last axis, which is kept."""
        return self.builder.node("ReduceSum", [x, self.builder.constant([-1], "int64")], keepdims=1)

    def power(self, base: int, exponent: str) -> str:
        """Return the power of a base, for exponents 0 to 15."""
        return self.builder.node("Gather", [self.builder.constant([base**k for k in range(16)], "int64"), exponent])

    def truth(self, x: str) -> str:
        """Return 1 where an integer is above 0, else 0."""
        return self.builder.node("Clip", [x, *(self.builder.constant(end, "int64") for end in (0, 1))])

    def root(self, x: str) -> str:
        """Return the square root, rounded down, of less than 2**32."""
        builder, root = self.builder, self("Mul", x, 0)
        for bit in reversed(range(ROOT_BITS)):
            more = self("Add", root, 1 << bit)
            left = builder.node("Sub", [x, builder.node("Mul", [more, more])])
            root = builder.node("Add", [root, self("Mul", self.truth(self("Add", left, 1)), 1 << bit)])
        return root


_SQUARE_ROOT = """/* The square root of a number from 2**30 on, rounded down. */
static uint32_t $square_root(uint32_t a)
{
    uint32_t root = 0;
    for (uint32_t bit = (uint32_t)1 << 30; bit; bit >>= 2) {
        if (a >= root + bit) {
            a -= root + bit;
            root = (root >> 1) + bit;
        } else root >>= 1;
    }
    return root;
}
"""


def _function(name: str, x: Value, out: Value) -> str:
    """Sums are unsigned and wrap; all that is signed is proven to fit."""
    index = c_index(max(out.shape))
    return f"""/* Each row less its mean, divided by its spread: {ONE} / sqrt(size) stands for 1. lo: no x is less. bits: of a mean's fraction. */
static void ${name}(const {x.c_place} *x, {out.c_place} *y, {index} rows, {index} size, int32_t lo, uint32_t epsilon, uint8_t bits)
{{
    for (; rows; --rows, x += size, y += size) {{
        uint32_t sum = 0, squares = 0, root;
        uint8_t shift = (uint8_t)(16 + bits);
        for ({index} i = 0; i < size; ++i) sum += (uint32_t)((int32_t)x[i] - lo);
        const uint32_t mean = (sum + size / 2u) / size;
        const int32_t middle = lo + (int32_t)mean, rest = (int32_t)(sum - mean * size);
        for ({index} i = 0; i < size; ++i) {{
            const int32_t e = (int32_t)x[i] - middle;
            squares += (uint32_t)(e * e);
        }}
        squares = squares - (uint32_t)(rest * rest) / size + epsilon;
        if (!squares) squares = 1;
        for (; squares < (uint32_t)1 << {NORMAL}; squares <<= 2) --shift;
        root = (uint32_t)1 << 31;
        root /= $square_root(squares);
        if (root > 65535u) root = 65535u;
        const int32_t part = (int32_t)((((uint32_t)(rest + (int32_t)size) << bits) + size / 2u) / size) - ((int32_t)1 << bits);
        for ({index} i = 0; i < size; ++i) {{
            int32_t v = (((int32_t)x[i] - middle) * ((int32_t)1 << bits) - part) * (int32_t)root;
            v = (v + ((int32_t)1 << (shift - 1))) >> shift;
            if (v < -{INT16_MAX}) v = -{INT16_MAX};
            if (v > {INT16_MAX}) v = {INT16_MAX};
            y[i] = ({out.c_type})v;
        }}
    }}
}}
"""
