"""Maps that are held a few rows at a time: whatever is streamed, every target computes what the interpreter does; a MiniCNN fits a small chip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.nets import Layers, depthwise_cnn, mini_cnn
from levsha.applications import Vector
from levsha.emit import c as emitted
from levsha.emit import memory
from levsha.emit.memory import Plan, plan_memory
from levsha.emit.stream import streamable
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import C_TYPES, Graph
from levsha.ops import Add, MaxPool, SumPool
from levsha.targets import TARGETS
from levsha.targets.firmware import Firmware
from tests.test_exact import inputs_of
from tests.test_fused import Chain

AROUND = (1, 1, 1, 1)


def exact(graph: Graph, target: Any, folder: Path) -> None:
    inputs = inputs_of(graph, 6)
    got, want = target.run(graph, inputs, folder).outputs, interpret(graph, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], want[name])


class Draw:
    """Random windows, channels and formats, always the same for a number."""

    def __init__(self, number: int) -> None:
        self.rng = np.random.default_rng(number)
        self.signal = self.chance(0.25)
        height, width = (1, self.of(*range(8, 30))) if self.signal else (self.of(*range(5, 15)), self.of(*range(3, 9)))
        shape = (height, width, self.of(1, 2, 3))
        self.chain = Chain(shape[1:] if self.signal and self.chance(0.5) else shape, self.of("uint8_t", "int8_t"))

    def of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def window(self, pool: bool) -> dict[str, Any] | None:
        """Kernel, strides, dilations and padding that fit, or None."""
        height, width, _ = (1, *self.chain.value.shape)[-3:]
        down, step = (1, 1) if self.signal else (self.of(1, 2, 3), self.of(1, 1, 1, 2, 3))
        kernel, strides = (down, self.of(1, 2, 3)), (step, self.of(1, 1, 2))
        dilations = (1, 1) if pool else (1 if self.signal else self.of(1, 1, 2), self.of(1, 1, 2))
        pads = [0 if self.signal and axis % 2 == 0 else self.of(0, 0, 1, 2) for axis in range(4)]
        if pool:
            pads = [min(pad, kernel[axis % 2] // 2) for axis, pad in enumerate(pads)]
        sizes = zip((height, width), pads[:2], pads[2:], kernel, dilations, strict=True)
        if any(size + before + after < d * (k - 1) + 1 for size, before, after, k, d in sizes):
            return None
        return {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": tuple(pads)}

    def grow(self) -> None:
        """Put a convolution and what follows it, or a pool, behind the chain."""
        kind = self.of("conv", "conv", "conv", "apart", MaxPool, SumPool)
        more, value, shape = self.window(not isinstance(kind, str)), self.chain.value, (1, *self.chain.value.shape)[-3:]
        if more is None or max(-value.lo, value.hi) > 30_000:
            return
        if not isinstance(kind, str):
            self.chain.then(kind, "pool", shape=shape, **more)
        else:
            groups = (
                shape[2] if kind == "apart" else self.of(1, *(g for g in range(1, shape[2] + 1) if shape[2] % g == 0))
            )
            if self.chance(0.4):
                lo, hi, _ = C_TYPES[value.c_type]
                pads = self.rng.integers(max(lo, -100), min(hi, 100), shape[2])
                more["pad_I"] = pads if self.chance(0.5) else np.full(shape[2], pads[0])
            self.chain.conv(self.of(*FORMATS), groups * self.of(1, 2, 3), groups=groups, **more)
        if self.chance(0.8) and max(self.chain.value.hi, -self.chain.value.lo):
            self.chain.requantize(*self.of((0, 255), (-127, 127), (0, 9_000)), falling=self.chance(0.2))
        height, width, _ = self.chain.value.shape
        kernel = (self.of(1, min(2, height)), self.of(1, min(2, width)))
        if self.chance(0.4):
            self.chain.pool(kernel=kernel, strides=(1 if self.signal else self.of(kernel[0], 2), kernel[1]))

    def graph(self) -> Graph:
        for _ in range(self.of(2, 3, 4, 5)):
            self.grow()
        return self.chain.graph if self.chain.ops else self.graph()


def any_plan(graph: Graph, draw: Draw) -> Plan:
    """A plan of the kind that is seldom the smallest: some of the maps streamed, outputs over inputs."""
    held = frozenset(name for name in sorted(streamable(graph)) if draw.chance(0.7))
    lives = memory.Lives.of(graph, held)
    spans = memory._overlapping(lives, draw.chance(0.5))
    return memory._plan(lives, spans)


def check_random(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Draw(number)
    graph = draw.graph()
    exact(graph, TARGETS["host"], folder / "least")
    monkeypatch.setattr(emitted, "plan_memory", lambda *_: any_plan(graph, draw))
    exact(graph, TARGETS["host"], folder / "any")
    monkeypatch.undo()


@pytest.mark.parametrize("number", range(8))
def test_random_chains_equal_the_interpreter(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need
) -> None:
    need(TARGETS["host"])
    check_random(number, tmp_path, monkeypatch)


@pytest.mark.campaign
def test_many_random_chains_equal_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need) -> None:
    need(TARGETS["host"])
    for number in range(8, 300):
        check_random(number, tmp_path / str(number), monkeypatch)


def separable() -> Graph:
    """Depthwise and pointwise, twice, a plain pool between them, rows of padding that is not 0, and a sum over all."""
    chain = Chain((12, 10, 2)).conv("int8", 4, pads=AROUND).requantize(-99, 127)
    for _ in range(2):
        chain.conv("int4", 4, groups=4, pads=AROUND, pad_I=np.array([-3, 100, 7, 0])).requantize(0, 90)
        chain.conv("two_bit", 4, (1, 1)).requantize(-99, 127)
    chain.then(MaxPool, "rise", shape=chain.value.shape, kernel=(3, 3), strides=(2, 2), pads=AROUND)
    chain.then(SumPool, "sum", shape=chain.value.shape, kernel=(6, 5)).requantize(-99, 99)
    return chain.graph


def test_a_separable_chain_on_the_chip(tmp_path: Path, need) -> None:
    need(TARGETS["uno"])
    graph = separable()
    assert len(plan_memory(graph).held) >= 5
    exact(graph, TARGETS["uno"], tmp_path)


def test_a_signal_is_streamed_in_time(tmp_path: Path, need) -> None:
    """Each map is held for as many moments as a window of its reader sees, or as several that are pooled."""
    need(TARGETS["uno"])
    chain = Chain((60, 2))
    for dilation in (1, 2, 4):
        chain.conv("int8", 6, (1, 3), dilations=(1, dilation), pads=(0, 2 * dilation, 0, 0)).requantize()
    chain.then(MaxPool, "most", shape=chain.value.shape, kernel=(1, 5), strides=(1, 5))
    plan, names = plan_memory(chain.graph), [op.name for op in chain.ops]
    assert plan.held == {names[1], names[3]}
    assert [plan.bytes_of[names[k]] // 6 for k in (1, 3)] == [5, 9 + 4]
    exact(chain.graph, TARGETS["uno"], tmp_path)


def test_a_map_is_held_by_rows_only_where_nobody_else_reads_it_and_that_is_smaller() -> None:
    graph = mini_cnn()
    assert plan_memory(graph).held == streamable(graph) == {"pool1"}
    assert plan_memory(graph).size == 4 * 13 * 8 + 5 * 5 * 16
    assert not streamable(replace(graph, outputs=("pool1", "act3")))
    again = Add(name="again", inputs=("pool1", "pool1"))
    assert not streamable(replace(graph, ops=(*graph.ops, again)))
    small = Layers((4, 4, 1))
    small.conv(1)
    small.conv(9, kernel=1)
    assert streamable(small.graph()) == {"act1"} and not plan_memory(small.graph()).held


def built(graph: Graph, folder: Path) -> Firmware:
    return TARGETS["uno"].firmware(graph, Vector(), "a net and its conversation").built(folder)


@pytest.mark.parametrize(("graph", "room"), [(mini_cnn(), 100), (mini_cnn(size=16), 1_000)], ids=["28", "16"])
def test_a_mini_cnn_fits_2_048_bytes(graph: Graph, room: int, tmp_path: Path, need) -> None:
    """Input, all that is static, and the stack, with the conversation over the serial line; a line is typed, then vectors compared."""
    need(TARGETS["uno"])
    firmware, x = built(graph, tmp_path), inputs_of(graph, 6)
    assert not firmware.excess and firmware.sizes.static_bytes is not None
    outcome = firmware.vectors({"x": x["x"]})
    assert outcome.stack_bytes is not None
    assert firmware.sizes.static_bytes + outcome.stack_bytes <= 2_048 - room
    np.testing.assert_array_equal(outcome.outputs["act3"], interpret(graph, x)["act3"])
    line = " ".join(map(str, x["x"][2].ravel()))
    assert firmware.type([line]).answers == [" ".join(map(str, interpret(graph, x)["act3"][2]))]


@pytest.mark.parametrize("graph", [mini_cnn("ternary"), depthwise_cnn("int4")], ids=["mini", "depthwise"])
def test_streams_of_other_formats(graph: Graph, tmp_path: Path, need) -> None:
    need(TARGETS["host"])
    exact(graph, TARGETS["host"], tmp_path)
