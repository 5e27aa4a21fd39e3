"""What the table of ONNX operations is written in: values whose batch is known, and nodes that make calls.

Legend: B rows of the file's batch. A tensor of the file has its batch somewhere among its axes, or, of B = 1, none. Our values have
theirs always first and leave it out of shapes; so that a file may move its batch about, as it does around a recurrent layer, a `Value`
remembers where the file has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from levsha.capture.call import MEANINGS, Call, Move


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
    away, or the whole file has none. rows: B. whole: the file has integers here. uncut: what it was before a cast to integers.
    """

    name: str
    shape: tuple[int, ...]
    batch: int | None = 0
    rows: int = 1
    whole: bool = False
    uncut: Value | None = None

    @property
    def view(self) -> tuple[int, ...]:
        """The shape that the file's tensor has, batch included."""
        if self.batch is None:
            return self.shape
        return (*self.shape[: self.batch], self.rows, *self.shape[self.batch :])


Input = Value | np.ndarray | None


@dataclass(eq=False)
class Node:
    """One node of the file while it becomes calls.

    inputs: a Value, a constant, or None where one is left out. outputs: names, empty where left out; read: those that anything reads.
    opset: the version of the set of operations it belongs to. fixed: the file names the size of its batch. calls: what it has become.
    """

    op: str
    place: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Input]
    outputs: Sequence[str]
    read: Sequence[bool]
    fixed: bool = False
    calls: list[Call] = field(default_factory=list)

    def attribute(self, name: str, otherwise: Any = None) -> Any:
        """Return an attribute, or what it is where the node does not say."""
        return self.attributes.get(name, otherwise)

    def input(self, index: int) -> Input:
        """Return an input, None where there is none."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int = 0) -> Value:
        """Return an input that must depend on the model's input."""
        found = self.input(index)
        if not isinstance(found, Value):
            raise UnsupportedError(
                f"{self.op} whose input {index + 1} is a constant", "the model's input must come in there"
            )
        return found

    def real(self, index: int = 0) -> Value:
        """Return an input that must depend on the model's input and not be integers in the file."""
        found = self.value(index)
        if found.whole:
            raise UnsupportedError(f"{self.op} computes with integers", "put a Cast to float before it")
        return found

    def constant(self, index: int, what: str) -> np.ndarray:
        """Return an input that must be known without the model's input."""
        found = self.input(index)
        if not isinstance(found, np.ndarray):
            state = "is left out" if found is None else "depends on the model's input"
            raise UnsupportedError(f"{self.op} whose {what} {state}", "it must be a constant of the file")
        return found

    def maybe(self, index: int, what: str) -> np.ndarray | None:
        """Return an input that may be left out and else must be a constant."""
        return None if self.input(index) is None else self.constant(index, what)

    def option(self, name: str, index: int) -> np.ndarray | None:
        """Return what older files say in an attribute and newer ones in a constant input; None where they do not say."""
        if name in self.attributes:
            return np.asarray(self.attributes[name])
        return self.maybe(index, name)

    def need(self, name: str, allowed: Any, advice: str) -> None:
        """Refuse the node unless an attribute is left out or what is allowed."""
        found = self.attribute(name, allowed)
        if found != allowed:
            raise UnsupportedError(f"{self.op} with {name} = {found}", advice)

    def need_no_output(self, index: int, what: str, advice: str) -> None:
        """Refuse the node where anything reads a further output."""
        if index < len(self.read) and self.read[index]:
            raise UnsupportedError(f"{self.op} whose output of {what} is used", advice)

    def call(
        self, kind: str, *values: Value, arrays: Mapping[str, np.ndarray | None] | None = None, whole: bool = False, **attributes: Any
    ) -> Value:  # fmt: skip
        """Make a call of values; the result has its batch where the first of them has it.  Its shape is found by calculating it."""
        constants = {name: tensor(array) for name, array in (arrays or {}).items() if array is not None}
        name = f"{self.outputs[0]}#{len(self.calls) + 1}"
        call = Call(kind, tuple(v.name for v in values), name, (), attributes, constants, self.place)
        try:
            y = MEANINGS[kind](call, *(torch.zeros(2, *v.shape) for v in values))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UnsupportedError(
                f"{self.op} does not fit its inputs: {reason}", "look whether the file is whole"
            ) from error
        assert len(y) == 2, f"{kind} loses the batch"
        self.calls.append(replace(call, shape=tuple(y.shape[1:])))
        return Value(name, tuple(y.shape[1:]), values[0].batch, values[0].rows, whole)

    def move(self, value: Value, move: Move, batch: int | None, fill: float = 0.0) -> Value:
        """Put elements in other places; batch: where the file has it afterwards."""
        found = self.call("rearrange", value, move=move, fill=fill, whole=value.whole)
        return replace(found, batch=batch)


def tensor(array: np.ndarray) -> Tensor:
    """Return a constant as the floats that calls hold: float64 as it is, anything else as float32."""
    kind = np.float64 if array.dtype == np.float64 else np.float32
    return torch.from_numpy(np.array(array, dtype=kind))


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


Operation = Callable[[Node], Any]
