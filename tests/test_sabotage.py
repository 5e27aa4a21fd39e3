"""What was once broken on purpose without a test noticing: the edges of proofs, the end of a cut text, images, values of many elements."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.applications import Bare
from levsha.arith import INT16_MAX, INT32_MAX, half
from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.ops import Add, Argmax, Dense, Lookup, NgramCounts, Requantize
from levsha.targets import TARGETS, find_image

HOST = TARGETS["host"]
MANY = 70_000  # more than 16 bits count


def requantize(**options: Any) -> Requantize:
    fields: dict[str, Any] = {
        "multiplier_O": np.array([1]),
        "bias_O": np.array([0]),
        "bias_shift": 0,
        "shift": 0,
        "rounding": 0,
    }
    fields |= {"lo": -INT32_MAX, "hi": INT32_MAX} | options
    return Requantize(name="y", inputs=("x",), **fields)


def is_exact(graph: Graph, inputs: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Run on the host, with the sanitizer: equal to the interpreter, and no overflow on the way."""
    want, got = interpret(graph, inputs), HOST.run(graph, inputs, folder).outputs
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], want[name])
    return want


# What a Requantize adds to the largest product before its last shift; the product and that together must be an int32.
ADDED: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 0),
    "bias": ({"bias_O": np.array([3]), "bias_shift": 4}, 48),
    "rounding": ({"shift": 5, "rounding": half(5)}, 16),
    "both": ({"bias_O": np.array([3]), "bias_shift": 4, "shift": 5, "rounding": half(5)}, 64),
    "further shift": (
        {"bias_O": np.array([3]), "bias_shift": 4, "shift": 5, "rounding": half(5), "extra_O": np.array([6])},
        64 << 6,
    ),
    "shift before": ({"pre_shift": 4}, half(4)),
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", ADDED)
def test_a_requantize_is_proven_up_to_the_last_integer(kind: str, sign: int, tmp_path: Path, need) -> None:
    """One more is refused; at the limit itself the C neither overflows nor differs."""
    need(HOST)
    options, added = ADDED[kind]
    options = {key: value * sign if key == "bias_O" else value for key, value in options.items()}
    op, most = requantize(**options), INT32_MAX - added
    low, high = sorted((0, sign * most))
    graph = Graph({"x": Value((1,), low, high)}, (op,))
    is_exact(graph, {"x": np.array([[end] for end in (low, high, sign * (most - 1), sign)])}, tmp_path)
    with pytest.raises(
        LevshaError, match=rf"can reach {INT32_MAX + 1}; int32 allows {INT32_MAX}\. Use a smaller shift, or a pre_shift"
    ):
        Graph({"x": Value((1,), min(low, low + sign), max(high, high + sign))}, (op,))


def test_a_product_is_proven_with_its_own_channels_range(tmp_path: Path, need) -> None:
    """The channel of the large multiplier has a small range."""
    need(HOST)
    op = requantize(multiplier_O=np.array([INT16_MAX, 1, -2]), bias_O=np.array([0, 0, 0]), lo=-(1 << 30), hi=1 << 30)
    graph = Graph({"x": Value.of_ranges([(-65_000, 65_000), (-(1 << 28), 5), (7, 9)])}, (op,))
    assert (graph.values["y"].lo, graph.values["y"].hi) == (-(1 << 30), 1 << 30)
    is_exact(graph, {"x": np.array([[65_000, -(1 << 28), 9], [-65_000, 5, 7]])}, tmp_path)
    with pytest.raises(LevshaError, match="can reach"):
        Graph({"x": Value((3,), -(1 << 28), 65_000)}, (op,))


