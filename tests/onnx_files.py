"""ONNX files for the tests: graphs of a few nodes, and what an import makes of them beside what ONNX Runtime does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import helper, numpy_helper

from levsha.capture import Program, run_calls
from levsha.capture.onnx_floats import float_outputs
from levsha.capture.onnx_read import read_onnx


def save(
    path: Path, nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str | None], constants: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",), opset: int = 18, dtype: int = onnx.TensorProto.FLOAT, out_type: int = onnx.TensorProto.FLOAT,
    extra: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write a model of nodes over the input x; extra: opsets of other domains."""
    values = [helper.make_tensor_value_info("x", dtype, list(shape))]
    outs = [helper.make_tensor_value_info(name, out_type, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()]
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in extra)]
    graph = helper.make_graph(list(nodes), "net", values, outs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    return path


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node whose inputs and outputs are words; `-` is one that is left out."""
    name = attributes.pop("name", "")
    return helper.make_node(
        op,
        [w.replace("-", "") for w in inputs.split()],
        [w.replace("-", "") for w in outputs.split()],
        name=name,
        **attributes,
    )


def compute(program: Program, x: np.ndarray) -> np.ndarray:
    """The first output of a program for rows x (N, ...)."""
    (name,) = program.inputs
    return run_calls(program, {name: torch.from_numpy(np.ascontiguousarray(x))})[program.outputs[0]].numpy()


def check(path: Path, rows: int = 3, seed: int = 0, low: float = -2.0, high: float = 2.0) -> Program:
    """Read a file and assert that its calls equal ONNX Runtime on it, for random rows."""
    program = read_onnx(path)
    (shape,) = program.inputs.values()
    x = np.random.default_rng(seed).uniform(low, high, (rows, *shape)).astype(np.float32)
    expected = float_outputs(path, x)
    y = compute(program, x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    return program


def check_moves(program: Program, x: np.ndarray) -> None:
    """Assert that every rearrange, run on places instead of numbers, says where each element comes from."""
    (name,) = program.inputs
    known = run_calls(program, {name: torch.from_numpy(np.ascontiguousarray(x))})
    for call in program.calls:
        if call.kind == "rearrange":
            source = known[call.inputs[0]].reshape(len(x), -1)
            places = torch.arange(source.shape[1]).reshape(1, *known[call.inputs[0]].shape[1:])
            moved = call.attributes["move"](places, -1).reshape(-1)
            padded = torch.cat([source, torch.full((len(x), 1), call.attributes["fill"], dtype=source.dtype)], 1)
            expected = known[call.output].reshape(len(x), -1)
            assert moved.dtype == torch.int64
            assert torch.equal(padded[:, moved], expected), call
