"""The tinychat network as an integer graph: text in, the next byte out; and z80ai's network as such a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levsha.arith import INT32_MAX
from levsha.data.pairs import CONTEXT_BYTES, QUERY_BYTES, Pairs
from levsha.data.z80ai import Z80aiNet
from levsha.formats import FORMATS, Format
from levsha.ir import Graph, Op, Value
from levsha.meaning import Meaning, Quantity
from levsha.ops import Add, Argmax, Dense, Lookup, NgramCounts, Requantize

BUCKETS = 128
QUERY_NGRAMS = NgramCounts(name="query_counts", inputs=("query",), sizes=(3,), pad=1, position_seed=0, buckets=BUCKETS)
CONTEXT_NGRAMS = NgramCounts(
    name="context_counts", inputs=("context",), sizes=(1, 2, 3), pad=0, position_seed=7, buckets=BUCKETS
)
INPUTS = {"query": Value((QUERY_BYTES,), 0, 255), "context": Value((CONTEXT_BYTES,), 0, 255)}
OUTPUTS = ("logits", "next")
QUERY_TOTAL, CONTEXT_TOTAL = (op.infer(INPUTS[op.inputs[0]]).total or 0 for op in (QUERY_NGRAMS, CONTEXT_NGRAMS))
INPUT_TOTAL = QUERY_TOTAL + CONTEXT_TOTAL  # the counts of one sample never add up to more


def _first_layer(
    weight_OI: np.ndarray, weights: Format, sum_bits: int, counts: Sequence[Op] = (QUERY_NGRAMS, CONTEXT_NGRAMS)
) -> list[Op]:
    halves = (weight_OI[:, :BUCKETS], weight_OI[:, BUCKETS:])
    ops: list[Op] = []
    for part, label, half_OI in zip(counts, ("query", "context"), halves, strict=True):
        ops += [
            part,
            Dense(name=f"fc1_{label}", inputs=(part.name,), weight_OI=half_OI, format=weights, sum_bits=sum_bits),
        ]
    return [*ops, Add(name="fc1", inputs=("fc1_context", "fc1_query"))]


def answer_ops(charset: bytes) -> tuple[Op, Op]:
    """Return the ops that choose a class and turn it into the byte it stands for."""
    table = np.frombuffer(charset, np.uint8).astype(np.int64)
    return Argmax(name="choice", inputs=("logits",)), Lookup(name="next", inputs=("choice",), table=table)


def z80ai_graph(net: Z80aiNet) -> Graph:
    """Return z80ai's network in its own integer semantics: the input is 32 * count; each layer is a sum plus a bias, shifted right by 2, rounded down."""
    weights = FORMATS["two_bit_z80"]
    one, zero, times_32 = np.array([1]), np.array([0]), np.array([32])
    ops: list[Op] = _first_layer(net.layers[0][0], weights, 32)

    def shifted(name: str, source: str, multiplier: np.ndarray, bias: np.ndarray, lo: int) -> Requantize:
        return Requantize(
            name=name,
            inputs=(source,),
            multiplier_O=multiplier,
            bias_O=bias,
            bias_shift=0,
            shift=2,
            rounding=0,
            lo=lo,
            hi=INT32_MAX,
        )

    for index, (weight, bias) in enumerate(net.layers):
        name, last = f"fc{index + 1}", index == len(net.layers) - 1
        if index:
            ops.append(Dense(name=name, inputs=(f"act{index}",), weight_OI=weight, format=weights))
        scale = one if index else times_32  # the input's factor of 32, applied to the sum
        lo = -INT32_MAX if last else 0
        ops.append(shifted("logits" if last else f"act{index + 1}", name, scale, bias if bias.any() else zero, lo))
    return Graph(INPUTS, (*ops, *answer_ops(net.charset)), OUTPUTS)


def meaning_of(pairs: Pairs, logit_step: float) -> Meaning:
    """Return what a chat net's integers stand for."""
    shown = [chr(byte) if 32 <= byte < 127 else f"byte {byte}" if byte else "the end mark" for byte in pairs.charset]
    folded = " Capitals of Latin-1, Greek and Cyrillic are put small first." if pairs.folds else ""
    return Meaning(
        "A chat: answers a line of text, one byte at a time.",
        {"logits": tuple(Quantity(text, "", logit_step) for text in shown)},
        notes={
            "query": f"the line as UTF-8, at most {QUERY_BYTES} bytes, padded with zero bytes.{folded}",
            "context": f"the last {CONTEXT_BYTES} bytes of the answer so far, in front of it spaces",
            "next": "the next byte of the answer; 0: it ends",
        },
    )
