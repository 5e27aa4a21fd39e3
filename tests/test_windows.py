"""Ops that slide a window equal torch in float64, whatever their geometry; what is impossible is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from levsha.errors import LevshaError
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.ops import Conv, MaxPool, SumPool
from levsha.ops.dense import ARRAY_BYTES
from levsha.targets import TARGETS

BYTES = (0, 255)
HOST = TARGETS["host"]


@st.composite
def geometries(draw: st.DrawFn, small_pads: bool = False) -> dict[str, Any]:
    """Shapes and windows that fit; small_pads: no window lies in the padding alone."""
    while True:
        shape = (draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 4)))
        kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        strides, dilations = ((draw(st.integers(1, 3)), draw(st.integers(1, 3))) for _ in range(2))
        most = [k // 2 for k in kernel] if small_pads else [4, 4]
        pads = tuple(draw(st.integers(0, most[axis])) for axis in (0, 1, 0, 1))
        reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        if shape[0] + pads[0] + pads[2] >= reach[0] and shape[1] + pads[1] + pads[3] >= reach[1]:
            return {"shape": shape, "kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}


def draw_input(shape: tuple[int, ...], seed: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (count, *shape))


def padded(x: np.ndarray, op: Any, fill_C: np.ndarray) -> torch.Tensor:
    """An input as torch has it, (N, C, H, W), with its padding; legend: C channels."""
    top, left, bottom, right = op.pads
    grown = x - fill_C
    image = pad(torch.from_numpy(np.moveaxis(grown, -1, 1)).double(), (left, right, top, bottom))
    return image + torch.from_numpy(fill_C).double()[:, None, None]


def as_integers(found: torch.Tensor) -> np.ndarray:
    return np.moveaxis(found.numpy(), 1, -1)


@settings(max_examples=150)
@given(st.data())
def test_conv_equals_torch(data: st.DataObject) -> None:
    geometry, seed = data.draw(geometries()), data.draw(st.integers(0, 999))
    rng, channels, kernel = np.random.default_rng(seed), geometry["shape"][2], geometry["kernel"]
    groups = data.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    outputs = groups * data.draw(st.integers(1, 3))
    weight_OI = rng.integers(-127, 128, (outputs, kernel[0] * kernel[1] * (channels // groups)))
    pad_C = rng.integers(-128, 128, channels) if data.draw(st.booleans()) else None
    op = Conv(
        name="y", inputs=("x",), groups=groups, weight_OI=weight_OI, pad_I=pad_C, format=FORMATS["int8"], **geometry
    )
    x, value = draw_input(op.shape, seed), Value(op.shape, -128, 127)
    weight = weight_OI.reshape(outputs, *kernel, channels // groups)
    image = padded(x, op, np.zeros(channels) if pad_C is None else pad_C)
    want = conv2d(
        image, torch.from_numpy(np.moveaxis(weight, -1, 1)).double(), stride=op.strides, dilation=op.dilations, groups=groups
    )  # fmt: skip
    assert op.infer(value).shape == op.run(x).shape[1:]
    np.testing.assert_array_equal(op.run(x), as_integers(want))


@settings(max_examples=150)
@given(st.data())
def test_max_pool_equals_torch(data: st.DataObject) -> None:
    op = MaxPool(name="y", inputs=("x",), **data.draw(geometries(small_pads=True)))
    x, value = draw_input(op.shape, data.draw(st.integers(0, 999))), Value(op.shape, -128, 127)
    try:
        shape = op.infer(value).shape
    except LevshaError as error:
        assert "padding alone" in str(error) and op.dilations != (1, 1)
        return
    lowest = padded(x + 1000, op, np.zeros(op.shape[2])) - 1000
    want = max_pool2d(lowest, op.kernel, op.strides, dilation=op.dilations)
    assert shape == op.run(x).shape[1:]
    np.testing.assert_array_equal(op.run(x), as_integers(want))


@settings(max_examples=150)
@given(st.data())
def test_sum_pool_equals_torch(data: st.DataObject) -> None:
    """avg_pool2d has no dilation: with one, a convolution with weights of 1."""
    op = SumPool(name="y", inputs=("x",), **data.draw(geometries()))
    x, value, channels = draw_input(op.shape, data.draw(st.integers(0, 999))), Value(op.shape, -128, 127), op.shape[2]
    image = padded(x, op, np.zeros(channels))
    if op.dilations == (1, 1):
        want = avg_pool2d(image, op.kernel, op.strides, divisor_override=1)
    else:
        ones = torch.ones(channels, 1, *op.kernel, dtype=torch.float64)
        want = conv2d(image, ones, stride=op.strides, dilation=op.dilations, groups=channels)
    assert op.infer(value).shape == op.run(x).shape[1:]
    np.testing.assert_array_equal(op.run(x), as_integers(want))


def test_a_conv_computes_the_same_in_every_number_it_uses() -> None:
    """Sums beyond what float32, then float64 holds exactly; a batch of more than one chunk."""
    rng = np.random.default_rng(0)
    weight_OI = rng.integers(-127, 128, (4, 9 * 3))
    op = Conv(name="y", inputs=("x",), shape=(9, 9, 3), kernel=(3, 3), weight_OI=weight_OI, format=FORMATS["int8"])
    x = rng.integers(-9, 10, (1000, 9, 9, 3))
    for scale in (1, 1 << 20, 1 << 47):
        np.testing.assert_array_equal(op.run(x * scale), op.run(x) * scale)
    assert (op.run(x)[500:501] == op.run(x[500:501])).all()
    assert op.run(x[:0]).shape == (0, 7, 7, 4)


def conv(**options: Any) -> Conv:
    fields: dict[str, Any] = {
        "shape": (4, 4, 2),
        "kernel": (3, 3),
        "weight_OI": np.ones((3, 18), int),
        "format": FORMATS["int8"],
    }
    return Conv(name="y", inputs=("x",), **(fields | options))


def pool(kind: type[MaxPool] | type[SumPool], **options: Any) -> MaxPool | SumPool:
    return kind(name="y", inputs=("x",), **({"shape": (4, 4, 2), "kernel": (2, 2)} | options))


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: conv(shape=(4, 4)), "shape is (4, 4); 3 whole numbers of 1 or more are needed"),
    (lambda: conv(kernel=(0, 3)), "kernel is (0, 3); 2 whole numbers of 1 or more are needed"),
    (lambda: conv(strides=(1, 0)), "strides is (1, 0)"),
    (lambda: conv(dilations=(0, 1)), "dilations is (0, 1)"),
    (lambda: conv(pads=(0, -1, 0, 0)), "pads is (0, -1, 0, 0); 4 whole numbers of 0 or more are needed"),
    (lambda: conv(shape=(4, 4, 3)), "reads (4, 4, 3) (rows, columns, channels), 48 elements, but 'x' has shape (4, 4, 2), 32"),
    (lambda: conv(dilations=(2, 1)), "the window covers (5, 3) rows and columns, the input with its padding has (4, 4)"),
    (lambda: conv(groups=3), "3 groups; they must divide 2 channels and 3 outputs"),
    (lambda: conv(groups=2), "2 groups; they must divide 2 channels and 3 outputs"),
    (lambda: conv(weight_OI=np.ones((3, 9), int)), "the weight reads 9 inputs; 9 taps of 2 channels (of 1 groups) are 18"),
    (lambda: conv(weight_OI=np.full((3, 18), 128)), "a weight is not on the grid of int8"),
    (lambda: conv(pad_I=np.array([1])), "pad has shape (1,); one number for each of 2 channels is needed"),
    (lambda: conv(pad_I=np.array([1, -1])), "pad holds -1..1; the input's type, uint8_t, allows 0..255"),
    (lambda: conv(weight_OI=np.full((3, 18), 127), sum_bits=16), "a sum can reach 582 930; int16 allows 32 767"),
    (lambda: pool(MaxPool, pads=(2, 0, 0, 0)), "a window lies in the padding alone, and has no largest element"),
    (lambda: pool(SumPool, kernel=(2, 9)), "the window covers (2, 9) rows and columns"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_every_mistake_is_named(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(LevshaError) as caught:
        Graph({"x": Value((4, 4, 2), *BYTES)}, (make(),))
    assert said in str(caught.value)


def test_padding_counts_in_the_proven_range() -> None:
    """The input is never 0, and each channel has a range of its own; padding is 0, or what pad_I says."""
    value = Value((2, 2, 2), -9, 50, ranges=((10, 50), (-9, -2)))
    weight_OI = np.tile([1, 0], (1, 4))

    def ends(**options: Any) -> tuple[int, int]:
        out = conv(shape=(2, 2, 2), kernel=(2, 2), weight_OI=weight_OI, **options).infer(value)
        return out.lo, out.hi

    assert ends() == (0, 200)
    assert ends(pads=(1, 0, 0, 0), pad_I=np.array([-7, 100])) == (-28, 200)
    assert ends(pads=(1, 0, 0, 0), pad_I=np.array([90, 0])) == (0, 360)


def test_a_known_total_bounds_every_window() -> None:
    value = Value((4, 4, 2), 0, 9, total=9)
    weight_OI = np.full((1, 18), -5)
    assert conv(weight_OI=weight_OI, pads=(1, 1, 1, 1)).infer(value).lo == -45
    assert conv(weight_OI=weight_OI, pads=(1, 1, 1, 1), pad_I=np.array([0, 1])).infer(value).lo == -5 * 9 * 18
    assert pool(SumPool).infer(value).hi == 9


def test_pools_keep_the_ranges_of_channels() -> None:
    """A sum goes by how many real elements its window holds: 1 to 4 here."""
    value = Value((4, 4, 2), -9, 50, ranges=((10, 50), (-9, -2)))
    assert pool(MaxPool).infer(value).ranges == value.ranges
    assert pool(SumPool, pads=(1, 1, 0, 0)).infer(value).ranges == ((10, 200), (-36, -2))
    assert pool(SumPool, pads=(2, 0, 0, 0)).infer(value).ranges == ((0, 200), (-36, 0))


def runs_exactly(op: Conv, value: Value, folder: Path, need: Any, target: Any = HOST) -> Graph:
    need(target)
    graph = Graph({"x": value}, (op,))
    x = {"x": np.random.default_rng(1).integers(value.lo, value.hi, (3, *value.shape), endpoint=True)}
    np.testing.assert_array_equal(target.run(graph, x, folder).outputs["y"], interpret(graph, x)["y"])
    return graph


@pytest.mark.parametrize(
    ("kernel", "channels", "groups", "outputs", "arrays"),
    [
        ((1, 9), 40, 1, 101, ["", "_88"]),  # a layer in parts
        ((1, 9), 40, 8, 808, ["", "_707"]),  # groups together in an array
        ((1, 9), 1_000, 2, 10, ["", "_4", "_5", "_9"]),  # the outputs of a group in several
        ((3, 3), 4_000, 4_000, 4_000, ["", "_3640"]),  # channels of their own
        ((1, 40), 600, 600, 1_800, ["", "_819", "_1638"]),
    ],
)
@pytest.mark.parametrize("pad", [0, 1])
def test_weights_larger_than_an_array_are_cut(
    kernel: tuple[int, int], channels: int, groups: int, outputs: int, arrays: list[str], pad: int, tmp_path: Path, need
) -> None:
    rng = np.random.default_rng(0)
    weight_OI = rng.integers(-127, 128, (outputs, kernel[0] * kernel[1] * channels // groups))
    op = conv(
        shape=(kernel[0], kernel[1] + 1, channels), kernel=kernel, groups=groups, weight_OI=weight_OI, pads=(0, pad, 0, 0),
        pad_I=rng.integers(-9, 9, channels),
    )  # fmt: skip
    graph = runs_exactly(op, Value(op.shape, -9, 9), tmp_path, need)
    constants = op.code(graph.values["y"], graph.values["x"]).constants
    names = [name for name in constants if "_weight" in name]
    assert all(constants[name].data.size <= ARRAY_BYTES for name in names)
    assert [name.removeprefix("y_weight") for name in names] == ["_0" if len(arrays) > 1 else "", *arrays[1:]]


@pytest.mark.parametrize(
    ("weights", "lo", "hi", "largest", "c_type"),
    [
        ("binary", 0, 1, 1, "int8_t"),
        ("int8", 0, 9, 0, "uint8_t"),
        ("binary", 0, 300, 1, "int16_t"),
        ("int8", -300, 9, 2, "int16_t"),
        ("int4", -99, 900, 7, "int32_t"),
        ("binary", -(1 << 20), 1 << 20, 1, "int32_t"),
        ("int8", -(1 << 20), 1 << 20, 127, "int32_t"),
    ],
)
@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_channels_of_their_own_in_every_type(
    target: Any, weights: str, lo: int, hi: int, largest: int, c_type: str, tmp_path: Path, need
) -> None:
    """Sums wrap in the type of the output; their results do not."""
    weight_OI = np.random.default_rng(0).integers(-largest, largest, (6, 9), endpoint=True)
    if weights == "binary":
        weight_OI = np.where(weight_OI < 0, -1, 1)
    weight_OI[0] = largest
    op = conv(shape=(3, 3, 3), groups=3, weight_OI=weight_OI, format=FORMATS[weights], pads=(1, 1, 1, 1))
    assert runs_exactly(op, Value(op.shape, lo, hi), tmp_path, need, target).values["y"].c_type == c_type


def test_images_beyond_16_bits_have_functions_of_their_own(tmp_path: Path, need) -> None:
    """Of one geometry: one op counts in 16 bits, the next in 32, since it makes more."""
    need(HOST)
    rng, image = np.random.default_rng(0), {"shape": (200, 200, 1), "pads": (1, 0, 0, 1)}
    few, many = (conv(**image, weight_OI=rng.integers(-9, 9, (outputs, 9))) for outputs in (1, 2))
    deep = {"shape": (199, 199, 2), "pads": (1, 1, 1, 1), "kernel": (3, 3)}
    apart = conv(**deep, groups=2, weight_OI=rng.integers(-9, 9, (2, 9)))
    ops = [replace(few, name="few"), replace(many, name="many"), replace(apart, name="apart", inputs=("many",))]
    ops += [replace(pool(kind, **deep), name=kind.__name__, inputs=("many",)) for kind in (MaxPool, SumPool)]
    graph = Graph({"x": Value((200, 200), -9, 9)}, tuple(ops), tuple(op.name for op in ops))
    x = {"x": rng.integers(-9, 10, (1, 200, 200))}
    got, want = HOST.run(graph, x, tmp_path).outputs, interpret(graph, x)
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], want[name])
