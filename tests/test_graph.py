"""Graphs: proven ranges, errors that say what to do, stages, and buffers that never overlap while they are alive."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levsha.emit.memory import plan_memory
from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.ops import Add, Argmax, Dense, Lookup, NgramCounts, Requantize

BYTES = Value((4,), 0, 255)


def dense(name: str, source: str, weight: Any, **options: Any) -> Dense:
    return Dense(name=name, inputs=(source,), weight_OI=np.array(weight), format=FORMATS["int8"], **options)


def requantize(**options: Any) -> Requantize:
    fields: dict[str, Any] = {"multiplier_O": np.array([1]), "bias_O": np.array([0]), "bias_shift": 0, "shift": 0}
    fields |= {"rounding": 0, "lo": 0, "hi": 255}
    fields |= options
    return Requantize(name="y", inputs=("x",), **fields)


def test_a_sum_that_can_overflow_names_layer_bound_and_remedies() -> None:
    weight = np.full((2, 256), 1)
    weight[0] = 127
    with pytest.raises(LevshaError) as caught:
        Graph({"x": Value((256,), 0, 127)}, (dense("fc1", "x", weight, sum_bits=16),))
    text = str(caught.value)
    assert text.startswith("fc1 (Dense): a sum can reach 4 129 024; int16 allows 32 767. 256 inputs in 0..127")
    assert "narrower format" in text and "\n" not in text


def test_known_total_makes_the_bound_tight() -> None:
    weight = np.full((1, 128), 3)
    loose = Graph({"x": Value((128,), 0, 60)}, (dense("y", "x", weight),)).values["y"]
    tight = Graph({"x": Value((128,), 0, 60, total=60)}, (dense("y", "x", weight),)).values["y"]
    assert (loose.hi, tight.hi) == (128 * 180, 180)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Graph({}, ()), "no input or no op"),
        (lambda: Graph({"x": BYTES}, (Argmax(name="y", inputs=("z",)),)), "reads 'z', which no earlier op makes"),
        (lambda: Graph({"x": BYTES}, (Argmax(name="x", inputs=("x",)),)), "two values are called 'x'"),
        (lambda: Graph({"x": BYTES}, (Argmax(name="y", inputs=("x",)),), ("q",)), "output 'q' is made by no op"),
        (lambda: Graph({"x": BYTES}, (dense("y", "x", [[1, 2]]),)), "reads 2 inputs, but 'x' has shape (4,)"),
        (lambda: Graph({"x": BYTES}, (requantize(multiplier_O=np.array([1, 2])),)), "multiplier has shape (2,)"),
        (lambda: Graph({"x": BYTES}, (requantize(multiplier_O=np.array([40_000])),)), "int16 allows 32767"),
        (
            lambda: Graph({"x": Value((1,), 0, 1 << 20)}, (requantize(multiplier_O=np.array([9999])),)),
            "int32 allows 2147483647",
        ),
        (
            lambda: Graph({"x": BYTES}, (Lookup(name="y", inputs=("x",), table=np.arange(9)),)),
            "the table has entries 0..8",
        ),
        (
            lambda: Graph({"x": Value((1,), 0, 0)}, (Lookup(name="y", inputs=("x",), table=np.array([40_000])),)),
            "int16 allows -32768..32767",
        ),
        (
            lambda: Graph({"a": BYTES, "b": Value((3,), 0, 1)}, (Add(name="y", inputs=("a", "b")),)),
            "adds shapes (4,) and (3,)",
        ),
        (lambda: Graph({"x": BYTES}, (ngrams(buckets=100),)), "must be a power of two"),
        (lambda: Graph({"x": Value((4,), 0, 9)}, (ngrams(),)), "reads bytes (0..255)"),
        (lambda: Graph({"x": BYTES}, (requantize(shift=40),)), "both must be 0 to 30"),
        (
            lambda: Graph({"x": BYTES}, (dataclasses.replace(dense("y", "x", [[0] * 4]), format=FORMATS["binary"]),)),
            "a weight is not on the grid of binary",
        ),
        (lambda: Value((1,), 0, 1 << 40).c_type, "the widest type, int32"),
    ],
)
def test_every_mistake_is_named(make: Any, said: str) -> None:
    with pytest.raises(LevshaError) as caught:
        make()
    assert said in str(caught.value)


def ngrams(**options: Any) -> NgramCounts:
    fields: dict[str, Any] = {"sizes": (3,), "pad": 1, "position_seed": 0, "buckets": 128}
    return NgramCounts(name="y", inputs=("x",), **(fields | options))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.zeros((1, 3), int)}, "needed: integers of shape (N, 4)"),
        ({"x": np.zeros((1, 4))}, "needed: integers"),
        ({"x": np.full((1, 4), 256)}, "its proven range there is 0..255"),
    ],
)
def test_interpreter_refuses_what_no_proof_covers(inputs: Any, said: str) -> None:
    with pytest.raises(LevshaError) as caught:
        interpret(Graph({"x": BYTES}, (Argmax(name="y", inputs=("x",)),)), inputs)
    assert said in str(caught.value)


def two_stage_graph() -> Graph:
    one = np.ones((4, 4), int)
    ops = (
        dense("slow", "q", one),
        dense("fast", "c", one),
        Add(name="sum", inputs=("fast", "slow")),
        Argmax(name="best", inputs=("sum",)),
    )
    return Graph({"q": BYTES, "c": BYTES}, ops)


def test_what_hangs_on_the_slow_input_alone_is_a_stage_of_its_own() -> None:
    assert [[op.name for op in stage] for stage in two_stage_graph().stages] == [["slow"], ["fast", "sum", "best"]]


def test_a_prefix_is_a_graph() -> None:
    prefix = two_stage_graph().prefix(2)
    assert prefix.outputs == ("fast",) and list(prefix.values) == ["q", "c", "slow", "fast"]


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Chains and joins of elementwise and dense ops over one or two inputs, of sizes 1 to 5."""
    inputs = {f"in{i}": Value((draw(st.integers(1, 5)),), 0, 3) for i in range(draw(st.integers(1, 2)))}
    graph_ops: list[Any] = []
    values = dict(inputs)
    for index in range(draw(st.integers(1, 8))):
        source = draw(st.sampled_from(sorted(values)))
        same = [n for n in sorted(values) if values[n].shape == values[source].shape]
        kind = draw(st.sampled_from(["dense", "add", "requantize"]))
        if kind == "dense":
            weight = np.ones((draw(st.integers(1, 5)), values[source].size), int)
            op: Any = dataclasses.replace(dense("", source, weight), name=f"v{index}")
        elif kind == "add":
            op = Add(name=f"v{index}", inputs=(source, draw(st.sampled_from(same))))
        else:
            op = dataclasses.replace(requantize(hi=3), name=f"v{index}", inputs=(source,))
        graph_ops.append(op)
        values[op.name] = op.infer(*(values[n] for n in op.inputs))
    return Graph(inputs, tuple(graph_ops))


