"""A compiled net with what its integers mean: real numbers in, real numbers out, all in one call."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

from levsha.ir import Graph, Value
from levsha.meaning import Layout, Meaning
from levsha.targets.native.compiled import known_of
from levsha.targets.native.library import address_of, room_in
from levsha.targets.native.text import OWN, REALS


class _Real(ctypes.Structure):
    """As the library has it."""

    _fields_ = (("zero", ctypes.c_void_p), ("step", ctypes.c_void_p), ("order", ctypes.c_void_p))


class _Output(NamedTuple):
    """shape: in the model, of reals. how: what they mean; None for integers, which layout, if any, brings into the model's axes."""

    shape: tuple[int, ...]
    how: int | None
    layout: Layout | None
    kind: type
    said: bool


class Reals:
    """A net of one input, called as `Net.__call__` is; it does not say what it cannot take, but returns None."""

    def __init__(self, graph: Graph, meaning: Meaning) -> None:
        """Take a graph, compiled or not yet, and what its integers mean."""
        self._known, self._kept = known_of(graph), list[object]()
        name, value = next(iter(graph.inputs.items()))
        layout = meaning.layouts.get(name)
        self._shape = layout.shape if layout else value.shape
        self.alone = len(graph.inputs) == 1
        real = self.alone and name in meaning.quantities
        self._how = self._real(meaning, name, value, _order(layout, inverse=False)) if real else None
        said = [name for name in graph.outputs if name in meaning.layouts] or graph.outputs
        self._outputs = [self._output(meaning, name, graph.values[name], name in said) for name in graph.outputs]
        self._lifted = len(said) < len(self._outputs) or any(out.layout for out in self._outputs)
        self._dtype, self._stored = value.dtype, value.shape
        self._shapes = {name: graph.values[name].shape for name in graph.outputs}

    def __call__(self, x: Any) -> Any:
        """Return what Net.__call__ returns; None before the net is compiled, and where x is no array of such numbers as it takes."""
        library = self._known.library
        if library is None or self._how is None or type(x) is not np.ndarray:
            return None
        kind, shape = REALS.get(x.dtype), x.shape
        single = shape == self._shape
        if kind is None or not (single or (shape[1:] == self._shape and shape[0])):
            return None
        count = 1 if single else shape[0]
        made = [np.empty((count, *out.shape), out.kind) for out in self._outputs]
        places = [part for y, out in zip(made, self._outputs, strict=True) for part in (room_in(y), out.how)]
        if library.function(count, address_of(x), kind[0], self._how, *places):
            return None
        if self._lifted:
            made = [
                out.layout.lift(y) if out.layout else y for y, out in zip(made, self._outputs, strict=True) if out.said
            ]
        if single:
            made = [y[0] for y in made]
        return made[0] if len(made) == 1 else tuple(made)

    def integers(self, x: Any) -> dict[str, np.ndarray] | None:
        """Return what Net.run returns; None where Net.run has more to do."""
        library = self._known.library
        if library is None or type(x) is not np.ndarray or x.dtype != self._dtype or x.shape[1:] != self._stored:
            return None
        count = len(x)
        found = {name: np.empty((count, *shape), np.int64) for name, shape in self._shapes.items()}
        places = [part for y in found.values() for part in (room_in(y), None)]
        return None if not count or library.function(count, address_of(x), OWN, None, *places) else found

    def _output(self, meaning: Meaning, name: str, value: Value, said: bool) -> _Output:
        layout = meaning.layouts.get(name)
        if name not in meaning.quantities:
            return _Output(value.shape, None, layout, np.int64, said)
        how = self._real(meaning, name, value, _order(layout, inverse=True))
        return _Output(layout.shape if layout else value.shape, how, None, np.float64, said)

    def _real(self, meaning: Meaning, name: str, value: Value, order: np.ndarray | None) -> int:
        """The address of what the library is told of a value, which lives as long as this."""
        zero, step = (np.ascontiguousarray(_spread(part, value), np.float64) for part in meaning.zeros_and_steps(name))
        real = _Real(*(None if part is None else part.ctypes.data for part in (zero, step, order)))
        self._kept += (zero, step, order, real)
        return ctypes.addressof(real)


def _spread(numbers: np.ndarray, value: Value) -> np.ndarray:
    """One number for all, for each channel, or for each element, as one for each element."""
    return np.broadcast_to(numbers.reshape(value.shape) if numbers.size == value.size else numbers, value.shape)


def _order(layout: Layout | None, inverse: bool) -> np.ndarray | None:
    """Where in the model each element of memory is, or inverse; None where they are at the same places."""
    if layout is None:
        return None
    laid = layout.lay(np.arange(np.prod(layout.shape)).reshape(1, *layout.shape)).ravel()
    if (laid == np.arange(len(laid))).all():
        return None
    return np.ascontiguousarray(np.argsort(laid) if inverse else laid, np.int32)
