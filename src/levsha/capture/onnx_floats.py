"""What ONNX Runtime computes with an ONNX file as it is: the floats that prove an import; legend: N examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from levsha.capture.onnx_file import load_onnx, outputs_of, source_of
from levsha.errors import LevshaError

if TYPE_CHECKING:
    from onnx import ModelProto

OLDEST = 7
Run = Callable[[np.ndarray], np.ndarray]


def float_outputs(path: Path, x: np.ndarray) -> np.ndarray:
    """Return what ONNX Runtime makes of x (N, ...): the first output that `read_onnx` returns, (N, ...).

    x has the axes of the file's input, N in the place of its batch, or one more where the file has no batch; a first axis of 1 is left out of the
    result then. All rows go at once where that gives what each row gives alone, else in parts of the file's batch. Raises LevshaError where the file is none, cannot be run, or x does not fit it.
    """
    model = _runnable(path, load_onnx(path))
    source, name = source_of(path, model), outputs_of(path, model)[0]
    bare = x.ndim == len(source.shape) + 1
    expected = source.shape if bare else source.shape[1:]
    if x.shape[1:] != expected:
        raise LevshaError(f"{path}: takes rows of {list(expected)}, not of {list(x.shape[1:])}.")
    if name not in [value.name for value in model.graph.output]:
        del model.graph.output[:]
        model.graph.output.add().name = name
    run = _session(path, model.SerializeToString(), source.name, name)
    x = x.astype(source.dtype)
    if bare:
        found = [run(row) for row in x]
        return np.stack([y[0] if y.shape[:1] == (1,) else y for y in found])
    whole = None if source.fixed else _at_once(run, x)
    return _in_parts(run, x, source.shape[0]) if whole is None else whole


def _runnable(path: Path, model: ModelProto) -> ModelProto:
    """The model with operations that ONNX Runtime has, those from version 7 of the standard set on; for one row, where it had to be changed."""
    from onnx import shape_inference, version_converter

    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OLDEST)
    if version >= OLDEST:
        return model
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants and value.type.tensor_type.shape.dim:
            first = value.type.tensor_type.shape.dim[0]
            first.dim_value = first.dim_value or 1
    try:
        return version_converter.convert_version(shape_inference.infer_shapes(model), OLDEST)
    except Exception as error:
        raise LevshaError(
            f"{path}: is of ONNX's opset {version}, which cannot be brought to {OLDEST} ({_line(error)}); export it anew."
        ) from error


def _session(path: Path, model: bytes, source: str, output: str) -> Run:
    """What computes an output of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise LevshaError(f"{path}: ONNX Runtime cannot run it ({_line(error)}).") from error

    def run(x: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(session.run([output], {source: x})[0])
        except Exception as error:
            raise LevshaError(f"{path}: ONNX Runtime cannot run it ({_line(error)}).") from error

    return run


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


def _at_once(run: Run, x: np.ndarray) -> np.ndarray | None:
    """All rows; None where the model says 1 for its batch somewhere, so that it fails or gives other numbers for several."""
    first = run(x[:1])
    try:
        whole = run(x)
    except LevshaError:
        return None
    same = whole.shape == (len(x), *first.shape[1:]) and first.shape[:1] == (1,)
    return whole if same and np.allclose(whole[:1], first, rtol=1e-3, atol=1e-4, equal_nan=True) else None


def _in_parts(run: Run, x: np.ndarray, size: int) -> np.ndarray:
    """Rows in parts of a size, the last one filled up with its last row."""
    parts = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        found = run(np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]))
        parts.append(found[: len(rows)] if found.shape[:1] == (size,) else found[None])
    return np.concatenate(parts)