def run_in_place(
    op: Any, graph: Graph, arena: np.ndarray, offset: dict[str, int], inputs: dict[str, np.ndarray]
) -> None:
    """Compute an op in the arena as its C does: an elementwise op one element after the other, any other at once."""

    def place(name: str) -> np.ndarray:
        if name in inputs:
            return inputs[name]
        value = graph.values[name]
        return arena[offset[name] : offset[name] + value.size * value.dtype.itemsize].view(value.dtype)

    out = place(op.name)
    if not op.elementwise:
        out[:] = op.run(*(place(n).astype(np.int64)[None] for n in op.inputs))[0]
        return
    for i in range(len(out)):
        x = [np.full((1, len(out)), int(place(n)[i])) for n in op.inputs]
        out[i] = op.run(*x)[0, i]


@given(random_graphs())
def test_planned_memory_computes_what_separate_memory_would(graph: Graph) -> None:
    """Run the graph in the planned arena, twice through the last stage, as a target does."""
    plan = plan_memory(graph)
    arena = np.full(plan.size, 99, np.uint8)
    inputs = {name: np.arange(v.size) % 4 for name, v in graph.inputs.items()}
    want = {k: v[0] for k, v in interpret(graph, {k: v[None] for k, v in inputs.items()}).items()}
    for stage in (*graph.stages, graph.stages[-1]):
        for op in stage:
            run_in_place(op, graph, arena, plan.offset, inputs)
    value, name = graph.values[graph.outputs[0]], graph.outputs[0]
    found = arena[plan.offset[name] : plan.offset[name] + value.size * value.dtype.itemsize].view(value.dtype)
    np.testing.assert_array_equal(found, want[name])


def test_every_element_is_aligned_and_an_arena_is_no_larger_than_pools() -> None:
    graph = two_stage_graph()
    plan = plan_memory(graph)
    for name, offset in plan.offset.items():
        assert offset % graph.values[name].dtype.itemsize == 0


def test_a_reading_outside_its_own_range_is_refused() -> None:
    graph = Graph({"x": Value.of_ranges([(0, 1), (-500, 900), (7, 7)])}, (Argmax(name="y", inputs=("x",)),))
    interpret(graph, {"x": np.array([[1, -500, 7]])})
    with pytest.raises(LevshaError, match=r"holds 2 at \[0, 0\]; its proven range there is 0\.\.1"):
        interpret(graph, {"x": np.array([[2, 0, 7]])})


def test_every_int16_parameter_of_a_requantize_is_checked() -> None:
    for field in ("multiplier_O", "bias_O"):
        with pytest.raises(LevshaError, match=r"is 32768; int16 allows 32767"):
            Graph({"x": Value((4,), 0, 1)}, (requantize(**{field: np.array([32_768])}),))