def test_ranges_of_channels_make_what_follows_narrow() -> None:
    ranges = Value.of_ranges([(0, 1), (-1000, 3), (50, 60)])
    out = Graph({"x": ranges}, (requantize(multiplier_O=np.array([90, 1, -2]), bias_O=np.array([1, 2, 3])),)).values[
        "y"
    ]
    assert (out.lo, out.hi) == (-998, 91)
    dense = Dense(name="y", inputs=("x",), weight_OI=np.array([[100, 1, 0], [0, -1, 1]]), format=FORMATS["int8"])
    value = Graph({"x": ranges}, (dense,)).values["y"]
    assert (value.lo, value.hi) == (-1000, 1060), "any partial sum, in any order, from each input's own range"
    assert value.c_type == "int16_t"
    for row in ((-1, 0, 50), (0, 4, 50), (0, 0, 49), (0, 0, 61), (2, 0, 50), (0, -1001, 50)):
        with pytest.raises(LevshaError, match="its proven range there is"):
            interpret(Graph({"x": ranges}, (dense,)), {"x": np.array([row])})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shift": 31}, "shift is 31"),
        ({"shift": -1}, "shift is -1"),
        ({"shift": 20, "extra_O": np.array([11])}, "shift is 31"),
        ({"bias_shift": 31}, "bias_shift 31"),
        ({"pre_shift": 17}, "pre_shift is 17"),
        ({"pre_shift": -1}, "pre_shift is -1"),
        ({"extra_O": np.array([0, -1])}, "the least extra shift -1"),
        ({"multiplier_O": np.array([INT16_MAX + 1])}, "a multiplier is 32768; int16 allows 32767"),
        ({"multiplier_O": np.array([-INT16_MAX - 1])}, "a multiplier is 32768"),
        ({"bias_O": np.array([INT16_MAX + 1])}, "a bias is 32768"),
        ({"bias_O": np.array([-INT16_MAX - 1])}, "a bias is 32768"),
    ],
)
def test_parameters_that_the_chip_has_no_room_for_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(LevshaError, match=said):
        Graph({"x": Value((2,), 0, 1)}, (requantize(**options),))


def counts_by_hand(text: bytes, op: NgramCounts) -> list[int]:
    """What ngram_counts.py promises, said once more."""
    found = [0] * op.buckets
    padded = b" " * op.pad + text.split(b"\0")[0].lower() + b" " * op.pad
    for n in op.sizes:
        for start in range(len(padded) - n + 1):
            value = start * op.position_seed
            for byte in padded[start : start + n]:
                value = (value * 31 + byte) & 0xFFFF
            found[value % op.buckets] += 1
    return found


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_a_text_counts_to_its_end_and_its_padding(target, tmp_path: Path, need) -> None:
    """A text that fills its 60 bytes, as one that was cut does, is followed by the same space as a shorter one."""
    need(target)
    op = NgramCounts(name="y", inputs=("x",), sizes=(1, 3), pad=2, position_seed=7, buckets=64)
    texts = [
        b"",
        b"a",
        b"Zz",
        b"q" * 59,
        b"q" * 60,
        b"word " * 12,
        b"The QUICK brown fox" * 4,
        b"\xff" * 60,
        b"stop\0here",
        b"x" * 58 + b"\0y",
    ]
    x = np.array([list(text[:60].ljust(60, b"\0")) for text in texts])
    graph = Graph({"x": Value((60,), 0, 255)}, (op,))
    want = [counts_by_hand(bytes(row.tolist()), op) for row in x]
    np.testing.assert_array_equal(interpret(graph, {"x": x})["y"], want)
    np.testing.assert_array_equal(target.run(graph, {"x": x}, tmp_path).outputs["y"], want)


def test_an_image_is_only_taken_for_the_net_and_the_bytes_it_was_built_of(tmp_path: Path, need) -> None:
    need(HOST)
    one, other = (Graph({"x": Value((1,), 0, 9)}, (requantize(bias_O=np.array([bias])),)) for bias in (1, 2))
    folder = tmp_path / "net-int8"
    HOST.firmware(one, Bare(), "one").built(tmp_path / "build").save(folder)
    image = find_image(folder, one, "levsha run")
    with pytest.raises(
        LevshaError, match="is the firmware of another net than the one in this run; make it anew with levsha run"
    ):
        find_image(folder, other, "levsha run")
    whole = image.read_bytes()
    image.write_bytes(whole + b"\0")
    with pytest.raises(LevshaError, match="is not the image that was built"):
        find_image(folder, one, "levsha run")
    image.unlink()
    with pytest.raises(LevshaError, match=r"there is no firmware with a manifest \(firmware.json\) in it"):
        find_image(folder, one, "levsha run")
    image.write_bytes(whole)
    assert find_image(folder, one, "levsha run") == image
    manifest = folder / "firmware.json"
    manifest.write_text(json.dumps({"image": image.name}))
    with pytest.raises(LevshaError, match="is not the image that was built"):
        find_image(folder, one, "levsha run")
    for content in ("{", "[]"):
        manifest.write_text(content)
        with pytest.raises(LevshaError, match="there is no firmware with a manifest"):
            find_image(folder, one, "levsha run")


