"""A Conv and what follows it, computed window by window, equal the interpreter; what lies between takes no memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nets import depthwise_cnn, digits_cnn, mini_cnn
from levsha.emit.fuse import fuse, stages_of_groups
from levsha.emit.memory import plan_memory
from levsha.emit.overlap import lead_of
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import C_TYPES, Graph, Op, Value
from levsha.ops import Add, Conv, Lookup, MaxPool, Requantize
from levsha.targets import TARGETS
from tests.test_windows import geometries

AROUND, HALF = (1, 1, 1, 1), {"kernel": (2, 2), "strides": (2, 2)}
RNG = np.random.default_rng(0)


class Chain:
    """A graph of one op after the other."""

    def __init__(self, shape: tuple[int, ...], x_type: str = "uint8_t", ends: tuple[int, int] | None = None) -> None:
        self.x, self.ops = Value(shape, *(ends or C_TYPES[x_type][:2])), list[Op]()

    def conv(self, weights: str, outputs: int, kernel: tuple[int, int] = (3, 3), **more: Any) -> "Chain":
        shape = (1, *self.value.shape)[-3:]
        count = kernel[0] * kernel[1] * (shape[2] // more.get("groups", 1))
        weight_OI = more.pop("weight_OI", RNG.choice(FORMATS[weights].grid, (outputs, count)))
        return self.then(Conv, "conv", shape=shape, kernel=kernel, weight_OI=weight_OI, format=FORMATS[weights], **more)

    def requantize(self, lo: int = 0, hi: int = 255, falling: bool = False, one: bool = False, **more: Any) -> "Chain":
        value, outputs = self.value, 1 if one else self.value.shape[-1]
        reach = max(value.hi, -value.lo)
        shift = max(0, int(np.log2(min(32_767, 2**28 / reach) / ((hi - lo) / reach))))
        multiplier_O = RNG.uniform(0.3, 1.0, outputs) * (hi - lo) / reach * 2**shift
        if falling:
            multiplier_O *= np.where(np.arange(outputs) % 2, -1, 1)
        fields = {"bias_shift": shift, "shift": shift, "rounding": 1 << shift >> 1} | more
        bias_O = RNG.integers(-20, 20, outputs)
        return self.then(
            Requantize, "act", multiplier_O=multiplier_O.round().astype(int), bias_O=bias_O, lo=lo, hi=hi, **fields
        )

    def lookup(self, low: int, high: int, rising: bool = False) -> "Chain":
        table = RNG.integers(low, high, self.value.hi + 1, endpoint=True)
        table[[0, -1]] = low, high
        return self.then(Lookup, "table", table=np.sort(table) if rising else table)

    def pool(self, **more: Any) -> "Chain":
        return self.then(MaxPool, "pool", shape=(1, *self.value.shape)[-3:], **(HALF | more))

    def then(self, kind: type[Any], name: str, **fields: Any) -> "Chain":
        last = self.ops[-1].name if self.ops else "x"
        self.ops.append(kind(name=f"{name}{len(self.ops)}", inputs=(last,), **fields))
        return self

    @property
    def graph(self) -> Graph:
        return Graph({"x": self.x}, tuple(self.ops))

    @property
    def value(self) -> Value:
        return self.graph.values[self.ops[-1].name] if self.ops else self.x


def cases() -> dict[str, Chain]:
    apart, own = {"groups": 3, "pads": AROUND}, np.array([-3, 100, 7])
    found = {
        f"{f}-{about}": chain
        for f in FORMATS
        for about, chain in (
            ("plain", Chain((4, 5, 2)).conv(f, 5, pads=AROUND).requantize()),
            ("pool", Chain((6, 5, 3), "int8_t").conv(f, 6, pads=AROUND).requantize(-127, 127).pool()),
            ("apart", Chain((5, 4, 3)).conv(f, 6, **apart).requantize(0, 15, one=True).lookup(-90, 90).pool()),
        )
    }
    return found | {
        "stride": Chain((7, 6, 3)).conv("int8", 4, strides=(2, 1), pads=(1, 0, 2, 1)).requantize(one=True),
        "dilation": Chain((6, 7, 3), "int8_t").conv("int4", 5, dilations=(2, 2), pads=(2, 1, 0, 0), pad_I=own).requantize().pool(),
        "groups": Chain((5, 5, 6)).conv("int8", 10, groups=2, pads=AROUND).requantize(falling=True).pool(),
        "pads apart": Chain((4, 4, 3), "int8_t").conv("ternary", 3, **apart, pad_I=own).requantize(-5, 5).pool(kernel=(2, 4), strides=(2, 4)),
        "time": Chain((9, 2)).conv("int8", 4, (1, 3)).requantize(0, 31).lookup(-30_000, 30_000).pool(kernel=(1, 3), strides=(1, 3)),
        "falling": Chain((4, 4, 1)).conv("int8", 7, (1, 1)).requantize(0, 200, falling=True).lookup(0, 255, rising=True).pool(),
        "all rise": Chain((5, 5, 2)).conv("int8", 3, (2, 2)).requantize(0, 200).lookup(-128, 127, rising=True).pool(),
        "gaps": Chain((9, 8, 1)).conv("int8", 4, (2, 2)).requantize().pool(kernel=(2, 1), strides=(3, 2)),
        "no sums kept": Chain((5, 4, 2), ends=(0, 1)).conv("binary", 3, (1, 1)).requantize(-9_999, 9_999).pool(),
        "pool of sums": Chain((5, 4, 2)).conv("int8", 3, pads=AROUND).pool(),
        "table of sums": Chain((3, 3, 1), ends=(0, 9)).conv("int8", 2, (1, 1), weight_OI=np.array([[1], [9]])).lookup(-9, 900),
        "two tables": Chain((4, 4, 1)).conv("int8", 3).requantize(0, 9).lookup(0, 300).lookup(-5, 5, rising=True).pool(),
        "wide": Chain((3, 4, 2), "int16_t").conv("int8", 3, (2, 2)).requantize(-32_768, 32_767, pre_shift=4).pool(),
        "further": Chain((3, 4, 2)).conv("int8", 3, (2, 2)).requantize(extra_O=np.array([0, 2, 1])).pool(),
    }  # fmt: skip


CASES = [pytest.param(chain.graph, id=name) for name, chain in cases().items()]


def random_inputs(graph: Graph, count: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = {name: rng.integers(v.lo, v.hi, (count, *v.shape), endpoint=True) for name, v in graph.inputs.items()}
    for name, x in found.items():
        x[0], x[1] = graph.inputs[name].lo, graph.inputs[name].hi
        x[2] *= rng.random(x[2].shape) < 0.5
    return found


def equals_the_interpreter(graph: Graph, target: Any, folder: Path) -> None:
    inputs = random_inputs(graph)
    want, got = interpret(graph, inputs), target.run(graph, inputs, folder).outputs
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
@pytest.mark.parametrize("graph", CASES)
def test_a_group_equals_the_interpreter(graph: Graph, target: Any, tmp_path: Path, need) -> None:
    need(target)
    assert len(fuse(graph)) == 1
    assert list(plan_memory(graph).offset) == [graph.outputs[0]]
    equals_the_interpreter(graph, target, tmp_path)


@pytest.mark.parametrize("graph", [digits_cnn(), mini_cnn("int4"), depthwise_cnn("ternary")], ids=["digits", "mini", "depthwise"])  # fmt: skip
def test_a_net_equals_the_interpreter(graph: Graph, tmp_path: Path, need) -> None:
    need(TARGETS["host"])
    equals_the_interpreter(graph, TARGETS["host"], tmp_path)


def test_weights_in_several_arrays(tmp_path: Path, need) -> None:
    need(TARGETS["host"])
    graph = (
        Chain((1, 11, 40), ends=(0, 9)).conv("int8", 101, (1, 9)).requantize().pool(kernel=(1, 3), strides=(1, 3)).graph
    )
    equals_the_interpreter(graph, TARGETS["host"], tmp_path)


def names_of(graph: Graph) -> list[list[str]]:
    return [[op.name for op in group] for group in fuse(graph)]


def net() -> Graph:
    return Chain((6, 6, 2)).conv("int8", 4, pads=AROUND).requantize(0, 9).lookup(-9, 9).pool().graph


def test_ops_are_taken_together_only_where_nobody_sees_what_lies_between() -> None:
    graph = net()
    conv, act, table, pool = (op.name for op in graph.ops)
    assert names_of(graph) == [[conv, act, table, pool]]
    assert names_of(replace(graph, outputs=(pool, act))) == [[conv, act], [table], [pool]]
    assert names_of(replace(graph, outputs=(conv, pool))) == [[conv], [act], [table], [pool]]
    again = Lookup(name="again", inputs=(act,), table=np.arange(10))
    assert names_of(replace(graph, ops=(*graph.ops, again))) == [[conv, act], [table], [pool], ["again"]]
    twice = Add(name="twice", inputs=(act, act))
    assert names_of(replace(graph, ops=(*graph.ops[:2], twice), outputs=("twice",))) == [[conv, act], ["twice"]]
    for count in range(1, 5):
        assert names_of(graph.prefix(count)) == [[conv, act, table, pool][:count]]


@pytest.mark.parametrize(
    "more",
    [
        {"strides": (1, 1)},
        {"strides": (1, 2)},
        {"pads": (1, 0, 0, 0)},
        {"dilations": (2, 1)},
        {"shape": (3, 12, 4)},
    ],
    ids=str,
)
def test_a_pool_that_needs_a_pixel_twice_or_sees_another_image_is_computed_apart(more: dict[str, Any]) -> None:
    graph = net()
    pool = replace(graph.ops[-1], **more)
    assert [len(group) for group in fuse(replace(graph, ops=(*graph.ops[:-1], pool)))] == [3, 1]


def test_parameters_for_each_element_are_no_matter_of_a_window() -> None:
    chain = Chain((3, 3, 1)).conv("int8", 2, (1, 1)).requantize(one=True)
    act = replace(chain.ops[1], multiplier_O=np.arange(18))
    assert [len(group) for group in fuse(replace(chain.graph, ops=(chain.ops[0], act)))] == [1, 1]


def test_a_group_belongs_to_one_stage() -> None:
    """The slow input's map is computed once; what joins it with the fast one is another op."""
    graph = net()
    add = Add(name="sum", inputs=("pool3", "fast"))
    joined = Graph({**graph.inputs, "fast": graph.values["pool3"]}, (*graph.ops, add))
    assert [[group[-1].name for group in stage] for stage in stages_of_groups(joined)] == [["pool3"], ["sum"]]


