"""A net as a library in this process: rows of integers in, rows of integers out."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from levsha.ir import Graph
from levsha.targets.native.compiler import loaded
from levsha.targets.native.instructions import INSTRUCTIONS
from levsha.targets.native.text import OWN, WIDE, library_text

COPIED = 1 << 16  # bytes of an input up to which a copy costs less than asking for its address


class Library:
    """The compiled functions of a graph; many threads may call them at once."""

    def __init__(self, graph: Graph, instructions: str, library: ctypes.CDLL, prefix: str = "net") -> None:
        """Take a graph's function from a library that holds it under a prefix."""
        self.instructions = instructions
        self._rows = getattr(library, f"{prefix}_rows")
        self._rows.argtypes = [
            ctypes.c_int64,
            *([ctypes.c_void_p, ctypes.c_int32] * len(graph.inputs)),
            *([ctypes.c_void_p] * len(graph.outputs)),
        ]
        self._rows.restype = ctypes.c_int64
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
        taken = [part for name, shape, dtype in self._inputs if (part := self._taken(inputs.get(name), shape, dtype))]
        rows = {len(x) for x, _ in taken}
        if len(rows) != 1 or not len(taken) == len(self._inputs) == len(inputs):
            return None
        (count,) = rows
        found = {name: np.empty((count, *shape), np.int64) for name, shape in self._outputs}
        if threads == 1 or count < 2:
            return None if self._run(taken, list(found.values())) else found
        cuts = [count * k // threads for k in range(threads + 1)]
        parts = [slice(start, end) for start, end in pairwise(cuts) if end > start]
        with ThreadPoolExecutor(len(parts)) as pool:
            bad = pool.map(
                lambda part: self._run([(x[part], kind) for x, kind in taken], [y[part] for y in found.values()]), parts
            )
            return None if any(bad) else found

    @staticmethod
    def _taken(x: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, int] | None:
        """An input as it can be passed, and how it lies."""
        if x is None or x.shape[1:] != shape or not len(x):
            return None
        if x.dtype == dtype:
            return (x, OWN)
        return (x.astype(np.int64, copy=False), WIDE) if x.dtype.kind in "iu" and x.dtype != np.uint64 else None

    def _run(self, taken: list[tuple[np.ndarray, int]], found: list[np.ndarray]) -> int:
        arguments: list[object] = [len(found[0])]
        for x, kind in taken:
            small = x.nbytes <= COPIED
            arguments += [x.tobytes() if small else np.ascontiguousarray(x).ctypes.data_as(ctypes.c_void_p), kind]
        arguments += [ctypes.byref(ctypes.c_char.from_buffer(y.data)) for y in found]
        return self._rows(*arguments)
