"""ONNX operations that add, multiply and compare: with constants they are `affine` and `clip`, between values `add` and `multiply`."""

from __future__ import annotations

from functools import partial

import numpy as np

from levsha.capture.onnx_layout import expand, of_rank, with_batch, without_batch
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value

INF = float("inf")


def affine(node: Node, x: Value, factor: np.ndarray | float, offset: np.ndarray | float) -> Value:
    """y = x * factor + offset, constants that broadcast against the file's tensor (ONNX: multidirectional broadcasting)."""
    factor, offset = np.asarray(factor), np.asarray(offset)
    rank = max(len(x.view), factor.ndim, offset.ndim)
    x = of_rank(node, x, rank)
    if x.batch is not None and any(_along(c, rank, x.batch) != 1 for c in (factor, offset)):
        x = without_batch(node, x)
    factor, offset = (_own(c, rank, x.batch) for c in (factor, offset))
    x = expand(node, x, np.broadcast_shapes(x.shape, factor.shape, offset.shape))
    return node.call("affine", x, arrays={"factor": factor, "offset": offset})


def _along(c: np.ndarray, rank: int, axis: int) -> int:
    """How long a constant is along an axis of a tensor of a rank."""
    axis -= rank - c.ndim
    return c.shape[axis] if axis >= 0 else 1


def _own(c: np.ndarray, rank: int, batch: int | None) -> np.ndarray:
    """A constant without the axis of the batch."""
    if batch is None or batch < rank - c.ndim:
        return c
    return c.squeeze(batch - (rank - c.ndim))


def aligned(node: Node, a: Value, b: Value) -> tuple[Value, Value]:
    """Return two values of one rank with their batches on one axis, so that they broadcast."""
    rank = max(len(a.view), len(b.view))
    a, b = of_rank(node, a, rank), of_rank(node, b, rank)
    if a.batch == b.batch:
        return a, b
    for axis in (a.batch, b.batch):
        if axis is not None:
            try:
                return with_batch(node, a, axis), with_batch(node, b, axis)
            except UnsupportedError:
                continue
    advice = "the batch must be the same axis of both"
    raise UnsupportedError(f"{node.op} of shapes {list(a.view)} and {list(b.view)}", advice)


def pair(node: Node) -> tuple[Value | np.ndarray, Value | np.ndarray]:
    """Return both inputs of an arithmetical node; at least one is a value.  Old files (opset < 7) say from which axis on they broadcast."""
    found = []
    for index in (0, 1):
        x = node.input(index)
        found.append(node.real(index) if isinstance(x, Value) else node.constant(index, f"input {index + 1}"))
    a, b = found
    if node.opset < 7 and node.attribute("broadcast", 0) and "axis" in node.attributes and isinstance(b, np.ndarray):
        rank = len(a.view) if isinstance(a, Value) else a.ndim
        axis = node.attributes["axis"] % rank
        b = b.reshape(b.shape + (1,) * (rank - axis - b.ndim))
    return a, b


def add(node: Node, sign: float = 1.0) -> Value:
    """a + sign b."""
    a, b = pair(node)
    if isinstance(a, Value) and isinstance(b, Value):
        return node.call("add", *aligned(node, a, b), factors=(1.0, sign))
    if isinstance(a, Value):
        assert isinstance(b, np.ndarray)
        return affine(node, a, 1.0, sign * b)
    assert isinstance(b, Value)
    return affine(node, b, sign, a)


def multiply(node: Node) -> Value:
    """a b."""
    a, b = pair(node)
    if isinstance(a, Value) and isinstance(b, Value):
        return node.call("multiply", *aligned(node, a, b))
    if isinstance(a, Value):
        assert isinstance(b, np.ndarray)
        return affine(node, a, b, 0.0)
    assert isinstance(b, Value)
    return affine(node, b, a, 0.0)


def divide(node: Node) -> Value:
    """a / b, where one of them is a constant."""
    a, b = pair(node)
    if isinstance(a, Value) and isinstance(b, Value):
        raise UnsupportedError(
            "Div of two values that depend on the input", "divide by a constant, or multiply by an activation"
        )
    if isinstance(a, Value):
        with np.errstate(divide="ignore"):
            return affine(node, a, 1.0 / np.asarray(b, dtype=np.float64), 0.0)
    assert isinstance(b, Value)
    y = node.call("function", b, name="reciprocal", function=lambda t: 1.0 / t)
    return affine(node, y, a, 0.0)


def _larger(node: Node, a: Value, b: Value | np.ndarray, sign: float) -> Value:
    """sign max(sign a, sign b): a clip where b is one number, else b + sign relu(sign (a - b))."""
    if isinstance(b, np.ndarray) and b.size == 1:
        a = of_rank(node, a, b.ndim)
        lo, hi = (float(b.item()), INF) if sign > 0 else (-INF, float(b.item()))
        return node.call("clip", a, lo=lo, hi=hi)
    if isinstance(b, np.ndarray):
        over = node.call("clip", affine(node, a, sign, -sign * b), lo=0.0, hi=INF)
        return affine(node, over, sign, b)
    a, b = aligned(node, a, b)
    over = node.call("clip", node.call("add", a, b, factors=(sign, -sign)), lo=0.0, hi=INF)
    return node.call("add", over, b, factors=(sign, 1.0))


def extreme(node: Node, sign: float) -> Value | np.ndarray:
    """The largest (sign 1) or smallest (sign -1) of several inputs, element by element."""
    constants = [c for c in node.inputs if isinstance(c, np.ndarray)]
    values = [node.real(i) for i, v in enumerate(node.inputs) if isinstance(v, Value)]
    y = values[0]
    for other in values[1:]:
        y = _larger(node, y, other, sign)
    for c in constants:
        y = _larger(node, y, c, sign)
    return y


def total(node: Node, mean: bool) -> Value:
    """The sum or the mean of several inputs, element by element."""
    share = 1.0 / len(node.inputs) if mean else 1.0
    values = [node.real(i) for i, v in enumerate(node.inputs) if isinstance(v, Value)]
    y, factor = values[0], share
    for other in values[1:]:
        y = node.call("add", *aligned(node, y, other), factors=(factor, share))
        factor = 1.0
    constants = [share * c for c in node.inputs if isinstance(c, np.ndarray)]
    if factor != 1.0 or constants:
        y = affine(node, y, factor, 0.0 if not constants else constants[0])
    for c in constants[1:]:
        y = affine(node, y, 1.0, c)
    return y


def clip(node: Node) -> Value:
    """Between a smallest and a largest number, each of which may be left out."""
    x = node.value(0)
    lo, hi = node.option("min", 1), node.option("max", 2)
    return node.call(
        "clip", x, whole=x.whole, lo=-INF if lo is None else float(lo.item()), hi=INF if hi is None else float(hi.item())
    )  # fmt: skip


ARITHMETIC = {
    "Sum": partial(total, mean=False),
    "Mean": partial(total, mean=True),
    "Clip": clip,
}
