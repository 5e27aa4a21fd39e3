"""Ops that move integers, and bodies that run for one row after the other: equal to numpy, in C too, and small where they can be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levsha.emit.c import emit_c
from levsha.emit.memory import plan_memory
from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Op, Value, constant_bytes
from levsha.ops import Add, Argmax, Concat, Dense, Embed, Gather, Multiply, Requantize, Scan
from levsha.store import graph_hash, load_graph, save_graph
from levsha.targets import TARGETS
from tests.test_exact import inputs_of

Move = Callable[[np.ndarray, int], np.ndarray]
HOST = TARGETS["host"]
BYTES = Value((2, 3, 4), 0, 255)


def gather(index: np.ndarray, name: str = "y", source: str = "x", fill: int = 0) -> Gather:
    return Gather(name=name, inputs=(source,), index=index, fill=fill)


def clip(name: str, source: str, lo: int, hi: int, shift: int = 0) -> Requantize:
    one, none = np.array([1]), np.array([0])
    return Requantize(
        name=name, inputs=(source,), multiplier_O=one, bias_O=none, bias_shift=0, shift=shift, rounding=0, lo=lo, hi=hi
    )


def assert_host_equals_interpreter(graph: Graph, folder: Path, count: int = 4) -> None:
    if HOST.missing():
        pytest.skip(HOST.missing())
    inputs = inputs_of(graph, count)
    want, got = interpret(graph, inputs), HOST.run(graph, inputs, folder)
    for name in graph.outputs:
        np.testing.assert_array_equal(got.outputs[name], want[name])


def sliced(x: np.ndarray, axis: int, start: int, step: int) -> np.ndarray:
    kept = range(x.shape[axis])[start:] or range(x.shape[axis])
    return x.take(kept[::step], axis)


@st.composite
def moves(draw: st.DrawFn, axes: int) -> Move:
    """A transpose, a slice with a step of any sign, a repetition or a pad: of an array, with what a pad is filled with."""
    kind, axis = draw(st.sampled_from(["transpose", "slice", "repeat", "pad"])), draw(st.integers(0, axes - 1))
    if kind == "transpose":
        order = draw(st.permutations(range(axes)))
        return lambda x, _: x.transpose(order)
    if kind == "slice":
        start, step = draw(st.integers(0, 2)), draw(st.sampled_from([-2, -1, 1, 2]))
        return lambda x, _: sliced(x, axis, start, step)
    if kind == "repeat":
        times = draw(st.integers(1, 3))
        return lambda x, _: x.repeat(times, axis)
    width = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) if k == axis else (0, 0) for k in range(axes)]
    return lambda x, fill: np.pad(x, width, constant_values=fill)


@st.composite
def moved(draw: st.DrawFn, most: int) -> tuple[tuple[int, ...], list[Move], int]:
    """A shape, up to `most` moves one after the other, and a fill."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return shape, draw(st.lists(moves(len(shape)), min_size=1, max_size=most)), draw(st.sampled_from([0, -3, 300]))


def apply(path: list[Move], x: np.ndarray, fill: int) -> np.ndarray:
    for move in path:
        x = move(x, fill)
    return x


@given(moved(4))
def test_gather_is_what_numpy_makes_of_the_same_moves(drawn: Any) -> None:
    shape, path, fill = drawn
    size = int(np.prod(shape))
    graph = Graph({"x": Value(shape, 0, 255)}, (gather(apply(path, np.arange(size).reshape(shape), -1), fill=fill),))
    x = np.random.default_rng(size).integers(0, 256, shape)
    np.testing.assert_array_equal(interpret(graph, {"x": x[None]})["y"][0], apply(path, x, fill))


@given(moved(1))
def test_a_single_move_needs_no_table(drawn: Any) -> None:
    shape, path, fill = drawn
    value = Value(shape, 0, 255)
    op = gather(apply(path, np.arange(value.size).reshape(shape), -1), fill=fill)
    assert not op.code(op.infer(value), value).constants


@settings(max_examples=6, deadline=None)
@given(st.lists(moved(3), min_size=8, max_size=8))
def test_moves_in_c(drawn: list[Any]) -> None:
    inputs, ops = {}, []
    for k, (shape, path, fill) in enumerate(drawn):
        inputs[f"x{k}"] = Value(shape, -128, 127)
        index = apply(path, np.arange(inputs[f"x{k}"].size).reshape(shape), -1)
        # the second reads what an op made, and may write over it
        ops += [
            gather(index, f"y{k}", f"x{k}", fill),
            clip(f"c{k}", f"x{k}", 0, 99),
            gather(index, f"z{k}", f"c{k}", fill),
        ]
    graph = Graph(inputs, tuple(ops), tuple(op.name for op in ops if op.name[0] in "yz"))
    with TemporaryDirectory() as folder:
        assert_host_equals_interpreter(graph, Path(folder))