def large_graphs() -> dict[str, Graph]:
    """Values, tables and layers of more elements than 16 bits count."""
    rng = np.random.default_rng(0)
    small, many = Value((3,), -128, 127), Value((MANY,), -128, 127)
    scales = {"multiplier_O": rng.integers(-9, 9, MANY), "bias_O": rng.integers(-9, 9, MANY), "shift": 2}
    wide, tall = (
        Dense(name="y", inputs=("x",), weight_OI=rng.integers(-9, 9, shape), format=FORMATS["int8"])
        for shape in ((3, MANY), (MANY, 3))
    )
    binary = Dense(name="y", inputs=("x",), weight_OI=rng.choice([-1, 1], (3, MANY)), format=FORMATS["binary"])
    table = rng.integers(-9, 300, MANY)
    return {
        "add": Graph({"a": many, "b": many}, (Add(name="y", inputs=("a", "b")),)),
        "argmax": Graph({"x": many}, (Argmax(name="y", inputs=("x",)),)),
        "lookup": Graph({"x": Value((MANY,), 0, 39)}, (Lookup(name="y", inputs=("x",), table=table[:40]),)),
        "long table": Graph({"x": Value((3,), 0, MANY - 1)}, (Lookup(name="y", inputs=("x",), table=table),)),
        "requantize": Graph({"x": many}, (requantize(**scales),)),
        "requantize by one": Graph({"x": many}, (requantize(shift=2, lo=-9, hi=9),)),
        "requantize rows": Graph({"x": Value((MANY, 2), -128, 127)}, (requantize(multiplier_O=np.array([2, -3]), bias_O=np.array([1, 2])),)),
        "many inputs": Graph({"x": many}, (wide,)),
        "many binary inputs": Graph({"x": many}, (binary,)),
        "many outputs": Graph({"x": small}, (tall,)),
    }  # fmt: skip


@pytest.mark.parametrize("kind", large_graphs())
def test_more_elements_than_16_bits_count_are_exact(kind: str, tmp_path: Path, need) -> None:
    need(HOST)
    graph, rng = large_graphs()[kind], np.random.default_rng(1)
    inputs = {name: rng.integers(v.lo, v.hi, (3, *v.shape), endpoint=True) for name, v in graph.inputs.items()}
    for name, value in graph.inputs.items():
        inputs[name][1], inputs[name][2] = value.lo, 0
        inputs[name][1, ..., -1] = value.hi  # the last element, which a short counter never reaches
    want = is_exact(graph, inputs, tmp_path)["y"]
    if kind == "argmax":
        assert want[1, 0] == MANY - 1


def test_a_text_or_a_table_of_counts_beyond_16_bits_is_refused() -> None:
    """Its hashes and places have 16 bits on every target."""
    op = NgramCounts(name="y", inputs=("x",), sizes=(3,), pad=1, position_seed=0, buckets=128)
    text = Value((60,), 0, 255)
    Graph({"x": text}, (replace(op, buckets=1 << 16),))
    for value, changes, said in (
        (text, {"buckets": 1 << 17}, "a power of two, at most 65536"),
        (Value((65_534,), 0, 255), {}, "at most 65535 bytes with the padding"),
        (text, {"pad": 256}, "pad 256"),
        (text, {"position_seed": 256}, "position_seed 256; .* 0 to 255 of the others"),
        (text, {"sizes": (3, 256)}, "256.-grams of 60 bytes"),
    ):
        with pytest.raises(LevshaError, match=said):
            Graph({"x": value}, (replace(op, **changes),))


def test_a_layer_that_needs_longer_counters_is_no_other_layer_s_function(tmp_path: Path, need) -> None:
    need(HOST)
    ops = (
        replace(requantize(lo=0, hi=9), name="long"),
        replace(requantize(lo=0, hi=9), name="short", inputs=("few",)),
        Dense(name="sums", inputs=("long",), weight_OI=np.ones((1, MANY), int), format=FORMATS["int8"]),
        Dense(name="sum", inputs=("short",), weight_OI=np.ones((1, 3), int), format=FORMATS["int8"]),
    )
    graph = Graph({"x": Value((MANY,), 0, 9), "few": Value((3,), 0, 9)}, ops, ("sums", "sum"))
    is_exact(graph, {"x": np.full((1, MANY), 7), "few": np.array([[1, 2, 3]])}, tmp_path)
