"""ONNX operations that put elements in other places: Reshape, Transpose, Slice, Pad, Gather, Resize, Concat and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from levsha.capture.onnx_layout import axis_of, expand, of_rank, reshape, without_batch
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value


def _integers(found: np.ndarray) -> list[int]:
    return [int(n) for n in found.reshape(-1)]


def _free(node: Node, x: Value, axis: int) -> Value:
    """x, whose batch of one row is an axis like the others where the node works along it."""
    return without_batch(node, x) if axis % max(len(x.view), 1) == x.batch and x.rows == 1 else x


def take(node: Node, x: Value, picks: Mapping[int, Sequence[int]]) -> Value:
    """Elements by their places along axes of the file's tensor; places: by axis."""
    for axis in picks:
        if list(picks[axis]) != list(range(x.view[axis])):
            x = _free(node, x, axis)
    chosen: list[tuple[int, Tensor]] = []
    for axis, places in picks.items():
        if list(places) != list(range(x.view[axis])):
            chosen.append((axis_of(x, axis, node.op) + 1, torch.tensor(list(places), dtype=torch.long)))
    if not chosen:
        return x

    def move(t: Tensor, fill: float) -> Tensor:
        for axis, places in chosen:
            t = t.index_select(axis, places)
        return t

    return node.move(x, move, x.batch)


def to_shape(node: Node) -> Value:
    """Reshape: 0 keeps a size, -1 is what is left."""
    x, found = node.value(0), node.option("shape", 1)
    if found is None:
        raise UnsupportedError("Reshape without a shape", "it must be a constant of the file")
    target = _integers(found)
    if not node.attribute("allowzero", 0):
        target = [x.view[i] if n == 0 and i < len(x.view) else n for i, n in enumerate(target)]
    if -1 in target:
        known = prod(n for n in target if n != -1)
        target[target.index(-1)] = prod(x.view) // known if known else 0
    return reshape(node, x, target)


def flatten(node: Node) -> Value:
    """All axes before one, and all from it on, become one each."""
    x = node.value(0)
    axis = int(node.attribute("axis", 1))
    axis += len(x.view) if axis < 0 else 0
    return reshape(node, x, (prod(x.view[:axis]), prod(x.view[axis:])))


def transpose(node: Node) -> Value:
    """Axes in another order; where only the batch moves, nothing does."""
    x = node.value(0)
    order = [int(n) for n in node.attribute("perm") or reversed(range(len(x.view)))]
    batch = None if x.batch is None else order.index(x.batch)
    own = [axis_of(x, axis, node.op) for axis in order if axis != x.batch]
    if own == sorted(own):
        return replace(x, batch=batch)
    return node.move(x, lambda t, fill: t.permute(0, *(axis + 1 for axis in own)), batch)


def squeeze(node: Node) -> Value:
    """Without axes of 1; of a batch of one row that the file fixes, without it too."""
    x, found = node.value(0), node.option("axes", 1)
    rank = len(x.view)
    if found is None:
        axes = [axis for axis, n in enumerate(x.view) if n == 1 and (node.fixed or axis != x.batch)]
    else:
        axes = [axis % rank for axis in _integers(found)]
    if any(x.view[axis] != 1 for axis in axes):
        raise UnsupportedError(f"Squeeze of axes {axes} of {list(x.view)}", "only axes of 1 can be left out")
    kept = [axis for axis in range(rank) if axis not in axes]
    own = tuple(x.view[axis] for axis in kept if axis != x.batch)
    batch = kept.index(x.batch) if x.batch in kept else None
    if own == x.shape:
        return replace(x, batch=batch)
    return node.move(x, lambda t, fill: t.reshape(len(t), *own), batch)


def unsqueeze(node: Node) -> Value:
    """With further axes of 1; a first one becomes the batch where there was none."""
    x, found = node.value(0), node.option("axes", 1)
    added = _integers(found) if found is not None else []
    rank = len(x.view) + len(added)
    added = [axis % rank for axis in added]
    old = [axis for axis in range(rank) if axis not in added]
    batch = old[x.batch] if x.batch is not None else 0 if 0 in added else None
    view = [1] * rank
    for axis, n in zip(old, x.view, strict=True):
        view[axis] = n
    own = tuple(n for axis, n in enumerate(view) if axis != batch)
    if own == x.shape:
        return replace(x, batch=batch)
    return node.move(x, lambda t, fill: t.reshape(len(t), *own), batch)


