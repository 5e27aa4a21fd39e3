"""What an ONNX file computes is what its calls compute: against ONNX's own cases, ONNX Runtime, and torch modules that were exported."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from levsha.capture.onnx_floats import float_outputs  # noqa: E402
from levsha.capture.onnx_read import read_onnx  # noqa: E402
from levsha.errors import LevshaWarning  # noqa: E402
from tests import onnx_cases  # noqa: E402
from tests.onnx_files import check, check_moves, compute, node, save  # noqa: E402

RNG = np.random.default_rng(7)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def test_onnx_own_cases(tmp_path: Path) -> None:
    """Each of ONNX's cases of an operation that the table knows equals what it should, or is refused; those that are read are written down."""
    found = onnx_cases.cases()
    read = {case.name for case in found if not onnx_cases.run(case, tmp_path)}
    known = set(onnx_cases.GOLDEN.read_text().split())
    print(f"{len(read)} of {len(found)} cases are read, all others refused")
    assert known & {case.name for case in found} == read, (
        "python -m tests.onnx_cases writes the list anew; look at the difference"
    )
    assert len(read) >= 500 and len(found) < 1000


# --- nets of a few nodes, against ONNX Runtime

CONV = {"w": weights(4, 3, 3, 3), "b": weights(4)}
STATS = {"s": weights(4) + 1, "o": weights(4), "m": weights(4), "v": weights(4) ** 2 + 0.5}
GRU = {"w": weights(1, 18, 5), "r": weights(1, 18, 6), "b": weights(1, 36)}
GRU2 = {"w": weights(2, 18, 5), "r": weights(2, 18, 6), "b": weights(2, 36)}
LSTM = {"w": weights(1, 24, 5), "r": weights(1, 24, 6)}


def ints(*n: int) -> np.ndarray:
    return np.array(n, dtype=np.int64)