def test_what_lies_between_takes_no_memory() -> None:
    graph = digits_cnn()
    sizes = {name: value.size for name, value in graph.values.items()}
    plan = plan_memory(graph)
    assert set(plan.offset) == {"act1", "pool1", "fc1", "act3"}
    assert plan.size <= sizes["act1"] + sizes["pool1"]
    everything = plan_memory(replace(graph, outputs=tuple(op.name for op in graph.ops)))
    assert everything.size > 4 * plan.size


@given(st.data())
def test_what_is_written_over_the_input_was_read_before(data: st.DataObject) -> None:
    """By brute force: the bytes of a pixel against those that any later pixel reads."""
    geometry = data.draw(geometries())
    outputs, x_type = data.draw(st.integers(1, 6)), data.draw(st.sampled_from(["uint8_t", "int16_t"]))
    kernel = geometry.pop("kernel")
    chain = Chain(geometry["shape"], x_type).conv(
        "binary", outputs, kernel, **{k: geometry[k] for k in geometry if k != "shape"}
    )
    chain.requantize(0, data.draw(st.sampled_from([9, 9_999])))
    window = data.draw(st.sampled_from([None, (1, 1), (2, 2), (1, 3)]))
    if window and all(size >= k for size, k in zip(chain.value.shape, window, strict=False)):
        chain.pool(kernel=window, strides=data.draw(st.sampled_from([window, (3, 3)])))
    (group,), values, unit = fuse(chain.graph), chain.graph.values, chain.x.dtype.itemsize
    lead, rows = lead_of((group,), values), pixels_read(group)
    assert lead is not None
    size = values[group[-1].name].shape[-1] * values[group[-1].name].dtype.itemsize
    for pixel, _ in enumerate(rows):
        later = set().union(*rows[pixel + 1 :])
        start = pixel * size - lead
        assert not any(start < (at + 1) * unit and at * unit < start + size for at in later)


