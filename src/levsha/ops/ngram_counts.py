"""y[b] = how many n-grams of a text fall into hash bucket b: how text enters a graph.

The hash is z80ai's: h = seed; for each character h = (h * 31 + code) & 0xFFFF; bucket = h % buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError
from levsha.ir import Code, Graph, Op, Value, c_name

HASHES = 1 << 16  # a hash, and a place in a text, has 16 bits
SPACE, UPPER_A, UPPER_Z, TO_LOWER = 32, 65, 90, 32


@dataclass(frozen=True, kw_only=True, eq=False)
class NgramCounts(Op):
    """Counts of hashed n-grams of a text of bytes, which ends at its first zero byte; A..Z count as a..z.

    sizes: the n of the n-grams. pad: spaces put at both ends. position_seed: the hash of the n-gram at position i starts
    with i * position_seed, so that 0 forgets the position. buckets: a power of two.
    """

    sizes: tuple[int, ...]
    pad: int
    position_seed: int
    buckets: int

    def infer(self, *x: Value) -> Value:
        (x_,) = x
        if len(x_.shape) != 1 or (x_.lo, x_.hi) != (0, 255):
            raise LevshaError(
                f"reads bytes (0..255) of one dimension; {self.inputs[0]!r} is {x_.shape} in {x_.lo}..{x_.hi}."
            )
        if self.buckets & (self.buckets - 1) or not 1 <= self.buckets <= HASHES:
            raise LevshaError(f"{self.buckets} buckets; the number must be a power of two, at most {HASHES}.")
        if x_.size + 2 * self.pad >= HASHES or not all(
            0 <= n < 256 for n in (*self.sizes, self.pad, self.position_seed)
        ):
            raise LevshaError(
                f"counts {self.sizes}-grams of {x_.size} bytes, pad {self.pad}, position_seed {self.position_seed}; at most {HASHES - 1} "
                "bytes with the padding, and 0 to 255 of the others, are allowed."
            )
        most = sum(max(0, x_.size + 2 * self.pad - n + 1) for n in self.sizes)
        return Value((self.buckets,), 0, most, total=most)

    def run(self, *x: np.ndarray) -> np.ndarray:
        (text_NL,) = x
        count, width = text_NL.shape
        length_N = np.where((text_NL == 0).any(1), (text_NL == 0).argmax(1), width) + 2 * self.pad
        lower_NL = np.where((text_NL >= UPPER_A) & (text_NL <= UPPER_Z), text_NL + TO_LOWER, text_NL)
        padded_NL = np.pad(
            np.where(text_NL == 0, SPACE, lower_NL), ((0, 0), (self.pad, self.pad)), constant_values=SPACE
        )
        after_N1 = (length_N - self.pad)[:, None]
        padded_NL = np.where(np.arange(padded_NL.shape[1]) >= after_N1, SPACE, padded_NL)
        flat = np.zeros(count * self.buckets, np.int64)
        for n in self.sizes:
            places = max(0, padded_NL.shape[1] - n + 1)
            hash_NP = np.broadcast_to(np.arange(places) * self.position_seed, (count, places))
            for j in range(n):
                hash_NP = (hash_NP * 31 + padded_NL[:, j : j + places]) & 0xFFFF
            bucket_NP = hash_NP % self.buckets + np.arange(count)[:, None] * self.buckets
            inside_NP = np.arange(places) + n <= length_N[:, None]
            flat += np.bincount(bucket_NP[inside_NP], minlength=len(flat))
        return flat.reshape(count, self.buckets)

    def code(self, out: Value, *x: Value) -> Code:
        y, text = c_name(self.name), c_name(self.inputs[0])
        kernel = f"ngram_counts_{out.c_type[:-2]}_{self.buckets}"
        clear = f"for (uint16_t i = 0; i < {out.size}; ++i) {y}[i] = 0;"
        calls = [f"${kernel}({text}, {x[0].size}, {self.pad}, {n}, {self.position_seed}, {y});" for n in self.sizes]
        return Code("\n".join([clear, *calls]), functions={kernel: self._function(kernel, out)})

    def _function(self, name: str, out: Value) -> str:
        return f"""/* Counts the n-grams of a text that ends at a zero byte or after `most` bytes, with `pad` spaces at both ends. */
