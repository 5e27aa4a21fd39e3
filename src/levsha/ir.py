"""The integer graph: what every target must compute, bit for bit.  Imports numpy only."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError

SIGIL = "$"  # in C texts: what the net's prefix and an underscore are put in place of
C_TYPES: dict[str, tuple[int, int, str]] = {  # C type: smallest, largest, numpy type; the narrowest first
    "uint8_t": (0, 255, "<u1"),
    "int8_t": (-128, 127, "<i1"),
    "int16_t": (-(1 << 15), (1 << 15) - 1, "<i2"),
    "int32_t": (-(1 << 31), (1 << 31) - 1, "<i4"),
}


@dataclass(frozen=True)
class Value:
    """A tensor of integers with a proven range; its storage type follows from the range, nobody picks it.

    shape: sizes without the batch, channels last. lo, hi: every element lies in lo..hi. total: where known, the sum of
    |element| never exceeds it. step: real units of one integer, for reports, never for arithmetic. ranges: (lo, hi) of each
    channel, where channels mean different things; lo..hi spans them all.
    """

    shape: tuple[int, ...]
    lo: int
    hi: int
    total: int | None = None
    step: float = 1.0
    ranges: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def of_ranges(cls, ranges: Sequence[tuple[int, int]]) -> Value:
        """Return a vector each element of which has a range of its own.

        >>> Value.of_ranges([(0, 9), (-5, 300)]).c_type
        'int16_t'
        """
        lows, highs = zip(*ranges, strict=True)
        return cls((len(lows),), min(lows), max(highs), ranges=tuple(ranges))

    @classmethod
    def of_ends(cls, shape: tuple[int, ...], lows: np.ndarray, highs: np.ndarray, total: int | None = None) -> Value:
        """Return a value of which every element has bounds of its own: its channels have ranges where these differ.

        lows, highs: integers that broadcast against shape; a channel (the last axis) spans those of all its elements.

        >>> Value.of_ends((2, 2), np.array([0, -5]), np.array([9, 300])).ranges, Value.of_ends((2,), np.zeros(2), np.ones(2)).ranges
        (((0, 9), (-5, 300)), None)
        """
        lows, highs = (np.broadcast_to(ends, shape).reshape(-1, shape[-1]).astype(np.int64) for ends in (lows, highs))
        ranges = tuple(zip(lows.min(0).tolist(), highs.max(0).tolist(), strict=True))
        own = ranges if len(set(ranges)) > 1 else None
        return cls(shape, int(lows.min()), int(highs.max()), total, ranges=own)

    @property
    def lows(self) -> np.ndarray:
        """The smallest value of each channel, or one for all: int64, broadcasts against the shape."""
        return np.array(self.lo if self.ranges is None else [lo for lo, _ in self.ranges], np.int64)

    @property
    def highs(self) -> np.ndarray:
        """The largest value of each channel, or one for all: int64, broadcasts against the shape."""
        return np.array(self.hi if self.ranges is None else [hi for _, hi in self.ranges], np.int64)

    @property
    def size(self) -> int:
        """Number of elements of one example."""
        return math.prod(self.shape)

    @property
    def c_type(self) -> str:
        """The narrowest C type that holds lo..hi; LevshaError where 32 bits are not enough.

        >>> Value((3,), 0, 255).c_type, Value((3,), -1, 255).c_type
        ('uint8_t', 'int16_t')
        """
        for name, (smallest, largest, _) in C_TYPES.items():
            if smallest <= self.lo and self.hi <= largest:
                return name
        raise LevshaError(
            f"a value can reach {self.lo}..{self.hi}; the widest type, int32, allows {-(1 << 31)}..{(1 << 31) - 1}."
        )

    @property
    def dtype(self) -> np.dtype:
        """The little-endian numpy type of `c_type`."""
        return np.dtype(C_TYPES[self.c_type][2])

    @property
    def c_place(self) -> str:
        """The C type of an element in the arena, which holds values of any type one after the other.

        >>> Value((3,), 0, 255).c_place, Value((3,), -1, 255).c_place
        ('uint8_t', '$i16')
        """
        return {"int16_t": f"{SIGIL}i16", "int32_t": f"{SIGIL}i32"}.get(self.c_type, self.c_type)


class Constant(NamedTuple):
    """An array that lives in program memory: its C type and its elements."""

    c_type: str
    data: np.ndarray


@dataclass(frozen=True)
class Code:
    """The C of one op: the statements that fill its output, the arrays and the functions they use.

    call: reads and writes values under `c_name`. constants, functions: by name without the prefix; in every text a
    `$` before a name stands for the net's prefix. Functions of one name are equal, and emitted once.
    """

    call: str
    constants: dict[str, Constant] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)


def c_name(value: str) -> str:
    """Return what a graph value is called inside the function that computes it: no keyword ends in an underscore."""
    return f"{value}_"


def c_index(size: int) -> str:
    """Return the C type that counts to `size`: 16 bits where they are enough.

    >>> c_index(65_535), c_index(65_536)
    ('uint16_t', 'uint32_t')
    """
    return "uint16_t" if size <= 0xFFFF else "uint32_t"


def c_long(index: str) -> str:
    """Return what marks the name of a function that counts in `index`, so that the one with 16 bits is another.

    >>> c_long(c_index(9)), c_long(c_index(70_000))
    ('', '_long')
    """
    return "" if index == "uint16_t" else "_long"


@dataclass(frozen=True, kw_only=True, eq=False)
class Op(ABC):
    """One step of a graph: its meaning in numpy, its proven range and its portable C."""

    name: str
    inputs: tuple[str, ...]
    elementwise: ClassVar[bool] = False  # may write over its first input
    learnt: ClassVar[bool] = False  # whether its constants were trained
    later: ClassVar[Mapping[str, Any]] = {}  # fields that came later: kept in files only where they differ from these

    @abstractmethod
    def infer(self, *x: Value) -> Value:
        """Return shape and proven range of the output; raise LevshaError where a sum could overflow."""

    @abstractmethod
    def run(self, *x: np.ndarray) -> np.ndarray:
        """Compute a batch: int64 arrays of shape (N, *shape)."""

    @abstractmethod
    def code(self, out: Value, *x: Value) -> Code:
        """Return the portable C: exact on every target, in any dialect."""

    def macs(self, out: Value, *x: Value) -> int:
        """Return how many weights are multiplied in one run."""
        return 0

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        """Add nodes of plain integers to a model and return the tensor that holds the output; LevshaError where there is no such form."""
        raise LevshaError(f"{self.name} ({type(self).__name__}): has no form in ONNX; export the net to c or json.")

    @classmethod
    @abstractmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        """Yield small graphs that end in this op, for the test matrix."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Ops in order over named inputs, listed from the slowest changing to the fastest.

    Whatever depends only on slow inputs is computed only when they change: see `stages`. outputs: what the caller reads;
    the last op where none is named. Any prefix of a graph is a graph.
    """

    inputs: Mapping[str, Value]
    ops: tuple[Op, ...]
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.ops or not self.inputs:
            raise LevshaError("graph: it has no input or no op; a graph needs at least one of each.")
        object.__setattr__(self, "outputs", self.outputs or (self.ops[-1].name,))
        missing = [name for name in self.outputs if name not in self.values]
        if missing:
            raise LevshaError(f"graph: output {missing[0]!r} is made by no op; there are {', '.join(self.values)}.")

    @cached_property
    def values(self) -> dict[str, Value]:
        """Every value by name, inputs first, with its proven range."""
        known = dict(self.inputs)
        for op in self.ops:
            if op.name in known:
                raise LevshaError(f"graph: two values are called {op.name!r}; names must be unique.")
            unknown = [name for name in op.inputs if name not in known]
            if unknown:
                raise LevshaError(f"{op.name} ({type(op).__name__}): reads {unknown[0]!r}, which no earlier op makes.")
            try:
                known[op.name] = op.infer(*(known[name] for name in op.inputs))
                _ = known[op.name].c_type
            except LevshaError as error:
                raise LevshaError(f"{op.name} ({type(op).__name__}): {error}") from None
        return known

    @cached_property
    def stages(self) -> tuple[tuple[Op, ...], ...]:
        """One tuple of ops per input: the ops whose fastest changing input it is.

        After input k has changed, running stages k, k + 1, ... brings every output up to date.
        """
        stage_of = {name: index for index, name in enumerate(self.inputs)}
        stages: list[list[Op]] = [[] for _ in self.inputs]
        for op in self.ops:
            stage_of[op.name] = max(stage_of[name] for name in op.inputs)
            stages[stage_of[op.name]].append(op)
        return tuple(tuple(ops) for ops in stages)

    def prefix(self, count: int) -> Graph:
        """Return the graph of the first `count` ops, with the last of them as its output."""
        return replace(self, ops=self.ops[:count], outputs=(self.ops[count - 1].name,))


def count_macs(graph: Graph) -> int:
    """Return the multiply-accumulates of one run of a graph."""
    return sum(op.macs(graph.values[op.name], *(graph.values[name] for name in op.inputs)) for op in graph.ops)


def constant_bytes(graph: Graph) -> int:
    """Return the bytes of everything learnt, as the portable C holds it: packed weights, multipliers and biases."""
    return sum(
        c.data.size * np.dtype(C_TYPES[c.c_type][2]).itemsize
        for op in graph.ops
        if op.learnt
        for c in op.code(graph.values[op.name], *(graph.values[name] for name in op.inputs)).constants.values()
    )
