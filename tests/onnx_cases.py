"""ONNX's own tests of single operations, run through the import; `python -m tests.onnx_cases` writes which of them it can read.

Inputs after the first become constants. The first axis of the first is the batch, and where it cannot be, the whole input is one example, as
`read_onnx` decides; around recurrent operations, whose second axis is the batch, stand Transposes. Of an operation with several outputs
of which only the first can be used, the first is compared.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from levsha.capture.onnx_file import outputs_of
from levsha.capture.onnx_ops import OPERATIONS
from levsha.capture.onnx_read import read_onnx
from levsha.errors import LevshaError
from tests.onnx_files import check_moves, compute

GOLDEN = Path(__file__).parent / "golden" / "onnx_cases.txt"
ROUNDED = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-4}  # its numbers are written with four digits


class Case(NamedTuple):
    """name, file to read, rows of its first input, what each output should be."""

    name: str
    model: onnx.ModelProto
    x: np.ndarray
    expected: dict[str, np.ndarray]


def cases() -> list[Case]:
    """All cases of operations that the import knows, whose inputs and outputs are arrays of numbers."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        if case.model is None or case.data_sets is None:
            continue
        graph = case.model.graph
        ops = {f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in graph.node}
        ins, outs = ([_array(a) for a in side] for side in case.data_sets[0])
        whole = all(a is not None and a.size and a.dtype.kind in "fiuV" for a in [*ins, *outs])
        if ops & set(OPERATIONS) and ins and whole and len(ins) == len(graph.input):
            found.append(_prepared(case.name, case.model, ins, outs))
    return found


def _array(given: Any) -> np.ndarray | None:
    if isinstance(given, onnx.TensorProto):
        return numpy_helper.to_array(given)
    return np.asarray(given) if isinstance(given, np.ndarray | np.generic) else None


def _prepared(name: str, model: onnx.ModelProto, ins: list[Any], outs: list[Any]) -> Case:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for value, array in list(zip(graph.input, ins, strict=True))[1:]:
        graph.initializer.append(numpy_helper.from_array(array, value.name))
    first = graph.input[0].name
    kind = graph.input[0].type.tensor_type.elem_type
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(first, kind, ins[0].shape))
    expected = {value.name: array for value, array in zip(graph.output, outs, strict=True)}
    op = graph.node[0].op_type
    if op == "LSTM" and len(graph.node[0].output) > 2 and graph.output[-1].name == graph.node[0].output[2]:
        del graph.output[-1]
    if op in ("GRU", "LSTM") and not any(a.name == "layout" and a.i for a in graph.node[0].attribute):
        return Case(name, *_turned(copy, ins[0], expected))
    if op in ("LayerNormalization", "MaxPool", "Dropout") and len(graph.node) == 1:
        del graph.output[1:]
    return Case(name, copy, ins[0], expected)


def _turned(
    model: onnx.ModelProto, x: np.ndarray, expected: dict[str, np.ndarray]
) -> tuple[onnx.ModelProto, np.ndarray, dict[str, np.ndarray]]:
    """A recurrent node between Transposes, so that the batch is first."""
    graph, inner = model.graph, model.graph.node[0]
    x = x.transpose(1, 0, 2)
    name = graph.input[0].name
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, x.shape))
    graph.node.insert(0, helper.make_node("Transpose", ["rows"], [name], perm=[1, 0, 2]))
    new = {}
    for output in list(graph.output):
        order = [2, 0, 1, 3] if expected[output.name].ndim == 4 else [1, 0, 2]
        assert output.name in inner.output
        graph.node.append(helper.make_node("Transpose", [output.name], [f"{output.name}_first"], perm=order))
        new[f"{output.name}_first"] = expected[output.name].transpose(order)
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, a.shape) for name, a in new.items())
    return model, x, new


def run(case: Case, folder: Path) -> str:
    """Import a case: empty where it equals what is expected, else why it was refused; asserts in between."""
    path = folder / "case.onnx"
    onnx.save(case.model, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = read_onnx(path)
        except LevshaError as error:
            return str(error)
    (shape,) = program.inputs.values()
    bare = shape == case.x.shape
    x = case.x[None] if bare else case.x
    x = x.astype(np.float32)
    check_moves(program, x)
    names = outputs_of(path, case.model)
    for name, value in zip(names, program.outputs, strict=True):
        expected = case.expected[name].astype(np.float64)
        y = compute(replace(program, outputs=(value,)), x)
        y = y[0] if bare else y
        # One row of a batch may stand before the rest, or not.
        assert [n for n in y.shape if n != 1] == [n for n in expected.shape if n != 1], case.name
        close = 2e-3 if case.expected[name].dtype.itemsize < 4 and expected.dtype.kind == "f" else 1e-5
        close = ROUNDED.get(case.name, close)
        np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=close, atol=close, err_msg=case.name)
    return ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        GOLDEN.write_text("".join(f"{case.name}\n" for case in cases() if not run(case, Path(place))))