SMALL: dict[str, Any] = {
    "gemm": ([node("Gemm", "x w b", transB=1, alpha=0.5, beta=2.0)], ("N", 6), {"w": weights(4, 6), "b": weights(4)}),
    "matmul over rows": ([node("MatMul", "x w")], ("N", 5, 6), {"w": weights(6, 4)}),
    "matmul from the left": ([node("MatMul", "w x")], ("N", 5, 6), {"w": weights(3, 5)}),
    "matmul over rows, put together and apart as Keras does": ([node("Reshape", "x a", "r"), node("MatMul", "r w", "m"), node("Reshape", "m b")], ("N", 5, 6), {"a": ints(-1, 6), "w": weights(6, 4), "b": ints(-1, 5, 4)}),
    "conv": ([node("Conv", "x w b", pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2])], ("N", 3, 9, 8), CONV),
    "depthwise": ([node("Conv", "x w", group=3, auto_pad="SAME_UPPER", strides=[2, 2])], ("N", 3, 7, 8), {"w": weights(6, 1, 3, 3)}),
    "conv 1-D": ([node("Conv", "x w", auto_pad="SAME_LOWER")], ("N", 3, 9), {"w": weights(4, 3, 4)}),
    "conv transposed": (
        [node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0], group=2)], ("N", 4, 5, 4),
        {"w": weights(4, 2, 3, 3), "b": weights(4)},
    ),
    "conv transposed to a size": (
        [node("ConvTranspose", "x w", strides=[3], output_shape=[14], auto_pad="SAME_LOWER")], ("N", 2, 5), {"w": weights(2, 3, 4)},
    ),
    "batch norm": ([node("BatchNormalization", "x s o m v", epsilon=1e-3)], ("N", 4, 5, 6), STATS),
    "layer norm": ([node("LayerNormalization", "x s o", axis=-1)], ("N", 3, 4), {"s": weights(4), "o": weights(4)}),
    "affine by constants": (
        [node("Mul", "x a", "p"), node("Sub", "b p", "q"), node("Div", "q c", "r"), node("Add", "r d")], ("N", 3, 4),
        {"a": weights(4), "b": weights(3, 1), "c": np.float32(3.0), "d": weights(1, 1, 1, 4)[0]},
    ),
    "constants of a higher rank": ([node("Add", "x c", "s"), node("Reshape", "s t")], (1, 4), {"c": weights(1, 1, 4), "t": ints(1, 4)}),
    "a constant that repeats": ([node("Mul", "x c")], ("N", 1, 4), {"c": weights(3, 1)}),
    "values joined": ([node("Relu", "x", "p"), node("Tanh", "x", "q"), node("Mul", "p q", "r"), node("Sub", "r p")], ("N", 4), {}),
    "values that broadcast": ([node("GlobalAveragePool", "x", "m"), node("Mul", "x m")], ("N", 3, 4, 5), {}),
    "largest and smallest": ([node("Neg", "x", "n"), node("Max", "x n c", "p"), node("Min", "p x d")], ("N", 4), {"c": weights(4), "d": np.float32(0.3)}),
    "mean of three": ([node("Abs", "x", "p"), node("Sin", "x", "q"), node("Mean", "x p q")], ("N", 4), {}),
    "sum with a constant": ([node("Abs", "x", "p"), node("Sum", "c x p")], ("N", 4), {"c": weights(4)}),
    "slopes": ([node("PRelu", "x s")], ("N", 3, 4), {"s": weights(3, 1)}),
    "one slope": ([node("PRelu", "x s")], ("N", 3, 4), {"s": np.full((3, 1), 0.2, np.float32)}),
    "powers": ([node("Pow", "x two", "p"), node("Pow", "base p")], ("N", 4), {"two": np.float32(2), "base": np.float32(1.5)}),
    "clip": ([node("Clip", "x - hi")], ("N", 4), {"hi": np.float32(0.5)}),
    "where by a constant": ([node("Where", "c x d")], ("N", 4), {"c": np.array([True, False, True, False]), "d": np.float32(9)}),
    "pool": ([node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], dilations=[2, 1])], ("N", 3, 9, 8), {}),
    "average": ([node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 1])], ("N", 3, 9, 8), {}),
    "reduce": ([node("ReduceMean", "x a", keepdims=0)], ("N", 3, 4, 5), {"a": ints(1, -1)}),
    "largest of axes": ([node("ReduceMax", "x a", keepdims=0)], ("N", 3, 4, 5), {"a": ints(1, 3)}),
    "concat with constants": ([node("Abs", "x", "p"), node("Concat", "c x p d", axis=1)], (1, 3, 2), {"c": weights(1, 2, 2), "d": np.ones((1, 1, 2), np.float32)}),
    "pad": ([node("Pad", "x p v")], ("N", 3, 4), {"p": ints(0, 1, -1, 0, 0, 2), "v": np.float32(5)}),
    "pad by reflection": ([node("Pad", "x p", mode="reflect")], ("N", 3, 4), {"p": ints(0, 1, 2, 0, 0, 3)}),
    "slice backwards": ([node("Slice", "x a b c d")], ("N", 5, 6), {"a": ints(-1, 0), "b": ints(-9, 5), "c": ints(1, 2), "d": ints(-2, 2)}),
    "split and joined": ([node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1)], ("N", 5), {"s": ints(2, 3)}),
    "gather": ([node("Gather", "x i", axis=1)], ("N", 5, 2), {"i": ints(4, 0, -1, 1).reshape(2, 2)}),
    "resize": ([node("Resize", "x - s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")], ("N", 2, 3, 4), {"s": np.array([1, 1, 2, 3], np.float32)}),
    "tile, expand": ([node("Tile", "x r", "t"), node("Unsqueeze", "t a", "u"), node("Expand", "u e")], (1, 2, 3), {"r": ints(1, 2, 1), "a": ints(2), "e": ints(1, 1, 2, 1)}),
    "softmax": ([node("Softmax", "x", axis=1)], ("N", 3, 4), {}),
    "argmax": ([node("ArgMax", "x", axis=1, keepdims=0)], ("N", 5), {}),
    "gru": ([node("Transpose", "x", "t", perm=[1, 0, 2]), node("GRU", "t w r b", "all last", hidden_size=6, linear_before_reset=1), node("Squeeze", "last z")], ("N", 7, 5), {**GRU, "z": ints(0)}),
    "gru, every row": (
        [node("Transpose", "x", "t", perm=[1, 0, 2]), node("GRU", "t w r b", "all last", hidden_size=6, linear_before_reset=1, direction="reverse"), node("Squeeze", "all z", "s"), node("Transpose", "s", perm=[1, 0, 2])],
        ("N", 7, 5), {**GRU, "z": ints(1)},
    ),
    "gru, both ways": (
        [node("Transpose", "x", "t", perm=[1, 0, 2]), node("GRU", "t w r b", "all last", hidden_size=6, linear_before_reset=1, direction="bidirectional"), node("Transpose", "all", "s", perm=[2, 0, 1, 3]), node("Reshape", "s z")],
        ("N", 7, 5), {**GRU2, "z": ints(0, 7, 12)},
    ),
    "lstm": ([node("Transpose", "x", "t", perm=[1, 0, 2]), node("LSTM", "t w r", "all last", hidden_size=6), node("Squeeze", "last z")], ("N", 7, 5), {**LSTM, "z": ints(0)}),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_small_nets_equal_onnx_runtime(name: str, tmp_path: Path) -> None:
    nodes, shape, constants = SMALL[name]
    kind = onnx.TensorProto.INT64 if name == "argmax" else onnx.TensorProto.FLOAT
    program = check(save(tmp_path / "m.onnx", nodes, shape, constants, out_type=kind))
    (size,) = program.inputs.values()
    check_moves(program, RNG.normal(size=(2, *size)).astype(np.float32))


