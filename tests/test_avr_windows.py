"""The AVR assembly for convolutions in place and for requantising equals the interpreter, whatever the geometry and the numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.nets import mini_cnn
from levsha.emit.choose import Cost, Kernel, choose
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Op, Value
from levsha.ops import Conv, Requantize
from levsha.targets import TARGETS
from levsha.targets.avr.kernels import Conv24
from levsha.targets.avr.requantize24 import Requantize24
from levsha.targets.avr.uno import FLAGS
from levsha.targets.avr.window24 import Window24
from tests.test_fused import Chain

UNO = TARGETS["uno"]
BYTES = Value((1,), 0, 255)


@pytest.fixture(autouse=True)
def _tools(need) -> None:
    need(UNO)


def forced(*kernels: type[Kernel]) -> Any:
    """The chip with kernels wherever they apply, whatever they cost."""
    always = {"portable_cost": lambda *_, **__: Cost(float("inf"), 0)}
    return type("Forced", (type(UNO),), {"kernels": tuple(type("Always", (kernel,), always)() for kernel in kernels)})()


def rows_of(value: Value, rng: np.random.Generator) -> np.ndarray:
    """Inputs: none, the smallest, the largest, any, and some that are mostly zeros."""
    x = rng.integers(value.lo, value.hi, (6, *value.shape), endpoint=True)
    x[:3] = np.array([0, value.lo, value.hi]).reshape(-1, *[1] * len(value.shape))
    x[4:] *= rng.random(x[4:].shape) < 0.1
    return x


def cycles_of(graph: Graph, target: Any, x: np.ndarray, folder: Path) -> np.ndarray:
    """Run vectors, which must equal the interpreter's, and return the cycles of each."""
    outcome = target.run(graph, {"x": x}, folder)
    want = interpret(graph, {"x": x})
    for name in graph.outputs:
        np.testing.assert_array_equal(outcome.outputs[name], want[name])
    return outcome.cycles.sum(1)


GEOMETRIES: dict[str, dict[str, Any]] = {
    "image": {"shape": (5, 6, 1), "kernel": (3, 3)},
    "channels": {"shape": (4, 5, 9), "kernel": (2, 3), "outputs": 17},
    "padding": {"shape": (4, 3, 2), "kernel": (3, 3), "pads": (1, 1, 1, 1)},
    "uneven padding": {"shape": (5, 4, 3), "kernel": (3, 2), "pads": (2, 1, 0, 1), "strides": (2, 1), "outputs": 9},
    "strides": {"shape": (7, 6, 2), "kernel": (3, 2), "strides": (2, 3)},
    "rows apart": {"shape": (6, 4, 3), "kernel": (2, 2), "dilations": (3, 1)},
    "pixels": {"shape": (3, 3, 20), "kernel": (1, 1), "outputs": 3},
    "all": {"shape": (4, 8, 8), "kernel": (4, 8), "outputs": 1},
}


@pytest.mark.parametrize("pool", [None, (2, 2), (1, 3)], ids=["plain", "2x2", "1x3"])
@pytest.mark.parametrize("about", GEOMETRIES)
@pytest.mark.parametrize("largest", [3, 127])
def test_every_window_of_every_geometry(about: str, pool: tuple[int, int] | None, largest: int, tmp_path: Path) -> None:
    """Sums of 16 bits and of 24; rising and falling multipliers; pools of several windows where they fit."""
    fields = dict(GEOMETRIES[about])
    rng = np.random.default_rng(largest)
    outputs = fields.pop("outputs", 8)
    count = int(np.prod(fields["kernel"])) * fields["shape"][2]
    weight_OI = rng.integers(-largest, largest, (outputs, count), endpoint=True)
    falling = about == "strides"
    chain = Chain(fields.pop("shape"), ends=(0, 255 if largest == 127 else 90)).conv(
        "int8", outputs, weight_OI=weight_OI, **fields
    )
    graph = chain.graph
    assert Window24().takes(graph.ops[0], graph.values[graph.ops[0].name], graph.values["x"])
    x = rows_of(chain.x, rng)
    if pool:
        chain.requantize(0, 255, falling=falling)
        if any(size < k for size, k in zip(chain.value.shape, pool, strict=False)):
            return
        chain.pool(kernel=pool, strides=pool)
    cycles_of(chain.graph, forced(Window24, Requantize24), x, tmp_path)


@pytest.mark.parametrize("weights", ["binary", "ternary", "two_bit_z80", "int3", "int4"])
def test_few_weights_of_few_bits_are_widened(weights: str, tmp_path: Path) -> None:
    """The planner widens them in a MiniCNN's first layer, and counts what they take more."""
    graph = mini_cnn(weights)
    op, values = graph.ops[0], graph.values
    best = choose(op, values, UNO.kernels, pooled=True)
    assert best and best.name == "window24"
    cost = best.cost(op, values[op.name], values["x"])
    assert cost.flash_bytes == 500 + 72 - FORMATS[weights].packed_bytes(72)
    chain = Chain((6, 5, 3)).conv(weights, 10).requantize().pool()
    cycles_of(chain.graph, forced(Window24), rows_of(chain.x, np.random.default_rng(0)), tmp_path)