@pytest.mark.parametrize(("size", "count"), [(255, 60), (256, 60), (40_000, 90), (70_000, 90), (300, 20_000)])
def test_indices_of_any_width_in_tables_of_any_length(size: int, count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, size, count)
    index[0] = size - 1
    holes = np.where(rng.random(count) < 0.1, -1, index)
    graph = Graph({"x": Value((size,), -128, 127)}, (gather(index, "y"), gather(holes, "z", fill=5)), ("y", "z"))
    for op in graph.ops:
        constants = op.code(graph.values[op.name], graph.inputs["x"]).constants
        assert constants and all(c.data.size * np.dtype(c.c_type[:-2]).itemsize <= 32_767 for c in constants.values())
    assert_host_equals_interpreter(graph, tmp_path, 2)


def test_what_reads_only_ahead_is_moved_in_place(tmp_path: Path) -> None:
    image = np.arange(24).reshape(2, 3, 4)
    for index, shares in (
        (image[:, 1:, ::2], True),
        (image.reshape(6, 4), True),
        (image[::-1], False),
        (image.repeat(2, 0), False),
    ):
        ops = (clip("a", "x", 0, 99), gather(index, "y", "a"))
        graph = Graph({"x": BYTES}, ops)
        plan = plan_memory(graph)
        assert (plan.offset["a"] == plan.offset["y"]) == shares
        assert_host_equals_interpreter(graph, tmp_path / str(index.size) / str(shares))


