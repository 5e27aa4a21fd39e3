"""One node of an ONNX file while it becomes calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch

from levsha.capture.call import MEANINGS, Call, Move
from levsha.capture.onnx_value import (
    Moved,
    UnsupportedError,
    Value,
    before_move,
    followed,
    moved_alike,
    moved_twice,
    tensor,
)

EACH = ("function", "clip", "affine", "add", "multiply")  # kinds that work element by element

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
        """Make a call of values; the result has its batch where the first of them has it.

        What works element by element does so before a move, so that moves come together and cancel.
        """
        moved = moved_alike(values) if kind in EACH and len({v.shape for v in values}) == 1 else None
        if moved is None:
            return self._called(kind, values, arrays or {}, whole, attributes)
        shape, sources = values[0].shape, [v.moved.source for v in values if v.moved]
        unmoved = {
            name: before_move(array, shape, moved) for name, array in (arrays or {}).items() if array is not None
        }
        return self.move(self._called(kind, sources, unmoved, whole, attributes), moved.move, values[0].batch)

    def _called(
        self, kind: str, values: Sequence[Value], arrays: Mapping[str, np.ndarray | None], whole: bool, attributes: Mapping[str, Any]
    ) -> Value:  # fmt: skip
        """The call itself; its shape is found by calculating it."""
        constants = {name: tensor(array) for name, array in arrays.items() if array is not None}
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
        element = followed(self.calls[-1], values[0])
        return Value(name, tuple(y.shape[1:]), values[0].batch, values[0].rows, whole, element=element)

    def move(self, value: Value, move: Move, batch: int | None, fill: float | None = None) -> Value:
        """Put elements in other places; batch: where the file has it afterwards; fill: what is added between, None for nothing.

        What has been moved before is moved once from where it came from, and what comes back to its place is not moved at all.
        """
        moved = moved_twice(value, Moved(value, move, fill))
        shape = moved.source.shape
        if torch.equal(moved.places(), torch.arange(prod(shape)).reshape(1, *shape)):
            return replace(moved.source, batch=batch)
        given = 0.0 if moved.fill is None else moved.fill
        found = self.call("rearrange", moved.source, move=moved.move, whole=value.whole, fill=given)
        return replace(found, batch=batch, moved=moved)


Operation = Callable[[Node], Any]