def cut(node: Node) -> Value:
    """Slice: elements from a start to an end along some axes, of every so many, backwards too."""
    x = node.value(0)
    starts, ends = node.option("starts", 1), node.option("ends", 2)
    if starts is None or ends is None:
        raise UnsupportedError("Slice without starts or ends", "they must be constants of the file")
    found, steps = node.option("axes", 3), node.option("steps", 4)
    axes = range(len(starts)) if found is None else [axis % len(x.view) for axis in _integers(found)]
    strides = [1] * len(starts) if steps is None else _integers(steps)
    picks = {}
    for axis, start, end, step in zip(axes, _integers(starts), _integers(ends), strides, strict=True):
        picks[axis] = range(x.view[axis])[slice(start, end, step)]
    if any(not len(places) for places in picks.values()):
        raise UnsupportedError("Slice of nothing", "leave it out")
    return take(node, x, picks)


def split(node: Node) -> tuple[Value, ...]:
    """Pieces one behind the other along an axis."""
    x = node.value(0)
    axis = int(node.attribute("axis", 0)) % len(x.view)
    found, size = node.option("split", 1), x.view[axis]
    count = int(node.attribute("num_outputs", len(node.outputs)))
    each = -(-size // count)
    sizes = [max(min(each, size - each * i), 0) for i in range(count)] if found is None else _integers(found)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(take(node, x, {axis: range(a, a + n)}) for a, n in zip(starts, sizes, strict=True))


def gather(node: Node) -> Value:
    """Elements by constant places, or rows of a constant table by a value."""
    axis = int(node.attribute("axis", 0))
    if isinstance(node.input(0), np.ndarray):
        return _embed(node, node.constant(0, "table"), node.value(1), axis)
    x = node.value(0)
    if isinstance(node.input(1), Value):
        raise UnsupportedError("Gather of a value by a value", "the table must be a constant, or the places")
    places = node.constant(1, "places")
    axis %= len(x.view)
    x = _free(node, x, axis)
    own = axis_of(x, axis, "Gather")
    picked = take(node, x, {axis: _integers(places % x.view[axis])})
    shape = (*x.shape[:own], *places.shape, *x.shape[own + 1 :])
    batch = x.batch if x.batch is None or axis > x.batch else x.batch + places.ndim - 1
    if shape == picked.shape:
        return replace(picked, batch=batch)
    return node.move(picked, lambda t, fill: t.reshape(len(t), *shape), batch)


def _embed(node: Node, table: np.ndarray, x: Value, axis: int) -> Value:
    if axis % table.ndim != 0:
        raise UnsupportedError(f"Gather along axis {axis} of a table", "take rows: axis = 0")
    index = x.uncut or x
    whole = not np.issubdtype(table.dtype, np.floating)
    y = node.call("embed", index, arrays={"table": table.reshape(len(table), -1)}, whole=whole)
    shape = (*x.shape, *table.shape[1:])
    y = replace(y, batch=x.batch)
    return y if y.shape == shape else node.move(y, lambda t, fill: t.reshape(len(t), *shape), x.batch)


def expanded(node: Node) -> Value:
    """Axes of 1 repeated to a shape."""
    x, target = node.value(0), _integers(node.constant(1, "shape"))
    x = of_rank(node, x, len(target))
    target = np.broadcast_shapes(x.view, tuple(target))
    if x.batch is not None and target[x.batch] != x.rows:
        x = without_batch(node, x)
    return expand(node, x, [n for axis, n in enumerate(target) if axis != x.batch])


def tile(node: Node) -> Value:
    """Axes repeated as wholes."""
    x = node.value(0)
    picks = {}
    for axis, times in enumerate(_integers(node.constant(1, "repeats"))):
        picks[axis] = list(range(x.view[axis])) * times
    return take(node, x, picks)


def shape(node: Node) -> np.ndarray:
    """The sizes of the file's tensor, constants for one row."""
    view = node.value(0).view
    end = node.attribute("end")
    return np.array(view[slice(node.attribute("start", 0), end)], dtype=np.int64)


def size(node: Node) -> np.ndarray:
    """How many elements the file's tensor has."""
    return np.array(prod(node.value(0).view), dtype=np.int64)


MOVES = {
    "Reshape": to_shape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Slice": cut,
    "Split": split,
    "Gather": gather,
    "Expand": expanded,
    "Tile": tile,
    "Shape": shape,
    "Size": size,
}