static void ${name}(const uint8_t *text, uint16_t most, uint8_t pad, uint8_t n, uint8_t position_seed, {out.c_place} *counts)
{{
    uint16_t length = 0;
    while (length < most && text[length]) ++length;
    for (uint16_t start = 0; start + n <= length + 2 * pad; ++start) {{
        uint16_t hash = (uint16_t)(start * position_seed);
        for (uint8_t j = 0; j < n; ++j) {{
            const uint16_t at = (uint16_t)(start + j - pad);   /* wraps below zero: outside as well */
            uint8_t c = at < length ? text[at] : (uint8_t)' ';
            if (c >= 'A' && c <= 'Z') c = (uint8_t)(c + ('a' - 'A'));
            hash = (uint16_t)(hash * 31u + c);
        }}
        ++counts[hash & {self.buckets - 1}u];
    }}
}}
"""

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        """Hash every place of the text at once, and count by a one-hot row for each; places past the end count in no bucket."""
        width = x[0].size + 2 * self.pad
        sizes = self.sizes or (width + 1,)  # one that fits nowhere
        padded, length = self._onnx_text(builder, x[0].size, max(0, max(sizes) - width))
        counts = ""
        for n in sizes:
            place = np.arange(max(1, width - n + 1))
            hashed = builder.constant([place * self.position_seed % HASHES], "int32")
            for j in range(n):
                ends = [builder.constant([end], "int64") for end in (j, j + len(place), 1)]  # from, to, axis
                code = builder.node("Slice", [padded, *ends])
                grown = builder.node("Mul", [hashed, builder.constant(31, "int32")])
                hashed = builder.node("Mod", [builder.node("Add", [grown, code]), builder.constant(HASHES, "int32")])
            found = self._onnx_counted(builder, hashed, length, place + n)
            counts = builder.node("Add", [counts, found]) if counts else found
        return counts

    def _onnx_text(self, builder: OnnxBuilder, size: int, more: int) -> tuple[str, str]:
        """Return the text in small letters with spaces around it and behind its end, and its length with the padding, (N, 1)."""

        def constant(number: int) -> str:
            return builder.constant(number, "int32")

        code, last = builder.read(self.inputs[0], "int32"), builder.constant(1, "int64")
        is_end = builder.node("Sub", [constant(1), builder.node("Min", [code, constant(1)])])
        ended = builder.node("Min", [builder.node("CumSum", [is_end, last]), constant(1)])
        table = np.arange(256) + TO_LOWER * ((np.arange(256) >= UPPER_A) & (np.arange(256) <= UPPER_Z))
        lower = builder.node("Gather", [builder.constant(table, "int32"), code])
        to_space = builder.node("Mul", [ended, builder.node("Sub", [constant(SPACE), lower])])
        around = builder.constant([0, self.pad, 0, self.pad + more], "int64")
        padded = builder.node("Pad", [builder.node("Add", [lower, to_space]), around, constant(SPACE)])
        behind = builder.node("ReduceSum", [ended, builder.constant([1], "int64")])
        return padded, builder.node("Sub", [constant(size + 2 * self.pad), behind])

    def _onnx_counted(self, builder: OnnxBuilder, hashed: str, length: str, ends: np.ndarray) -> str:
        """Return how many places, each of which ends at `ends`, fall into each bucket; those that end behind the text into none."""
        none = builder.constant(self.buckets, "int32")
        bucket = builder.node("Mod", [hashed, none])
        room = builder.node("Sub", [length, builder.constant([ends - 1], "int32")])
        inside = builder.node("Clip", [room, *(builder.constant(end, "int32") for end in (0, 1))])
        or_none = builder.node("Add", [none, builder.node("Mul", [inside, builder.node("Sub", [bucket, none])])])
        depth, off_on = builder.constant(self.buckets, "int64"), builder.constant([0, 1], "int64")
        rows = builder.node("OneHot", [builder.cast(or_none, "int64"), depth, off_on])
        return builder.node("ReduceSum", [rows, builder.constant([1], "int64")], keepdims=0)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        for width, sizes, pad, seed in ((60, (3,), 1, 0), (8, (1, 2, 3), 0, 7), (4, (2, 6), 2, 7)):
            op = cls(name="y", inputs=("text",), sizes=sizes, pad=pad, position_seed=seed, buckets=128)
            yield Graph({"text": Value((width,), 0, 255)}, (op,))
