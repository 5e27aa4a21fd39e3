"""A net as a library in this process: rows of numbers in, rows of numbers out."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from levsha.ir import Graph
from levsha.targets.native.compiler import loaded
from levsha.targets.native.instructions import INSTRUCTIONS
from levsha.targets.native.text import OWN, WIDE, library_text

COPIED = 1 << 16  # bytes of an input up to which a copy costs less than asking for its address


class Given(NamedTuple):
    """Rows of an input. kind: how they lie. how: what reals mean, as the library wants it."""

    x: np.ndarray
    kind: int
    how: object = None


class Wanted(NamedTuple):
    """Room for rows of an output. how: what reals mean; None for integers."""

    y: np.ndarray
    how: object = None


class Library:
    """The compiled functions of a graph; many threads may call them at once."""

    def __init__(self, graph: Graph, instructions: str, library: ctypes.CDLL, prefix: str = "net") -> None:
        """Take a graph's function from a library that holds it under a prefix; see library_text for what it is called with."""
        self.instructions = instructions
        self.function = getattr(library, f"{prefix}_rows")
        given, wanted = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p), (ctypes.c_void_p, ctypes.c_void_p)
        self.function.argtypes = [ctypes.c_int64, *given * len(graph.inputs), *wanted * len(graph.outputs)]
        self.function.restype = ctypes.c_int64
        self._inputs = [(name, value.shape, value.dtype) for name, value in graph.inputs.items()]
        self._outputs = [(name, graph.values[name].shape) for name in graph.outputs]

    @classmethod
    def of(cls, graph: Graph, instructions: str) -> Library:
        """Compile a graph, or load what was compiled before; LevshaError where that cannot be done."""
        return cls(graph, instructions, loaded(library_text(graph, INSTRUCTIONS[instructions])))

    def run(self, inputs: Mapping[str, np.ndarray], threads: int = 1) -> dict[str, np.ndarray] | None:
        """Return every output, int64 (N, *shape); None where the inputs are not such integers as the net takes.

        inputs: integers (N, *shape) of every input, of any type. threads: over which the rows are spread.
        """
        taken = [part for name, shape, dtype in self._inputs if (part := _taken(inputs.get(name), shape, dtype))]
        if not len(taken) == len(self._inputs) == len(inputs) or len({len(part.x) for part in taken}) > 1:
            return None
        count = len(taken[0].x)
        found = {name: np.empty((count, *shape), np.int64) for name, shape in self._outputs}
        wanted = [Wanted(y) for y in found.values()]
        if threads == 1 or count < 2:
            return found if self.rows(count, taken, wanted) else None
        cuts = [count * k // threads for k in range(threads + 1)]
        parts = [slice(start, end) for start, end in pairwise(cuts) if end > start]
        with ThreadPoolExecutor(len(parts)) as pool:
            done = pool.map(
                lambda part: self.rows(
                    part.stop - part.start,
                    [one._replace(x=one.x[part]) for one in taken],
                    [one._replace(y=one.y[part]) for one in wanted],
                ),
                parts,
            )
            return found if all(done) else None

    def rows(self, count: int, given: Sequence[Given], wanted: Sequence[Wanted]) -> bool:
        """Run one row or more, inputs and outputs in the graph's order; return whether every number was one that the net takes."""
        arguments: list[object] = [count]
        for x, kind, how in given:
            arguments += (address_of(x), kind, how)
        for y, how in wanted:
            arguments += (room_in(y), how)
        return not self.function(*arguments)


def address_of(x: np.ndarray) -> object:
    """Return numbers to be read as ctypes takes them; for a few bytes a copy costs less than the address."""
    return x.tobytes() if x.nbytes <= COPIED else np.ascontiguousarray(x).ctypes.data_as(ctypes.c_void_p)


def room_in(y: np.ndarray) -> object:
    """Return an array to be written as ctypes takes it."""
    return ctypes.byref(ctypes.c_char.from_buffer(y.data))


def _taken(x: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> Given | None:
    """An input as it can be passed, and how it lies."""
    if x is None or x.shape[1:] != shape or not len(x):
        return None
    if x.dtype == dtype:
        return Given(x, OWN)
    return Given(x.astype(np.int64, copy=False), WIDE) if x.dtype.kind in "iu" and x.dtype != np.uint64 else None
