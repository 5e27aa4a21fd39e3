"""An exported ONNX file against the interpreter, in ONNX Runtime, with its optimiser on and off."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from levsha.interpret import interpret
from levsha.ir import Graph

ROWS = 256  # of one call


def has_runtime() -> bool:
    """Say whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def count_mismatches(path: Path, graph: Graph, inputs: Mapping[str, np.ndarray]) -> int:
    """Return how many rows differ in any output from the interpreter, with the optimiser on or off.

    inputs: integers (N, *shape) of every input. ONNX Runtime must be installed.
    """
    import onnxruntime as ort

    levels = (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    count = len(next(iter(inputs.values())))
    wrong_N = np.zeros(count, bool)
    sessions = []
    for level in levels:
        options = ort.SessionOptions()
        options.graph_optimization_level, options.intra_op_num_threads = level, 1
        options.log_severity_level = 3
        sessions.append(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    for start in range(0, count, ROWS):
        part = {name: x[start : start + ROWS] for name, x in inputs.items()}
        want = interpret(graph, part)
        for session in sessions:
            fed = {put.name: part[put.name].astype(graph.values[put.name].dtype) for put in session.get_inputs()}
            for put, got in zip(session.get_outputs(), session.run(None, fed), strict=True):
                differs = (got != want[put.name]).reshape(len(got), -1).any(1)
                wrong_N[start : start + ROWS] |= differs
    return int(wrong_N.sum())
