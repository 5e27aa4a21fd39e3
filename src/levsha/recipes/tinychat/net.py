"""The tinychat network as an integer graph: text in, the next byte out; and z80ai's network as such a graph."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from levsha.arith import INT32_MAX
from levsha.data.pairs import CONTEXT_BYTES, QUERY_BYTES
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ir import Graph, Op, Value
from levsha.ops import Add, Argmax, Dense, Lookup, NgramCounts, Requantize

if TYPE_CHECKING:
    from levsha.train.lower import IntegerLayer

BUCKETS = 128
QUERY_NGRAMS = NgramCounts(name="query_counts", inputs=("query",), sizes=(3,), pad=1, position_seed=0, buckets=BUCKETS)
CONTEXT_NGRAMS = NgramCounts(
    name="context_counts", inputs=("context",), sizes=(1, 2, 3), pad=0, position_seed=7, buckets=BUCKETS
)
INPUTS = {"query": Value((QUERY_BYTES,), 0, 255), "context": Value((CONTEXT_BYTES,), 0, 255)}
OUTPUTS = ("logits", "next")
QUERY_TOTAL, CONTEXT_TOTAL = (op.infer(INPUTS[op.inputs[0]]).total or 0 for op in (QUERY_NGRAMS, CONTEXT_NGRAMS))
INPUT_TOTAL = QUERY_TOTAL + CONTEXT_TOTAL  # the counts of one sample never add up to more


def build_graph(layers: Sequence[IntegerLayer], weights: Format, charset: bytes, sum_bits: int) -> Graph:
    """Return the graph of lowered layers; the query's half of the first layer hangs on the query alone."""
    ops: list[Op] = [*_first_layer(layers[0].weight_OI, weights, sum_bits)]
    for index, layer in enumerate(layers):
        if index:
            ops.append(layer.dense(f"fc{index + 1}", f"act{index}", weights, sum_bits))
        last = index == len(layers) - 1
        ops.append(layer.requantize("logits" if last else f"act{index + 1}", f"fc{index + 1}"))
    return Graph(INPUTS, (*ops, *_answer(charset)), OUTPUTS)


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


def _answer(charset: bytes) -> tuple[Op, Op]:
    table = np.frombuffer(charset, np.uint8).astype(np.int64)
    return Argmax(name="choice", inputs=("logits",)), Lookup(name="next", inputs=("choice",), table=table)


def read_z80ai(path: Path) -> tuple[Graph, bytes]:
    """Read z80ai's model.npz as a graph, and its characters; LevshaError names what is wrong with the file.

    Its integer semantics: the input is 32 * count; each layer is a sum plus a bias, shifted right by 2 and rounded down.
    """
    arrays = _read_npz(path)
    try:
        sizes = json.loads(bytes(arrays["_architecture"]))
        charset = bytes(arrays["_charset"])
        widths = [sizes["input_size"], *sizes["hidden_sizes"], sizes["num_classes"]]
        layers = [(arrays[f"fc{k}_weight"], arrays[f"fc{k}_bias"]) for k in range(1, len(widths))]
    except (KeyError, ValueError, TypeError) as error:
        raise LevshaError(
            f"{path}: is no model of z80ai: {error} is missing or malformed; needed are _architecture, _charset, fcN_weight and fcN_bias."
        ) from None
    if min(widths) < 1:
        raise LevshaError(f"{path}: layer sizes {widths}; each must be at least 1.")
    for k, (weight, bias) in enumerate(layers):
        wanted = (widths[k + 1], widths[k])
        if weight.shape != wanted or bias.shape != wanted[:1] or weight.dtype.kind != "i" or bias.dtype.kind != "i":
            raise LevshaError(
                f"{path}: fc{k + 1}_weight is {weight.dtype} {weight.shape} and fc{k + 1}_bias {bias.dtype} {bias.shape}; {wanted} and {wanted[:1]} of integers are needed."
            )
        if weight.min() < -2 or weight.max() > 1:
            raise LevshaError(
                f"{path}: fc{k + 1}_weight holds {weight.min()}..{weight.max()}; z80ai's codes are -2..1."
            )
    if widths[0] != 2 * BUCKETS or len(charset) != widths[-1]:
        raise LevshaError(
            f"{path}: {widths[0]} inputs and {len(charset)} characters for {widths[-1]} classes; {2 * BUCKETS} inputs and as many characters as classes are needed."
        )
    return _z80ai_graph(layers, charset), charset


def _z80ai_graph(layers: list[tuple[np.ndarray, np.ndarray]], charset: bytes) -> Graph:
    weights = FORMATS["two_bit_z80"]
    one, zero, times_32 = np.array([1]), np.array([0]), np.array([32])
    ops: list[Op] = _first_layer(layers[0][0].astype(np.int64), weights, 32)

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

    for index, (weight, bias) in enumerate(layers):
        name, last = f"fc{index + 1}", index == len(layers) - 1
        if index:
            ops.append(Dense(name=name, inputs=(f"act{index}",), weight_OI=weight.astype(np.int64), format=weights))
        scale = one if index else times_32  # the input's factor of 32, applied to the sum
        lo = -INT32_MAX if last else 0
        ops.append(
            shifted(
                "logits" if last else f"act{index + 1}", name, scale, bias.astype(np.int64) if bias.any() else zero, lo
            )
        )
    return Graph(INPUTS, (*ops, *_answer(charset)), OUTPUTS)


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror or error}); give a model.npz of z80ai.") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise LevshaError(f"{path}: is no sound .npz file ({error}); pickled content is never loaded.") from None
