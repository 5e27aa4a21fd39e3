"""Values of an ONNX file while it is read: where their batch is, and how they come from one another.

Legend: B rows of the file's batch. A tensor of the file has its batch somewhere among its axes, or, of B = 1, none. Our values have
theirs always first and leave it out of shapes; so that a file may move its batch about, as it does around a recurrent layer, a `Value`
remembers where the file has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from levsha.capture.call import MEANINGS, Call, Move

MOST_STEPS = 50  # of one function of one element


class UnsupportedError(Exception):
    """A node cannot become calls.  what: the reason, with the operation's name; advice: what to use instead."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor of the file that depends on the input.

    name, shape: as in `Call`, without the batch. batch: the axis of the file's tensor that is the batch; none where B = 1 was squeezed
    away, or the whole file has none. rows: B. whole: the file has integers here. uncut: what it was before a cast to integers. element,
    moved: how it comes from another value, where it does so element by element, or by its elements being moved.
    """

    name: str
    shape: tuple[int, ...]
    batch: int | None = 0
    rows: int = 1
    whole: bool = False
    uncut: Value | None = None
    element: Element | None = None
    moved: Moved | None = None

    @property
    def view(self) -> tuple[int, ...]:
        """The shape that the file's tensor has, batch included."""
        if self.batch is None:
            return self.shape
        return (*self.shape[: self.batch], self.rows, *self.shape[self.batch :])


class Element(NamedTuple):
    """A value each element of which is a function of one element of another, the base.

    text: that function of x, for reports. bent: it is no straight line. size: how many steps it has.
    """

    base: Value
    function: Callable[[Tensor], Tensor]
    text: str
    bent: bool = True
    size: int = 1


class Moved(NamedTuple):
    """A value whose elements are those of another, the source, in other places; fill: what is added between, None for nothing."""

    source: Value
    move: Move
    fill: float | None

    def places(self) -> Tensor:
        """Return which element of the source, counted through, comes where, (1, ...); -1 where something is added."""
        shape = self.source.shape
        return self.move(torch.arange(prod(shape)).reshape(1, *shape), -1)


def element_of(value: Value) -> Element:
    """Return how a value comes from its base, itself where it is nobody's function."""
    return value.element or Element(value, lambda t: t, "x", False, 0)


def followed(call: Call, value: Value) -> Element | None:
    """What a call makes of one value element by element, as a function of that value's base; None where it does something else."""
    uniform = call.kind == "affine" and all(array.numel() == 1 for array in call.arrays.values())
    if not uniform and call.kind not in ("function", "clip"):
        return None
    base, before, text, bent, size = element_of(value)
    if size >= MOST_STEPS:
        return None
    # One number is the same for each element, whatever its axes.
    alone = replace(call, arrays={name: array.reshape(()) for name, array in call.arrays.items()})
    a = call.attributes
    if call.kind == "function":
        text = f"{a['name']}({text})"
    elif call.kind == "clip":
        text = f"relu({text})" if (a["lo"], a["hi"]) == (0.0, inf) else f"clip({text}, {a['lo']:g}, {a['hi']:g})"
    else:
        factor, offset = (alone.arrays[name].item() for name in ("factor", "offset"))
        text = f"({text} * {factor:g} + {offset:g})"
    return Element(base, lambda t: MEANINGS[call.kind](alone, before(t)), text, bent or not uniform, size + 1)


def moved_twice(value: Value, last: Moved) -> Moved:
    """A move after the one that made a value, as one; the move alone where they fill with different numbers."""
    before = value.moved
    if before is None or (before.fill is not None and last.fill is not None and before.fill != last.fill):
        return last
    fill = last.fill if before.fill is None else before.fill
    return Moved(before.source, lambda t, f: last.move(before.move(t, f), f), fill)


def moved_alike(values: Sequence[Value]) -> Moved | None:
    """Return how all of the values were moved, where that was in one way which loses, doubles and adds nothing, else None."""
    first = values[0].moved
    if first is None or any(v.moved is None or not torch.equal(v.moved.places(), first.places()) for v in values):
        return None
    places = first.places().flatten()
    whole = len(places) == prod(first.source.shape) and torch.equal(places.sort().values, torch.arange(len(places)))
    return first if whole else None


def before_move(array: np.ndarray, shape: Sequence[int], moved: Moved) -> np.ndarray:
    """Return a constant that broadcasts against a moved value's shape as one that broadcasts against its source."""
    if array.size == 1:
        return array.reshape(())
    full = np.broadcast_to(array, shape).reshape(-1)
    source = np.empty_like(full)
    source[moved.places().flatten().numpy()] = full
    source = source.reshape(moved.source.shape)
    for axis in range(source.ndim):
        one = source.take([0], axis)
        source = one if (source == one).all() else source
    return source


def tensor(array: np.ndarray) -> Tensor:
    """Return a constant as the floats that calls hold: float64 as it is, anything else as float32."""
    kind = np.float64 if array.dtype == np.float64 else np.float32
    return torch.from_numpy(np.array(array, dtype=kind))