def conv(outputs: int, weight: int, **more: Any) -> Conv:
    fields: dict[str, Any] = {"shape": (2, 16, 8), "kernel": (2, 16)} | more
    count = fields["kernel"][0] * fields["kernel"][1] * fields["shape"][2]
    weight_OI = np.full((outputs, count), weight)
    return Conv(name="y", inputs=("x",), weight_OI=weight_OI, format=FORMATS["int8"], **fields)


@pytest.mark.parametrize("weight", [127, -127])
def test_the_ends_of_24_bits(weight: int, tmp_path: Path) -> None:
    op = conv(2, weight)
    graph = Graph({"x": replace(BYTES, shape=op.shape)}, (op,))
    assert abs(graph.values["y"].hi + graph.values["y"].lo) == 256 * 255 * 127
    cycles_of(graph, forced(Window24), rows_of(graph.inputs["x"], np.random.default_rng(0)), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"groups": 8, "weight_OI": np.ones((8, 4), int)},
        {"pads": (0, 1, 0, 1), "pad_I": np.arange(8)},
        {"pads": (1, 1, 0, 0), "dilations": (1, 2)},
        {"pads": (2, 0, 0, 0)},
        {"format": FORMATS["int4"], "weight_OI": np.ones((49, 32), int)},
    ],
    ids=["groups", "padding", "dilations", "windows in the padding", "many weights of few bits"],
)
def test_takes_only_what_is_exact(change: dict[str, Any]) -> None:
    plain = conv(2, 1, shape=(3, 4, 8), kernel=(2, 2))
    x = Value((3, 4, 8), 0, 255)
    assert Window24().takes(plain, plain.infer(x), x)
    assert not Window24().takes(plain, plain.infer(x), replace(x, lo=-1, hi=90))
    other = replace(plain, **change)
    assert not Window24().takes(other, other.infer(x), x)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_estimates_are_near(pooled: bool, tmp_path: Path) -> None:
    """Of the assembly that gathers windows, and of that which does not: within 12 per cent where the chip chooses between them."""
    for shape, outputs in (((6, 6, 1), 8), ((4, 4, 8), 16)):
        chain = Chain(shape).conv("int8", outputs)
        op, values = chain.ops[0], chain.graph.values
        rng = np.random.default_rng(0)
        x = rng.integers(1, 256, (3, *shape)) * (
            rng.random((3, *shape)) < np.array([1, 0.7, 0.44])[:, None, None, None]
        )
        if pooled:
            chain.pool()
        for kernel in (Conv24, Window24):
            found = cycles_of(chain.graph, forced(kernel), x, tmp_path / f"{kernel.name}{outputs}")
            for row, cycles in zip(x, found, strict=True):
                cost = kernel().cost(op, values[op.name], values["x"], nonzero=float((row != 0).mean()), pooled=pooled)
                assert cost.cycles == pytest.approx(cycles, rel=0.12)


SHIFTS = (16, 17, 22, 23, 24, 25, 30)
CLIPS = ((0, 255), (0, 9), (-127, 127), (-32768, 32767), (-300, 1_000))


@pytest.mark.parametrize("wide", [False, True], ids=["int16", "int32"])
@pytest.mark.parametrize(("lo", "hi"), CLIPS)
def test_requantising_to_any_range(lo: int, hi: int, wide: bool, tmp_path: Path) -> None:
    """Every shift, in one graph; multipliers and biases of both signs, as large as 32 bits allow, and small ones."""
    rng = np.random.default_rng(hi)
    x = Value((2, 14), -(1 << 23), (1 << 23) - 1) if wide else Value((2, 14), -32_768, 32_767)
    most = (1 << 30) // (1 << 23) - 1 if wide else 32_000
    ops: list[Op] = []
    for shift in SHIFTS:
        m = rng.integers(-most, most, 14, endpoint=True)
        m[:4] = [most, -most, 0, 1]
        b = rng.integers(-900, 900, 14, endpoint=True)
        more: dict[str, Any] = {
            "bias_shift": max(0, shift - 12),
            "shift": shift,
            "rounding": 1 << shift >> 1,
            "lo": lo,
            "hi": hi,
        }
        if shift == 30:
            more |= {"bias_shift": 20, "rounding": 0}
        ops.append(Requantize(name=f"y{shift}", inputs=("x",), multiplier_O=m, bias_O=b, **more))
    graph = Graph({"x": x}, tuple(ops), tuple(op.name for op in ops))
    assert all(Requantize24().takes(op, graph.values[op.name], x) for op in ops)
    cycles_of(graph, forced(Requantize24), rows_of(x, rng), tmp_path)


@pytest.mark.parametrize(
    "flags", [["-O0"], ["-O3", "-flto"], ["-fno-omit-frame-pointer", "-mno-call-prologues"]], ids=" ".join
)
def test_other_ways_to_compile(flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("levsha.targets.avr.uno.FLAGS", (*FLAGS, *flags))
    chain = Chain((6, 6, 3)).conv("int8", 9).requantize().pool()
    cycles_of(chain.graph, forced(Window24, Requantize24), rows_of(chain.x, np.random.default_rng(0)), tmp_path)
