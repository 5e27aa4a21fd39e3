"""An ONNX file as it stands on the disk: is it whole, what goes in, what comes out, and what ONNX Runtime makes of it; legend: N examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from levsha.capture.foreign import refuse_foreign
from levsha.errors import LevshaError, warn

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

FLOATS = {1: np.float32, 10: np.float16, 11: np.float64, 16: np.float32}
INTEGERS = {2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 12: np.uint32, 13: np.uint64}
FIX = "python -m onnxruntime.tools.make_dynamic_shape_fixed"


@dataclass(frozen=True)
class Source:
    """The one input of a file.

    shape: of the file's tensor; its first axis is the batch, 1 where the file leaves it open. fixed: the file does not. dtype: of its
    numbers.
    """

    name: str
    shape: tuple[int, ...]
    fixed: bool
    dtype: Any

    @property
    def whole(self) -> bool:
        """Whether its numbers are integers."""
        return self.dtype not in FLOATS.values()

    @property
    def bare(self) -> bool:
        """Whether it cannot have a batch: it is one number, or a row of them."""
        return not self.shape or (len(self.shape) == 1 and self.fixed)


def need_onnx() -> None:
    """Raise LevshaError where the packages that read ONNX files are missing."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        found = f"the package {error.name} is missing" if error.name else str(error)
        raise LevshaError(f"ONNX files: {found}; to install what reads them: pip install 'levsha[onnx]'.") from error
    assert onnx


def load_onnx(path: Path) -> ModelProto:
    """Return the model of a file with its external data and functions put into it.

    Raises LevshaError where it is missing, of another kind, damaged or newer than the package onnx.
    """
    if not path.exists():
        raise LevshaError(f"{path}: no such file.")
    refuse_foreign(path)
    need_onnx()
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise LevshaError(
            f"{path}: is no ONNX file, or a damaged one ({_line(error)}); export or copy it again."
        ) from error
    if not model.ir_version or not model.graph.output:
        raise LevshaError(f"{path}: is no ONNX file, or only the start of one; export or copy it again.")
    if model.ir_version > onnx.IR_VERSION:
        raise LevshaError(
            f"{path}: is of ONNX's version {model.ir_version}, the package here reads up to {onnx.IR_VERSION}; pip install -U onnx."
        )
    try:
        onnx.load_external_data_for_model(model, str(path.resolve().parent))
    except Exception as error:
        raise LevshaError(
            f"{path}: its weights lie in another file that cannot be read ({_line(error)}); put that file next to it."
        ) from error
    try:
        onnx.checker.check_model(_with_shapes(model))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise LevshaError(f"{path}: is no valid ONNX model ({_line(error)}); export it again.") from error
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _with_shapes(model: ModelProto) -> ModelProto:
    """The model without tensors of no shape, which ONNX's checker does not allow and everybody writes."""
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return copy


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def constants_of(path: Path, graph: GraphProto) -> dict[str, np.ndarray]:
    """Return the constants of a graph by name; raises LevshaError where one is damaged."""
    from onnx import numpy_helper

    found = {}
    for tensor in graph.initializer:
        try:
            found[tensor.name] = numpy_helper.to_array(tensor)
        except Exception as error:
            what = f'its constant "{tensor.name}" is damaged ({type(error).__name__}: {_line(error)})'
            raise LevshaError(f"{path}: {what}; export or copy it again.") from error
    return found


def source_of(path: Path, model: ModelProto) -> Source:
    """Return the one input of a model; raises LevshaError where there are none or several, or its sizes are open."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found = [value for value in model.graph.input if value.name not in constants]
    if len(found) != 1:
        names = ", ".join(f'"{value.name}"' for value in found) or "none"
        raise LevshaError(
            f"{path}: has {len(found)} inputs ({names}); exactly one is allowed: join them before the model."
        )
    value = found[0]
    kind = value.type.tensor_type.elem_type
    dtype = FLOATS.get(kind) or INTEGERS.get(kind)
    if not value.type.HasField("tensor_type") or dtype is None:
        raise LevshaError(f'{path}: its input "{value.name}" is no tensor of numbers; export one of floats.')
    return _sized(path, value, dtype)


def _sized(path: Path, value: ValueInfoProto, dtype: Any) -> Source:
    """The input with its sizes, all known but the batch's."""
    fixed = f"{path.stem}-fixed.onnx"
    if not value.type.tensor_type.HasField("shape"):
        ask = f"{FIX} --input_name {value.name} --input_shape 1,... {path} {fixed}"
        raise LevshaError(f'{path}: its input "{value.name}" has no shape; say it: {ask}')
    dims = list(value.type.tensor_type.shape.dim)
    sizes = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]
    open_axes = [axis for axis, size in enumerate(sizes) if size is None and axis > 0]
    if open_axes:
        said = ", ".join(f"axis {axis} ({dims[axis].dim_param or 'no name'})" for axis in open_axes)
        asked = ",".join(str(size or ("1" if axis == 0 else "SIZE")) for axis, size in enumerate(sizes))
        raise LevshaError(
            f'{path}: its input "{value.name}" has sizes that are open: {said}; only the batch, axis 0, may be. '
            f"Say them: {FIX} --input_name {value.name} --input_shape {asked} {path} {fixed}"
        )
    shape = tuple(size or 1 for size in sizes)
    return Source(value.name, shape, bool(sizes) and sizes[0] is not None, dtype)


def outputs_of(path: Path, model: ModelProto, tell: bool = False) -> tuple[str, ...]:
    """Return the names of the outputs that are computed: those of floats, and what goes into ai.onnx.ml's ZipMap; else those of integers.

    tell: warn of those that are left out, such as the labels beside a classifier's probabilities.
    """
    made_by = {name: node for node in model.graph.node for name in node.output}
    floats, integers, others = [], [], []
    for value in model.graph.output:
        node = made_by.get(value.name)
        kind = value.type.tensor_type.elem_type
        if node is not None and node.op_type == "ZipMap":
            floats.append(node.input[0])
        elif value.type.HasField("tensor_type") and (kind in FLOATS or kind == 0):
            floats.append(value.name)
        else:
            (integers if kind in INTEGERS else others).append(value.name)
    left = [*integers, *others] if floats else others
    if not floats and not integers:
        raise LevshaError(f"{path}: none of its outputs is a tensor of numbers; export one of floats.")
    if left and tell:
        names = ", ".join(f'"{name}"' for name in left)
        warn(f"{path.name}: left out of what is computed, being no floats: {names}.")
    return tuple(floats or integers)