def pixels_read(group: Sequence[Op]) -> list[set[int]]:
    """Return the elements of the input that each pixel of the output depends on."""
    op = group[0]
    assert isinstance(op, Conv)
    at = np.arange(op.shape[0] * op.shape[1] * op.shape[2]).reshape(1, *op.shape)
    taps = np.stack(list(op.taps(at, -1)), -1)[0].reshape(*op.out_size, -1)
    if isinstance(pool := group[-1], MaxPool):
        image = replace(pool, shape=taps.shape)
        taps = np.stack(list(image.taps(taps[None], -1)), -1)[0]
    return [set(row.tolist()) - {-1} for row in taps.reshape(taps.shape[0] * taps.shape[1], -1)]


def test_an_output_lies_over_what_was_read(tmp_path: Path, need) -> None:
    """Maps of one size: each begins a row and a pixel before the one that it is made of."""
    need(TARGETS["host"])
    chain = Chain((8, 8, 4))
    for _ in range(3):
        chain.conv("int8", 4, pads=AROUND).requantize()
    plan = plan_memory(chain.graph)
    assert plan.size == 8 * 8 * 4 + 2 * (8 + 1) * 4
    equals_the_interpreter(chain.graph, TARGETS["host"], tmp_path)


def test_what_somebody_else_reads_is_not_written_over() -> None:
    chain = Chain((8, 8, 4))
    for _ in range(2):
        chain.conv("int8", 4, pads=AROUND).requantize()
    add = Add(name="sum", inputs=("act1", "act3"))
    graph = replace(chain.graph, ops=(*chain.ops, add), outputs=())
    offset = plan_memory(graph).offset
    assert abs(offset["act1"] - offset["act3"]) >= 8 * 8 * 4


def test_a_net_of_convolutions_fits_a_small_chip(tmp_path: Path, need) -> None:
    """Its sums alone, of one layer, would take more than there is; the stack is measured without the moments in which its pointer is half set."""
    uno, graph = TARGETS["uno"], digits_cnn()
    need(uno)
    outcome = uno.run(graph, random_inputs(graph), tmp_path)
    assert outcome.stack_bytes is not None and outcome.stack_bytes < 320
    np.testing.assert_array_equal(outcome.outputs["act3"], interpret(graph, outcome.inputs)["act3"])