ACTIVATIONS: dict[str, Any] = {
    "x * sigmoid(x)": ([node("Sigmoid", "x", "s"), node("Mul", "x s")], {}),
    "x / (abs(x) * 1 + 1)": ([node("Abs", "x", "a"), node("Add", "a one", "b"), node("Div", "x b")], {"one": np.float32(1)}),
    "where((x > 0), x, (x * 0.1 + 0))": ([node("Greater", "x zero", "c"), node("Mul", "x a", "m"), node("Where", "c x m")], {"zero": np.float32(0), "a": np.float32(0.1)}),
    "x * tanh(log((exp(x) * 1 + 1)))": ([node("Exp", "x", "e"), node("Add", "e one", "p"), node("Log", "p", "l"), node("Tanh", "l", "t"), node("Mul", "x t")], {"one": np.float32(1)}),
    "max(x, (x * 0.2 + 0))": ([node("Mul", "x a", "m"), node("Max", "x m")], {"a": np.float32(0.2)}),
    "(x - tanh(x))": ([node("Tanh", "x", "t"), node("Sub", "x t")], {}),
    "where(((x >= -1) and not (x <= 1)), 0, relu(x))": (
        [node("GreaterOrEqual", "x low", "a"), node("LessOrEqual", "x high", "b"), node("Not", "b", "c"), node("And", "a c", "d"), node("Relu", "x", "r"), node("Where", "d zero r")],
        {"low": np.float32(-1), "high": np.float32(1), "zero": np.float32(0)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", ACTIVATIONS)
@pytest.mark.parametrize("turned", [False, True])
def test_an_activation_in_pieces_is_one_function(text: str, turned: bool, tmp_path: Path) -> None:
    """Behind a move too, which comes after it then."""
    nodes, constants = ACTIVATIONS[text]
    if turned:
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        for n in nodes:
            n.input[:] = [{"x": "turned"}.get(name, name) for name in n.input]
        nodes = [node("Transpose", "x", "turned", perm=[0, 2, 1]), *nodes]
    program = check(save(tmp_path / "m.onnx", nodes, ("N", 5, 4), constants))
    assert [call.kind for call in program.calls] == ["function", *(["rearrange"] if turned else [])]
    assert program.calls[0].attributes["name"] == text


def test_comparisons_are_steps(tmp_path: Path) -> None:
    nodes = [
        node("Greater", "x c", "g"),
        node("Cast", "g", "f", to=1),
        node("Less", "d x", "l"),
        node("Cast", "l", "h", to=1),
        node("Add", "f h"),
    ]
    program = check(save(tmp_path / "m.onnx", nodes, ("N", 4), {"c": weights(4), "d": np.float32(0.2)}))
    assert {call.kind for call in program.calls} == {"affine", "function", "add"}


def test_pieces_that_double_do_not_grow_without_end(tmp_path: Path) -> None:
    nodes = [
        n
        for i in range(12)
        for n in (
            node("Sigmoid", f"x{i}" if i else "x", f"s{i}"),
            node("Mul", f"x{i} s{i}" if i else "x s0", f"x{i + 1}" if i < 11 else "y"),
        )
    ]
    program = check(save(tmp_path / "m.onnx", nodes, ("N", 4), {}))
    assert len(program.calls) < 24 and all(len(call.attributes.get("name", "")) < 70 for call in program.calls)


def test_residual_sums_of_moved_values_move_once(tmp_path: Path) -> None:
    turn, back = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
    nodes = [
        node("Conv", "x a", "p"), node("Conv", "x b", "q"), node("Transpose", "p", "r", **turn), node("Transpose", "q", "s", **turn),
        node("Add", "r s", "t"), node("Mul", "t c", "u"), node("Relu", "u", "v"), node("Transpose", "v", "w", **back), node("Conv", "w d"),
    ]  # fmt: skip
    program = check(
        save(
            tmp_path / "m.onnx",
            nodes,
            ("N", 3, 5, 4),
            {"a": weights(4, 3, 1, 1), "b": weights(4, 3, 1, 1), "c": weights(4), "d": weights(2, 4, 2, 2)},
        )
    )
    assert [call.kind for call in program.calls] == ["conv", "conv", "add", "affine", "clip", "conv"]
    assert program.calls[3].arrays["factor"].shape == (4, 1, 1)


OLD: dict[str, Any] = {
    "gemm of opset 6": ([node("Gemm", "x w b", transB=1, broadcast=1)], ("N", 6), {"w": weights(4, 6), "b": weights(4)}, 6),
    "batch norm of opset 6": ([node("BatchNormalization", "x s o m v", is_test=1)], ("N", 4, 5, 6), STATS, 6),
    "dropout of opset 6": ([node("Dropout", "x", "d", is_test=1), node("Relu", "d")], ("N", 4), {}, 6),
    "clip of opset 6": ([node("Clip", "x", min=-0.5, max=0.25)], ("N", 4), {}, 6),
    "pad, slice by attributes": ([node("Pad", "x", "p", pads=[0, 1, 0, 2], value=0.5), node("Slice", "p", axes=[1], starts=[0], ends=[-1])], ("N", 4), {}, 9),
    "softmax over all": ([node("Softmax", "x", axis=1)], ("N", 3, 4), {}, 11),
    "upsample": ([node("Upsample", "x s")], ("N", 2, 3, 4), {"s": np.array([1, 1, 2, 3], np.float32)}, 9),
    "squeeze, unsqueeze, reduce": ([node("Squeeze", "x", "s", axes=[1]), node("Unsqueeze", "s", "u", axes=[2]), node("ReduceSum", "u", axes=[1], keepdims=0)], ("N", 1, 4), {}, 11),
    "reshape, split by attributes": ([node("Split", "x", "a b", axis=1, split=[2, 4]), node("Neg", "b")], ("N", 6), {}, 11),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_old_files_equal_onnx_runtime(name: str, tmp_path: Path) -> None:
    nodes, shape, constants, opset = OLD[name]
    check(save(tmp_path / "m.onnx", nodes, shape, constants, opset=opset))


def test_old_constants_broadcast_from_an_axis_on(tmp_path: Path) -> None:
    c = weights(3)
    path = save(tmp_path / "m.onnx", [node("Add", "x c", broadcast=1, axis=1)], ("N", 3, 4), {"c": c}, opset=6)
    x = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(compute(read_onnx(path), x), x + c[:, None])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from(["MaxPool", "AveragePool", "Conv"]), kernel=st.integers(1, 4), stride=st.integers(1, 3), dilation=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)), size=st.integers(7, 10), up=st.booleans(), counted=st.booleans(),
    auto=st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)  # fmt: skip
def test_windows_of_any_kind(
    op: str, kernel: int, stride: int, dilation: int, pads: tuple[int, int], size: int, up: bool, counted: bool, auto: str, tmp_path: Path
) -> None:  # fmt: skip
    pads = (min(pads[0], kernel - 1), min(pads[1], kernel - 1))
    # ONNX Runtime does not run windows that leave gaps with pads of its own choice.
    stride = min(stride, kernel) if "SAME" in auto else stride
    options: dict[str, Any] = {"kernel_shape": [kernel], "strides": [stride]}
    if auto == "NOTSET":
        options["pads"] = list(pads)
    else:
        options["auto_pad"] = auto
    if op != "AveragePool" and "SAME" not in auto:
        options["dilations"] = [dilation]
    if op == "Conv":
        nodes, constants = [node("Conv", "x w", **options)], {"w": weights(2, 3, kernel)}
    else:
        if auto == "NOTSET":
            options["ceil_mode"] = int(up)
        if op == "AveragePool":
            options["count_include_pad"] = int(counted)
        nodes, constants = [node(op, "x", **options)], {}
    check(save(tmp_path / "m.onnx", nodes, ("N", 3, size), constants))


# --- whole nets


def export(model: nn.Module, shape: tuple[int, ...], path: Path, free: bool = True) -> Path:
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch: dict[str, Any] = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
        x = torch.zeros(2 if free else 1, *shape)
        torch.onnx.export(model, (x,), path, dynamo=True, verbose=False, **(batch if free else {}))
    return path


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 1))
        self.last = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.relu(x + self.block(x))
        return torch.softmax(self.last(x.mean((2, 3))), 1)


