"""Arithmetic as nodes: with constants it joins a layer or changes what integers stand for, between values it is a node of its own.

Legend: C channels, the last axis in memory.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from levsha.capture.build import Build
from levsha.capture.call import Call
from levsha.capture.view import View
from levsha.lower.node import alike

JOINS = ("linear", "conv", "sum", "affine", "multiply", "add", "layer_norm")  # kinds that end in a factor and an offset


def fold_affine(build: Build, call: Call) -> None:
    """x * factor + offset: into the layer that made x; else nothing is computed, and the integers stand for something else."""
    view = build.view(call.inputs[0])
    factor, offset = (np.broadcast_to(call.arrays[name].double().numpy(), view.shape) for name in ("factor", "offset"))
    fills = (view.fill * factor + offset)[view.index < 0]
    stored = None if len(fills) and (fills != fills[0]).any() else _stored(build, view, factor, offset)
    if stored is None:
        value = build.materialise(call, view)
        view = replace(view, value=value, index=View.whole(value, view.shape).index, sole=True)
        fills, stored = fills[:0], _stored(build, view, factor, offset)
    assert stored is not None
    factor_C, offset_C = stored
    fill = float(fills[0]) if len(fills) else 0.0
    node = build.producer(view)
    channels = build.shapes[view.value][-1]
    per_channel = factor_C.size in (1, channels) and offset_C.size in (1, channels)
    if node is not None and node.kind in JOINS and node.activation is None and (per_channel or node.kind == "affine"):
        first, then, factor_C, offset_C = alike(node.shape, node.factor_O, node.offset_O, factor_C, offset_C)
        build.change(node, factor_O=first * factor_C, offset_O=then * factor_C + offset_C)
        build.views[call.output] = replace(view, fill=fill)
        return
    kind = "alias" if per_channel and factor_C.min() > 0 else "affine"
    new = build.insert(
        build.name(call), kind, [view.value], build.shapes[view.value], call.place, factor_O=factor_C, offset_O=offset_C
    )
    build.views[call.output] = replace(view, value=new.output, fill=fill)


def _stored(build: Build, view: View, factor: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and offset as the value lies in memory: one, one a channel or one an element; None where an element would need two."""
    shape = build.shapes[view.value]
    real = view.index >= 0
    made: list[np.ndarray] = []
    flat = np.empty(0)
    for numbers, nothing in ((factor, 1.0), (offset, 0.0)):
        flat = np.full(math.prod(shape), np.nan)
        flat[view.index[real]] = numbers[real]
        if not (flat[view.index[real]] == numbers[real]).all():
            return None
        made.append(_fewest(flat, shape[-1], nothing))
    both = np.broadcast_arrays(
        *(np.tile(part, len(flat) // part.size) if max(p.size for p in made) == len(flat) else part for part in made)
    )
    return both[0], both[1]


def _fewest(flat: np.ndarray, channels: int, nothing: float) -> np.ndarray:
    """One number where all are equal, else one a channel where that is enough; what nobody reads (NaN) may be anything."""
    known = flat[~np.isnan(flat)]
    if not known.size or (known == known[0]).all():
        return known[:1] if known.size else np.full(1, nothing)
    rows = flat.reshape(-1, channels)
    first_C = np.array([column[~np.isnan(column)][0] if (~np.isnan(column)).any() else nothing for column in rows.T])
    if (np.isnan(rows) | (rows == first_C)).all():
        return first_C
    return np.where(np.isnan(flat), nothing, flat)


def _together(build: Build, call: Call) -> tuple[list[str], tuple[int, ...], np.ndarray]:
    """The values of several views of one shape in one order: their names, the shape in memory, and the index of the result."""
    views = [replace(v, index=np.broadcast_to(v.index, call.shape)) for v in map(build.view, call.inputs)]
    sizes = [math.prod(build.shapes[view.value]) for view in views]
    leader = next((k for k, (view, size) in enumerate(zip(views, sizes, strict=True)) if view.is_whole(size)), None)
    if leader is None:
        order = (1, 2, 0) if len(call.shape) == 3 else tuple(range(len(call.shape)))
        shape = tuple(call.shape[axis] for axis in order)
        index = View.whole("", call.shape, order).index
    else:
        shape, index = build.shapes[views[leader].value], views[leader].index
    places = np.argsort(index.ravel())
    laid = [replace(view, index=view.index.ravel()[places].reshape(shape)) for view in views]
    return [build.materialise(call, view, as_channels=True) for view in laid], shape, index


def fold_add(build: Build, call: Call) -> None:
    """Add the sum of two values."""
    names, shape, index = _together(build, call)
    node = build.add(call, "add", names, shape, None, factors=tuple(call.attributes.get("factors", (1.0, 1.0))))
    build.views[call.output] = View(node.output, index)


def fold_multiply(build: Build, call: Call) -> None:
    """Add the product of two values."""
    names, shape, index = _together(build, call)
    node = build.add(call, "multiply", names, shape, None)
    build.views[call.output] = View(node.output, index)


def fold_concat(build: Build, call: Call) -> None:
    """Add the values one behind the other along an axis; images stay channels-last."""
    views, axis, rank = [build.view(name) for name in call.inputs], call.attributes["axis"], len(call.shape)
    order = tuple(range(rank))
    if rank == 3:
        order = (1, 2, 0)
    elif rank == 2 and (views[0].index.T.ravel() == np.arange(views[0].index.size)).all():
        order = (1, 0)
    laid = [view.laid(order) for view in views]
    shape = tuple(call.shape[k] for k in order)
    leading = shape[: order.index(axis)]
    names = [build.materialise(call, view) for view in laid]
    build.add(call, "concat", names, (*leading, math.prod(shape) // math.prod(leading)), order)
    build.shapes[build.views[call.output].value] = shape
