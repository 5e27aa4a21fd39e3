"""What cannot be read of an ONNX file is told in one error: what, where, and what to do."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from levsha.capture.onnx_floats import float_outputs  # noqa: E402
from levsha.capture.onnx_read import read_onnx  # noqa: E402
from levsha.errors import LevshaError  # noqa: E402
from tests.onnx_files import node, save  # noqa: E402

RNG = np.random.default_rng(3)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def refusal(path: Path) -> str:
    with pytest.raises(LevshaError) as caught:
        read_onnx(path)
    return str(caught.value)


def good(path: Path) -> Path:
    return save(path, [node("MatMul", "x w")], ("N", 8), {"w": weights(8, 8)})


# --- the file


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "m.onnx") == f"{tmp_path / 'm.onnx'}: no such file."


@pytest.mark.parametrize("content", [b"this is no model at all\n", b"\x00\x01\x02"])
def test_a_file_of_another_kind(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "is no ONNX file, or a damaged one" in refusal(path) and "export or copy it again" in refusal(path)


def test_a_folder(tmp_path: Path) -> None:
    assert "is no ONNX file" in refusal(tmp_path)


def test_a_file_that_ends_early_anywhere(tmp_path: Path) -> None:
    whole = good(tmp_path / "m.onnx").read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / "m.onnx").write_bytes(whole[:length])
        assert str(tmp_path) in refusal(tmp_path / "m.onnx")


def test_damaged_bytes_never_end_in_anything_but_a_levsha_error(tmp_path: Path) -> None:
    whole = bytearray(good(tmp_path / "m.onnx").read_bytes())
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(RNG.integers(len(whole)))] = int(RNG.integers(256))
        (tmp_path / "m.onnx").write_bytes(bytes(damaged))
        try:
            read_onnx(tmp_path / "m.onnx")
        except LevshaError as error:
            assert str(tmp_path) in str(error)


def test_weights_in_another_file_that_is_gone(tmp_path: Path) -> None:
    path = good(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    said = refusal(path)
    assert (
        "its weights lie in another file that cannot be read" in said
        and "w.bin" in said
        and "put that file next to it" in said
    )


def test_a_file_of_a_newer_onnx(tmp_path: Path) -> None:
    model = onnx.load(good(tmp_path / "m.onnx"))
    model.ir_version = 99
    onnx.save(model, tmp_path / "m.onnx")
    assert "is of ONNX's version 99, the package here reads up to" in refusal(tmp_path / "m.onnx")


def test_a_model_that_is_none(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [node("Relu", "z")], ("N", 4))
    assert "is no valid ONNX model (" in refusal(path) and "export it again" in refusal(path)


def test_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = good(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'levsha[onnx]'" in refusal(path)


# --- input and outputs


def edited(path: Path, *inputs: Any) -> Path:
    model = onnx.load(path)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, path)
    return path


def test_several_inputs(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [node("Add", "x z")], ("N", 4))
    two = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xz"]
    assert 'has 2 inputs ("x", "z"); exactly one is allowed' in refusal(edited(path, *two))


def test_initializers_that_are_listed_as_inputs_do_not_count(tmp_path: Path) -> None:
    path = good(tmp_path / "m.onnx")
    shapes = {"x": ["N", 8], "w": [8, 8]}
    read_onnx(edited(path, *(helper.make_tensor_value_info(name, TensorProto.FLOAT, n) for name, n in shapes.items())))


def test_sizes_that_are_open_are_named_with_the_line_that_fixes_them(tmp_path: Path) -> None:
    said = refusal(save(tmp_path / "m.onnx", [node("Relu", "x")], ("N", 3, "height", None)))
    assert "axis 2 (height), axis 3 (no name); only the batch, axis 0, may be" in said
    fix = "python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name x --input_shape 1,3,SIZE,SIZE"
    assert f"{fix} {tmp_path / 'm.onnx'} m-fixed.onnx" in said


def test_the_line_that_fixes_sizes_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpy

    path = save(tmp_path / "m.onnx", [node("Relu", "x")], ("N", 3, "height"))
    line = refusal(path).split("Say them: python -m ")[1].replace("SIZE", "5").split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", line)
    runpy.run_module(line[0], run_name="__main__")
    assert read_onnx(tmp_path / "m-fixed.onnx").inputs == {"x": (3, 5)}


def test_an_input_without_a_shape(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [node("Relu", "x")], ("N", 3))
    said = refusal(edited(path, helper.make_tensor_value_info("x", TensorProto.FLOAT, None)))
    assert 'its input "x" has no shape' in said and "--input_name x --input_shape 1,..." in said


def test_an_input_that_is_no_numbers(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [node("Identity", "x")], ("N", 3), dtype=TensorProto.STRING, out_type=TensorProto.STRING
    )
    assert 'its input "x" is no tensor of numbers' in refusal(path)


def test_outputs_that_are_no_numbers_or_constant(tmp_path: Path) -> None:
    text = save(tmp_path / "m.onnx", [node("Cast", "x", to=8)], ("N", 3), out_type=TensorProto.STRING)
    assert "none of its outputs is a tensor of numbers" in refusal(text)
    constant = save(tmp_path / "c.onnx", [node("Shape", "x")], ("N", 3), out_type=TensorProto.INT64)
    assert 'its output "y" does not depend on its input' in refusal(constant)


def test_rows_that_do_not_fit_the_file(tmp_path: Path) -> None:
    with pytest.raises(LevshaError, match=r"takes rows of \[8\], not of \[5\]"):
        float_outputs(good(tmp_path / "m.onnx"), np.zeros((2, 5), np.float32))


# --- operations


def ints(*n: int) -> np.ndarray:
    return np.array(n, dtype=np.int64)


STATS = {name: np.ones(3, np.float32) for name in "sbmv"}
GRU = {"w": weights(1, 18, 5), "r": weights(1, 18, 6)}
LSTM = {"w": weights(1, 24, 5), "r": weights(1, 24, 6)}
TURN = node("Transpose", "x", "t", perm=[1, 0, 2])
BACK = node("Squeeze", "h z")

REFUSED: dict[str, Any] = {
    "Div of two values": ([node("ReduceSum", "x a", "s"), node("Div", "x s")], ("N", 4), {"a": ints(1)}),
    "MatMul of two values that depend on the input; one factor must be a constant (attention": ([node("Abs", "x", "a"), node("MatMul", "x a")], ("N", 4, 4), {}),
    "MatMul by a stack of matrices": ([node("MatMul", "x w")], ("N", 2, 3, 4), {"w": weights(2, 4, 3)}),
    "BatchNormalization in training mode; export the model in eval mode": ([node("BatchNormalization", "x s b m v", "y p q", training_mode=1)], ("N", 3, 4), STATS),
    "Dropout in training mode; export the model in eval mode": ([node("Dropout", "x r t")], ("N", 4), {"r": np.float32(0.5), "t": np.array(True)}),
    "Conv whose kernel depends on the model's input": ([node("GlobalAveragePool", "x", "k"), node("Conv", "x k")], ("N", 2, 3), {}),
    "Conv over 3 axes; 1 and 2 axes": ([node("Conv", "x w")], ("N", 1, 4, 4, 4), {"w": weights(1, 1, 2, 2, 2)}),
    "MaxPool whose output of places is used": ([node("MaxPool", "x", "p i", kernel_shape=[2]), node("Cast", "i", to=1)], ("N", 1, 4), {}),
    "AveragePool with dilations = [2]": ([node("AveragePool", "x", kernel_shape=[2], dilations=[2])], ("N", 1, 8), {}, 19),
    "Softmax along the batch (axis 0)": ([node("Softmax", "x", axis=0)], ("N", 4), {}),
    "ReduceMean along the batch (axis 0); each example must be computed by itself": ([node("ReduceMean", "x")], ("N", 4), {}),
    "mixes the 4 rows of the batch; export the model for a batch of 1": ([node("Reshape", "x s", "r"), node("LRN", "r", size=3)], (4, 6), {"s": ints(8, 3)}),
    "its batch on axis 1; the batch must be axis 0": ([node("Transpose", "x", perm=[1, 0])], ("N", 4), {}),
    "Resize with mode = linear; use nearest": ([node("Resize", "x - s", mode="linear")], ("N", 1, 4), {"s": np.array([1, 1, 2], np.float32)}),
    "Cast to uint8 inside the model; export the float model": ([node("Cast", "x", "c", to=2), node("Cast", "c", to=1)], ("N", 4), {}),
    "QuantizeLinear is not supported; export the float model": ([node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")], ("N", 4), {"s": np.float32(0.1), "z": np.int8(0)}),
    "GRU with linear_before_reset = 0; train it with the reset behind the product (Keras: GRU(reset_after=True)": ([TURN, node("GRU", "t w r", "- h", hidden_size=6), BACK], ("N", 7, 5), {**GRU, "z": ints(0)}),
    "LSTM with activations relu, tanh, tanh": ([TURN, node("LSTM", "t w r", "- h", hidden_size=6, activations=["Relu", "Tanh", "Tanh"]), BACK], ("N", 7, 5), {**LSTM, "z": ints(0)}),
    "LSTM with a first state other than zero": ([TURN, node("LSTM", "t w r - - i", "- h", hidden_size=6), BACK], ("N", 7, 5), {**LSTM, "i": np.ones((1, 1, 6), np.float32), "z": ints(0)}),
    "LSTM whose output of the last cell state is used": ([TURN, node("LSTM", "t w r", "- - h", hidden_size=6), BACK], ("N", 7, 5), {**LSTM, "z": ints(0)}),
    "Where by a condition that depends on the input; write it with Relu": ([node("Greater", "x z", "c"), node("ReduceSum", "x a", "s"), node("Where", "c x s")], ("N", 4), {"z": np.float32(0), "a": ints(1)}),
    "And of several values; write it with Relu": ([node("Greater", "x z", "c"), node("ReduceSum", "x a", "s"), node("Less", "s z", "d"), node("And", "c d", "e"), node("Cast", "e", to=1)], ("N", 4), {"z": np.float32(0), "a": ints(1)}),
    "RandomNormalLike is not supported; export the model in eval mode": ([node("RandomNormalLike", "x", "n"), node("Add", "x n")], ("N", 4), {}),
    "InstanceNormalization is not supported; use BatchNormalization or LayerNormalization": ([node("InstanceNormalization", "x s b")], ("N", 3, 4), {"s": np.ones(3, np.float32), "b": np.ones(3, np.float32)}),
    "Gather of a value by a value": ([node("Cast", "x", "i", to=7), node("Gather", "x i", axis=1)], ("N", 4), {}),
    "Pow by several constants": ([node("Pow", "x c")], ("N", 4), {"c": np.arange(4, dtype=np.float32)}),
    "ArgMax with select_last_index = 1": ([node("ArgMax", "x", "a", axis=1, select_last_index=1), node("Cast", "a", to=1)], ("N", 4), {}),
    "Concat with a constant that differs between the rows of a batch": ([node("Concat", "x c", "a", axis=1), node("Hardmax", "a")], (2, 3), {"c": np.arange(4, dtype=np.float32).reshape(2, 2)}),
    "auto_pad = SAME_UPPER and dilations = [2]": ([node("Conv", "x w", auto_pad="SAME_UPPER", dilations=[2])], ("N", 1, 8), {"w": weights(1, 1, 3)}),
    "Add computes with integers; put a Cast to float before it": ([node("ArgMax", "x", "a", axis=1), node("Add", "a one", "b"), node("Cast", "b", to=1)], ("N", 4), {"one": ints(1)}),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_an_operation_that_cannot_be_converted(what: str, tmp_path: Path) -> None:
    nodes, shape, constants, *opset = REFUSED[what]
    said = refusal(save(tmp_path / "m.onnx", nodes, shape, constants, opset=opset[0] if opset else 18))
    assert what in said


def test_all_problems_are_told_at_once_each_with_its_node(tmp_path: Path) -> None:
    """Behind a node that is refused, reading goes on."""
    nodes = [
        node("LRN", "x", "a", size=3, name="norm1"), node("Conv", "a w", "b", name="conv1"), node("AveragePool", "b", "c", kernel_shape=[2], dilations=[2], name="pool"),
        node("Hardmax", "square", "d", name="hard", axis=1), node("Add", "c d", "e"), node("Resize", "e - s", mode="cubic", name="up"),
    ]  # fmt: skip
    nodes.insert(3, node("MatMul", "c c", "square", name="mm"))
    path = save(
        tmp_path / "m.onnx", nodes, ("N", 3, 9), {"w": weights(7, 3, 1), "s": np.array([1, 1, 2], np.float32)}, opset=19
    )
    said = refusal(path).splitlines()
    assert said[0] == f"{path}: 5 operations cannot become integers (docs/convert.md lists what can):"
    starts = ["norm1", "pool", "mm", "hard", "up"]
    assert [line.split('"')[1] for line in said[1:]] == starts
    assert all(
        line.startswith(f'  node "{name}" (') and "; " in line for line, name in zip(said[1:], starts, strict=True)
    )


def test_a_quantised_model_does_not_fill_the_screen(tmp_path: Path) -> None:
    nodes, last = [], "x"
    for i in range(20):
        nodes += [
            node("QuantizeLinear", f"{last} s z", f"q{i}"),
            node("DequantizeLinear", f"q{i} s z", f"d{i}"),
            node("Relu", f"d{i}", f"r{i}"),
        ]
        last = f"r{i}"
    path = save(tmp_path / "m.onnx", nodes, ("N", 4), {"s": np.float32(0.1), "z": np.int8(0)}, outputs=[last])
    said = refusal(path)
    assert said.count("QuantizeLinear is not supported") + said.count("DequantizeLinear is not") <= 12
    assert "and at 17 other places: QuantizeLinear is not supported; export the float model" in said


def test_operations_of_other_sets_are_named_with_theirs(tmp_path: Path) -> None:
    fused = node("FusedConv", "x w", domain="com.microsoft")
    said = refusal(save(tmp_path / "m.onnx", [fused], ("N", 1, 4), {"w": weights(1, 1, 2)}, extra=["com.microsoft"]))
    assert "com.microsoft.FusedConv is not supported; export it without ONNX Runtime's optimisation" in said