class Recurrent(nn.Module):
    def __init__(self, last: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 6, num_layers=2, batch_first=True)
        self.head, self.last = nn.Linear(6, 3), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, h = self.gru(x)
        return self.head(h[-1] if self.last else rows[:, -1])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.lstm = nn.Embedding(20, 4), nn.LSTM(4, 5, batch_first=True, bidirectional=True)
        self.norm, self.head = nn.LayerNorm(10), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.lstm(self.table(x.long()))[0]).mean(1))


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 5), nn.ReLU6(), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Flatten(), nn.Dropout(), nn.Linear(8 * 2 * 2, 10),
    )  # fmt: skip


def separable() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8),
        nn.Hardswish(), nn.Conv2d(8, 12, 1), nn.PReLU(12), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4), nn.LogSoftmax(1),
    )  # fmt: skip


NETS: dict[str, Any] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.BatchNorm1d(12), nn.Linear(12, 3)), (6,)),
    "lenet": (lenet, (1, 16, 16)),
    "separable": (separable, (3, 12, 12)),
    "residual": (Residual, (3, 8, 8)),
    "gru, last state": (lambda: Recurrent(True), (7, 4)),
    "gru, last row": (lambda: Recurrent(False), (7, 4)),
    "words": (Words, (6,)),
}