def test_what_is_read_decides_range_and_total() -> None:
    x = Value((2, 3), -900, 255, ranges=((0, 1), (-900, 20), (0, 255)))
    y = gather(np.array([[0, 5], [3, -1]]), fill=-2).infer(x)
    assert (y.lo, y.hi, y.ranges) == (-2, 255, ((0, 1), (-2, 255)))
    assert gather(np.array([0, 3])).infer(x).ranges is None
    counted = Value((4,), 0, 60, total=60)
    assert gather(np.array([0, 1, 1, -1]), fill=-7).infer(counted).total == 127
    joined = Concat(name="y", inputs=("a", "b")).infer(counted, counted)
    assert (joined.total, joined.ranges) == (120, None)
    assert Concat(name="y", inputs=("a", "b")).infer(Value((2, 1), 0, 9), x).ranges == ((0, 9), *(x.ranges or ()))


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_a_large_table_of_tokens_is_cut_into_parts(kind: Any, tmp_path: Path) -> None:
    ends = np.iinfo(kind)
    table_VE = np.random.default_rng(0).integers(ends.min, ends.max, (999, 50), endpoint=True)
    graph = Graph({"x": Value((999,), 0, 998)}, (Embed(name="y", inputs=("x",), table_VE=table_VE),))
    constants = graph.ops[0].code(graph.values["y"], graph.inputs["x"]).constants
    assert (
        len(constants) == -(-table_VE.size * np.dtype(kind).itemsize // 32_767)
        and constant_bytes(graph) >= table_VE.size
    )
    if HOST.missing():
        pytest.skip(HOST.missing())
    inputs = {"x": np.random.default_rng(1).permutation(999)[None]}
    got = HOST.run(graph, inputs, tmp_path).outputs["y"]
    np.testing.assert_array_equal(got, interpret(graph, inputs)["y"])


def recurrent(rng: np.random.Generator, units: int = 3, inputs: int = 2) -> Graph:
    """h = clip((W x + U h) >> 6)"""
    weights = {"of_x": rng.integers(-127, 128, (units, inputs)), "of_h": rng.integers(-127, 128, (units, units))}
    ops: list[Op] = [
        Dense(name=name, inputs=(name[-1],), weight_OI=weight_OI, format=FORMATS["int8"]) for name, weight_OI in weights.items()
    ]  # fmt: skip
    ops += [Add(name="sums", inputs=("of_x", "of_h")), clip("next", "sums", -127, 127, 6)]
    return Graph({"h": Value((units,), -127, 127), "x": Value((inputs,), -50, 50)}, tuple(ops))


def scan(body: Graph, **options: Any) -> Scan:
    size = sum(value.size for value in list(body.inputs.values())[:-1])
    fields: dict[str, Any] = {"name": "y", "inputs": ("x",), "body": body, "init": np.zeros(size, int)}
    return Scan(**(fields | options))


def test_a_scan_is_a_loop_over_rows() -> None:
    body, init = recurrent(np.random.default_rng(0)), np.array([3, -4, 5])
    x = np.random.default_rng(1).integers(-50, 51, (7, 6, 2))
    of_x, of_h = (op.weight_OI for op in body.ops if isinstance(op, Dense))
    h, states = np.tile(init, (7, 1)), []
    for t in range(6):
        h = ((x[:, t] @ of_x.T + h @ of_h.T) >> 6).clip(-127, 127)
        states.append(h)
    rows = Graph(
        {"x": Value((6, 2), -50, 50)}, (scan(body, init=init, last=False), scan(body, name="z", init=init)), ("y", "z")
    )
    found = interpret(rows, {"x": x})
    np.testing.assert_array_equal(found["y"], np.stack(states, 1))
    np.testing.assert_array_equal(found["z"], h)


def test_two_scans_of_one_body_and_a_net_around_them(tmp_path: Path) -> None:
    """Their constants and functions go into one program, the caller's state is all that is kept between calls."""
    body = recurrent(np.random.default_rng(0))
    ops = (
        scan(body, name="forward", last=False),
        gather(np.arange(12).reshape(6, 2)[::-1], "turned"),
        scan(body, name="backward", inputs=("turned",), init=np.array([1, 2, 3])),
        scan(replace(body, inputs={"h": body.inputs["h"], "x": Value((3,), -127, 127)}, ops=recurrent(np.random.default_rng(5), 3, 3).ops),
             name="second", inputs=("forward",)),
        Concat(name="both", inputs=("second", "backward")),
        Argmax(name="class", inputs=("both",)),
    )  # fmt: skip
    graph = Graph({"x": Value((6, 2), -50, 50)}, ops, ("both", "class"))
    assert_host_equals_interpreter(graph, tmp_path, 9)
    dense = sum(op.weight_OI.size for op in body.ops if isinstance(op, Dense))
    assert constant_bytes(graph) >= 2 * dense


@st.composite
def random_bodies(draw: st.DrawFn) -> Graph:
    """One or two states of 8, 16 or 32 bits, and a few ops of any of them, each state clipped at the end."""
    ends = [
        draw(st.sampled_from([(0, 255), (-99, 99), (-30_000, 30_000), (-40_000, 99_999)]))
        for _ in range(draw(st.integers(1, 2)))
    ]
    inputs = {f"s{k}": Value((3,), *pair) for k, pair in enumerate(ends)} | {"row": Value((3,), -100, 100)}
    names, ops = list(inputs), []
    for k in range(draw(st.integers(0, 6))):
        a, b = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        kind = draw(st.sampled_from(["add", "clip", "turn", "cut"]))
        if kind == "add":
            ops += [Add(name=f"a{k}", inputs=(a, b)), clip(f"v{k}", f"a{k}", -999, 999)]
        elif kind == "clip":
            ops.append(clip(f"v{k}", a, 0, 99))
        else:
            ops.append(gather(np.array([2, 0, 1] if kind == "turn" else [1, 1, 2]), f"v{k}", a))
        names.append(f"v{k}")
    ops += [clip(f"next{k}", draw(st.sampled_from(names)), *pair) for k, pair in enumerate(ends)]
    return Graph(inputs, tuple(ops), tuple(f"next{k}" for k in range(len(ends))))


@settings(max_examples=6, deadline=None)
@given(st.lists(random_bodies(), min_size=6, max_size=6), st.booleans())
def test_the_memory_of_a_body_is_shared_only_by_what_is_not_alive_together(bodies: list[Graph], last: bool) -> None:
    ops = tuple(scan(body, name=f"y{k}", last=last) for k, body in enumerate(bodies))
    graph = Graph({"x": Value((4, 3), -100, 100)}, ops, tuple(op.name for op in ops))
    with TemporaryDirectory() as folder:
        assert_host_equals_interpreter(graph, Path(folder))


def test_a_scan_goes_into_a_file_with_its_body(tmp_path: Path) -> None:
    body, path = recurrent(np.random.default_rng(0)), tmp_path / "net.safetensors"
    inner = scan(body, name="rows", inputs=("image",), init=np.array([1, 2, 3]))
    outer = Graph({"h": Value((3,), -999, 999), "image": Value((6, 2), -50, 50)}, (inner, Add(name="sum", inputs=("rows", "h")), clip("next", "sum", -999, 999)))  # fmt: skip
    graph = Graph({"x": Value((4, 6, 2), -50, 50)}, (scan(outer, last=False),))
    digest = save_graph(graph, path)
    again, _ = load_graph(path)
    assert graph_hash(again) == digest
    assert emit_c(again, "net").source == emit_c(graph, "net").source
    inputs = inputs_of(graph, 5)
    np.testing.assert_array_equal(interpret(again, inputs)["y"], interpret(graph, inputs)["y"])
    first = body.ops[0]
    assert isinstance(first, Dense)
    other = replace(body, ops=(replace(first, weight_OI=first.weight_OI ^ 1), *body.ops[1:]))
    assert (
        graph_hash(Graph(graph.inputs, (scan(replace(outer, ops=(replace(inner, body=other), *outer.ops[1:]))),)))
        != digest
    )
    assert graph_hash(Graph({"x": Value((6, 2), -50, 50)}, (scan(body),))) != graph_hash(Graph({"x": Value((6, 2), -50, 50)}, (scan(other),)))  # fmt: skip


ROWS, BODY = Value((6, 2), -50, 50), recurrent(np.random.default_rng(0))
H, X = BODY.inputs.values()


def one(op: Op, *values: Value) -> Graph:
    return Graph(dict(zip(dict.fromkeys(op.inputs), values, strict=True)), (op,))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: one(gather(np.array([0, 24])), BYTES), "the index holds 24; 'x' has elements 0..23, and -1 stands for the fill"),
        (lambda: one(gather(np.array([-2])), BYTES), "the index holds -2"),
        (lambda: one(gather(np.array([0.5])), BYTES), "the index is float64 of shape (1,); integers are needed"),
        (lambda: one(gather(np.zeros((2, 0), int)), BYTES), "of shape (2, 0)"),
        (lambda: one(Concat(name="y", inputs=("x", "z")), BYTES, Value((3,), 0, 1)), "joins shapes (2, 3, 4), (3,)"),
        (lambda: one(Multiply(name="y", inputs=("x", "z")), BYTES, Value((3,), 0, 1)), "one factor for each of the 4 channels"),
        (lambda: one(Multiply(name="y", inputs=("x", "x")), Value((3,), 0, 46_341)), "the widest type, int32"),
        (lambda: one(Embed(name="y", inputs=("x",), table_VE=np.zeros((9, 2), int)), BYTES), "the table has rows 0..8"),
        (lambda: one(Embed(name="y", inputs=("x",), table_VE=np.zeros(256, int)), BYTES), "has shape (256,)"),
        (lambda: one(Embed(name="y", inputs=("x",), table_VE=np.full((256, 1), 40_000)), BYTES), "int16 allows"),
        (lambda: one(scan(BODY), Value((6, 3), 0, 1)), "rows of shape (2,) are needed, as the body's 'x'"),
        (lambda: one(scan(BODY), Value((6, 2), -50, 51)), "'x' can be -50..51; the body's row 'x' is declared as -50..50"),
        (lambda: one(scan(replace(BODY, inputs={"h": Value((3,), -126, 127), "x": X})), ROWS), "state 'h' can be -127..127 after a row ('next'); it is declared as -126..127"),
        (lambda: one(scan(replace(BODY, inputs={"h": replace(H, total=300), "x": X})), ROWS), "declared as -127..127, 300 in all"),
        (lambda: one(scan(replace(BODY, outputs=("next", "sums"))), ROWS), "the body reads h, x and makes next, sums"),
        (lambda: one(scan(replace(BODY, outputs=("h",))), ROWS), "an op must make each state"),
        (lambda: one(scan(Graph({"x": X}, (clip("next", "x", 0, 9),))), ROWS), "it must read one state or more"),
        (lambda: one(scan(Graph({"h": H, "x": X}, (clip("next", "x", 0, 9),))), ROWS), "state 'h' has shape (3,), after a row (2,) ('next')"),
        (lambda: one(scan(BODY, init=np.zeros(4, int)), ROWS), "init is int64 of shape (4,); 3 integers are needed"),
        (lambda: one(scan(BODY, init=np.array([0, 128, 0])), ROWS), "state 'h' starts with 0..128; it is declared as -127..127"),
    ],
)  # fmt: skip
def test_every_mistake_is_named(make: Any, said: str) -> None:
    with pytest.raises(LevshaError) as caught:
        make()
    assert said in str(caught.value)
