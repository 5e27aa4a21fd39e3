"""Where the batch of a tensor is while its axes change: reshapes, axes of 1, batches of one row that come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value


def axis_of(value: Value, axis: int, op: str) -> int:
    """Return an axis of the file's tensor as one of the value without its batch; refuse the batch."""
    axis = axis % max(len(value.view), 1)
    if axis == value.batch:
        raise UnsupportedError(f"{op} along the batch (axis {axis})", "each example must be computed by itself")
    return axis - (value.batch is not None and axis > value.batch)


def reshape(node: Node, value: Value, target: Sequence[int]) -> Value:
    """Give the file's tensor another shape; where one row of a batch is left no axis of its own, it has none from there on."""
    batch = _batch_in(node, value, target)
    own = tuple(n for axis, n in enumerate(target) if axis != batch)
    if prod(own) != prod(value.shape):
        raise UnsupportedError(
            f"{node.op} from {list(value.view)} to {list(target)}", "both must have as many elements"
        )
    if own == value.shape:
        return replace(value, batch=batch)
    return node.move(value, lambda t, fill: t.reshape(len(t), *own), batch)


def _batch_in(node: Node, value: Value, target: Sequence[int]) -> int | None:
    """Where the batch is after a reshape."""
    if value.batch is None:
        return 0 if target and target[0] == 1 else None
    before = prod(value.view[: value.batch])
    fits = [j for j, n in enumerate(target) if n == value.rows and prod(target[:j]) == before]
    if value.batch in fits or fits:
        return value.batch if value.batch in fits else fits[0]
    if value.rows == 1:
        return None
    raise UnsupportedError(
        f"{node.op} from {list(value.view)} to {list(target)} mixes the {value.rows} rows of the batch",
        "export the model for a batch of 1, or one of any size",
    )


def with_batch(node: Node, value: Value, axis: int = 0) -> Value:
    """Return the value with its batch on an axis of the file's tensor, where it is there or, of one row, could be."""
    if value.batch == axis:
        return value
    view = value.view
    if value.rows != 1 or axis >= len(view) or view[axis] != 1:
        has = "no batch" if value.batch is None else f"its batch on axis {value.batch}"
        raise UnsupportedError(
            f"{node.op} over a value of shape {list(view)} with {has}", f"the batch must be axis {axis}"
        )
    own = (*view[:axis], *view[axis + 1 :])
    if own == value.shape:
        return replace(value, batch=axis)
    return node.move(value, lambda t, fill: t.reshape(len(t), *own), axis)


def without_batch(node: Node, value: Value) -> Value:
    """Return a value whose batch of one row is an axis like the others."""
    view = value.view
    if value.batch is None:
        return value
    if value.rows != 1:
        raise UnsupportedError(f"{node.op} along the batch", "each example must be computed by itself")
    return node.move(value, lambda t, fill: t.reshape(len(t), *view), None)


def of_rank(node: Node, value: Value, rank: int) -> Value:
    """Return the value with axes of 1 before those of the file's tensor, until it has `rank`."""
    more = rank - len(value.view)
    if more <= 0:
        return value
    own = (*[1] * more, *value.shape)
    # Of one row, all of the new axes are alike: the batch stays the first where it was.
    batch = None if value.batch is None else 0 if value.rows == 1 and value.batch == 0 else value.batch + more
    return node.move(value, lambda t, fill: t.reshape(len(t), *own), batch)


def expand(node: Node, value: Value, shape: Sequence[int]) -> Value:
    """Repeat axes of 1 until the value, without its batch, has a shape."""
    own = tuple(shape)
    if own == value.shape:
        return value
    return node.move(value, lambda t, fill: t.expand(len(t), *own), value.batch)