FREE = ["lenet", "separable", "gru, last row", "words"]
FIXED = ["mlp", "residual", "gru, last state", "words"]


@pytest.mark.parametrize(("name", "free"), [*((name, True) for name in FREE), *((name, False) for name in FIXED)])
def test_exported_torch_modules_equal_the_module(name: str, free: bool, tmp_path: Path) -> None:
    torch.manual_seed(3)
    make, shape = NETS[name]
    model = make()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean, part.running_var = torch.randn(part.num_features), torch.rand(part.num_features) + 0.5
    path = export(model, shape, tmp_path / "m.onnx", free)
    program = read_onnx(path)
    x = RNG.integers(0, 20, (4, *shape)) if name == "words" else RNG.normal(size=(4, *shape))
    x = x.astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(compute(program, x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(float_outputs(path, x), expected, rtol=1e-4, atol=1e-5)
    check_moves(program, x)


def test_a_call_says_where_it_stands_in_the_users_source(tmp_path: Path) -> None:
    program = read_onnx(export(Residual(), (3, 8, 8), tmp_path / "m.onnx"))
    places = [call.place for call in program.calls if call.kind == "conv"]
    assert places[0].startswith("test_onnx_import.py, line ") and ": x = self.first(x) (node " in places[0]
    named = save(tmp_path / "n.onnx", [node("Relu", "x", name="act1")], ("N", 4))
    assert read_onnx(named).calls[0].place == 'node "act1" (Relu)'


def test_a_net_of_keras_with_its_transposes(tmp_path: Path) -> None:
    """Channels last outside, Transposes around each convolution, shapes computed in the graph, Casts, as tf2onnx writes."""
    constants = {
        "k": weights(4, 1, 3, 3), "b": weights(4), "d": weights(3 * 3 * 4, 5), "zero": ints(0), "one": ints(1), "minus": ints(-1),
        "nhwc": ints(0, 3, 1, 2),
    }  # fmt: skip
    nodes = [
        node("Cast", "x", "f", to=1), node("Transpose", "f", "t", perm=[0, 3, 1, 2]), node("Conv", "t k", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Transpose", "c", "u", perm=[0, 2, 3, 1]), node("Add", "u b", "v"), node("Relu", "v", "r"), node("Transpose", "r", "w", perm=[0, 3, 1, 2]),
        node("MaxPool", "w", "p", kernel_shape=[2, 2], strides=[1, 1]), node("Transpose", "p", "q", perm=[0, 2, 3, 1]), node("Shape", "q", "s"),
        node("Slice", "s zero one zero", "n"), node("Cast", "n", "n32", to=6), node("Cast", "n32", "n64", to=7), node("Concat", "n64 minus", "target", axis=0),
        node("Reshape", "q target", "flat"), node("MatMul", "flat d"),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, ("N", 8, 8, 1), constants)
    program = check(path)
    # Left are the first one and, in one piece, what stands before the last layer: the others cancel across bias and ReLU.
    kinds = Counter(call.kind for call in program.calls)
    assert program.inputs == {"x": (8, 8, 1)}
    assert kinds == {"rearrange": 1 + 1, "conv": 1, "affine": 1, "clip": 1, "max_pool": 1, "linear": 1}


def test_constants_are_computed_whatever_they_are_made_of(tmp_path: Path) -> None:
    """Weights that were quantised come back as floats; nothing of it is left in the program."""
    constants = {
        "q": RNG.integers(-9, 9, (4, 6)).astype(np.int8),
        "s": np.array([0.5, 0.25, 1, 2], np.float32),
        "z": np.zeros(4, np.int8),
    }
    nodes = [node("DequantizeLinear", "q s z", "w", axis=0), node("Transpose", "w", "t"), node("MatMul", "x t")]
    program = check(save(tmp_path / "m.onnx", nodes, ("N", 6), constants))
    assert [call.kind for call in program.calls] == ["linear"]


def test_a_batch_that_the_file_fixes(tmp_path: Path) -> None:
    """Of one row, rows may be squeezed away and back; of several, ONNX Runtime runs parts that are filled up."""
    nodes = [node("Squeeze", "x", "s"), node("Relu", "s", "r"), node("Unsqueeze", "r a", "u"), node("Reshape", "u t")]
    check(save(tmp_path / "one.onnx", nodes, (1, 3, 4), {"a": ints(0), "t": ints(1, 12)}), rows=5)
    several = save(tmp_path / "four.onnx", [node("MatMul", "x w")], (4, 3), {"w": weights(3, 2)})
    assert check(several, rows=6).inputs == {"x": (3,)}


def test_a_file_without_a_batch(tmp_path: Path) -> None:
    program = check(
        save(
            tmp_path / "m.onnx",
            [node("Unsqueeze", "x a", "u"), node("MatMul", "u w")],
            (6,),
            {"a": ints(0), "w": weights(6, 2)},
        )
    )
    assert program.inputs == {"x": (6,)}
    image = save(
        tmp_path / "i.onnx", [node("Transpose", "x", "t"), node("MatMul", "t w")], (5, 6), {"w": weights(5, 2)}
    )
    with pytest.warns(
        LevshaWarning, match=r"i.onnx: read as a model without a batch: one example is all of its input, \[5, 6\]"
    ):
        program = read_onnx(image)
    x = RNG.normal(size=(3, 5, 6)).astype(np.float32)
    np.testing.assert_allclose(compute(program, x), float_outputs(image, x), rtol=1e-5, atol=1e-5)


def test_only_what_the_outputs_need_is_read(tmp_path: Path) -> None:
    """Labels beside probabilities are left out, and so is all that only they need."""
    nodes = [
        node("MatMul", "x w", "y"),
        node("ArgMax", "y", "best", axis=1, keepdims=0),
        node("OneHot", "best d v", "label"),
    ]
    outs = [onnx.helper.make_tensor_value_info("y", 1, None), onnx.helper.make_tensor_value_info("label", 7, None)]
    path = save(tmp_path / "m.onnx", nodes, ("N", 3), {"w": weights(3, 2), "d": ints(2), "v": ints(0, 1)})
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.extend(outs)
    onnx.save(model, path)
    with pytest.warns(LevshaWarning, match='left out of what is computed, being no floats: "label"'):
        program = check(path)
    assert [call.kind for call in program.calls] == ["linear"]


def test_external_weights_and_functions_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [node("MatMul", "x w")], ("N", 40), {"w": weights(40, 30)})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").exists()
    check(path)
    model = onnx.load(path)
    body = onnx.helper.make_function(
        "own", "Double", ["a"], ["b"], [node("Add", "a a", "b")], [onnx.helper.make_opsetid("", 18)]
    )
    model.functions.append(body)
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    model.graph.node[0].output[0] = "p"
    model.graph.node.append(onnx.helper.make_node("Double", ["p"], ["y"], domain="own"))
    onnx.save(model, tmp_path / "f.onnx")
    check(tmp_path / "f.onnx")


def test_a_branch_that_a_constant_chooses_is_followed(tmp_path: Path) -> None:
    def branch(op: str) -> Any:
        return onnx.helper.make_graph(
            [node(op, "x", f"{op}_out")], op, [], [onnx.helper.make_tensor_value_info(f"{op}_out", 1, None)]
        )

    choose = node("If", "c", then_branch=branch("Relu"), else_branch=branch("Tanh"))
    program = check(save(tmp_path / "m.onnx", [choose], ("N", 4), {"c": np.array(False)}))
    assert [call.attributes.get("name") for call in program.calls] == ["tanh"]


def test_models_of_scikit_learn(tmp_path: Path) -> None:
    """What skl2onnx writes: a scaler of its own set of operations, probabilities wrapped in a ZipMap, labels."""
    ml = "ai.onnx.ml"
    nodes = [
        node("Scaler", "x", "s", domain=ml, scale=[0.5, 2.0, 1.0], offset=[1.0, -1.0, 0.0]), node("MatMul", "s w", "m"), node("Add", "m b", "a"),
        node("Softmax", "a", "p", axis=1), node("ArgMax", "p", "label", axis=1, keepdims=0), node("ZipMap", "p", "y", domain=ml, classlabels_int64s=[0, 1]),
    ]  # fmt: skip
    path = save(tmp_path / "m.onnx", nodes, ("N", 3), {"w": weights(3, 2), "b": weights(2)}, extra=[ml])
    model = onnx.load(path)
    maps = onnx.helper.make_map_type_proto(7, onnx.helper.make_tensor_type_proto(1, []))
    model.graph.output[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(maps))
    onnx.save(model, path)
    program = check(path)
    assert program.outputs == ("p",)
