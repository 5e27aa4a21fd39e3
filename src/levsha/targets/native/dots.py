"""The C of sums of products: several windows at a time, several vectors of outputs at a time, four bytes (or two int16) a step.

Legend: O outputs, R runs of a window (elements that lie together), E elements of a run, L lanes, K elements of a step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import indent

import numpy as np

from levsha.ir import Constant
from levsha.targets.native.vectors import Vectors

MOST_UNROLLED = 192  # products of a window's loops up to which these are written out by the compiler
CHAINS = 4  # sums that depend on nothing of each other: as many as a product takes cycles


@dataclass(frozen=True)
class Reads:
    """What a window reads: `length` elements that lie together, at every step of nested loops. loops: (count, elements apart), outermost first."""

    loops: tuple[tuple[int, int], ...]
    length: int

    @property
    def runs(self) -> int:
        """How many runs of elements there are."""
        return math.prod(count for count, _ in self.loops)

    def joined(self) -> Reads:
        """Return the same without loops over runs that lie one behind the other.

        >>> Reads(((3, 28), (3, 8)), 8).joined()
        Reads(loops=((3, 28),), length=24)
        """
        if self.loops and self.loops[-1][1] == self.length:
            return Reads(self.loops[:-1], self.loops[-1][0] * self.length).joined()
        return self


@dataclass(frozen=True)
class Block:
    """Outputs in the lanes of one vector. start: the first. count: how many lanes are outputs. at: of the first element its windows read."""

    start: int
    count: int
    lanes: int
    at: int = 0


def blocks_of(outputs: int, vectors: Vectors, start: int = 0, at: int = 0) -> list[Block]:
    """Return vectors for so many outputs: wide ones, then the narrowest that holds the rest."""
    found: list[Block] = []
    while outputs:
        lanes = min((n for n in vectors.lanes if n >= outputs), default=max(vectors.lanes))
        count = min(lanes, outputs)
        found.append(Block(start, count, lanes, at))
        start, outputs = start + count, outputs - count
    return found


@dataclass(frozen=True)
class Sums(ABC):
    """How a layer's sums are computed.

    name: of the weights in C. sets: blocks whose sums are made in one pass over a window.
    """

    name: str
    vectors: Vectors
    reads: Reads
    sets: tuple[tuple[Block, ...], ...]

    @abstractmethod
    def constants(self, weight_ORE: np.ndarray) -> dict[str, Constant]:
        """Return the weights as they lie, and what else the sums need."""

    @abstractmethod
    def sums(self, index: int, windows: Sequence[str]) -> str:
        """Return the C that declares s{window}_{block}: the sums of a set, at windows whose first elements are at these expressions."""

    def spread(self, number_O: np.ndarray) -> np.ndarray:
        """Return one number an output as they lie for whole vectors, block after block, 0 where a lane has no output."""
        blocks = [block for blocks in self.sets for block in blocks]
        laid = [
            np.pad(number_O[block.start : block.start + block.count], (0, block.lanes - block.count))
            for block in blocks
        ]
        return np.concatenate(laid)

    def place(self, block: Block) -> str:
        """Return the C of where the numbers of a block begin in what `spread` made."""
        before = [other for blocks in self.sets for other in blocks]
        index = next(k for k, blocks in enumerate(self.sets) if block in blocks)
        return f"{sum(other.lanes for other in before[: before.index(block)])} + set * {_lanes(self.sets[index])}"

    def output(self, block: Block) -> str:
        """Return the C of the number of a block's first output."""
        index = next(k for k, blocks in enumerate(self.sets) if block in blocks)
        return f"{block.start} + set * {self._steps(index)[0]}"

    def each(self, text: Callable[[int], str]) -> str:
        """Return the C of all sets, given that of one by its number: sets that differ only in where they lie are one loop over `set`."""
        parts, first = [], 0
        while first < len(self.sets):
            last = first
            while last + 1 < len(self.sets) and self._alike(first, last + 1):
                last += 1
            head = (
                f"for (int32_t set = 0; set < {last + 1 - first}; ++set) {{"
                if last > first
                else "{\n    enum { set = 0 };"
            )
            parts.append(f"{head}\n{indent(text(first), '    ')}\n}}")
            first = last + 1
        return "\n".join(parts)

    def _steps(self, index: int) -> tuple[int, int]:
        """Outputs and elements from a set to the next."""
        if index + 1 == len(self.sets):
            return 0, 0
        here, there = self.sets[index][0], self.sets[index + 1][0]
        return there.start - here.start, there.at - here.at

    def _alike(self, first: int, other: int) -> bool:
        """Whether a set is that many steps away from the first of a loop, and else the same."""
        outputs, elements = self._steps(first)
        moved = [
            replace(block, start=block.start + (other - first) * outputs, at=block.at + (other - first) * elements)
            for block in self.sets[first]
        ]
        return list(self.sets[other]) == moved


def _lanes(blocks: Sequence[Block]) -> int:
    return sum(block.lanes for block in blocks)


@dataclass(frozen=True)
class Dots(Sums):
    """Sums over several elements a step, the same ones for every output.

    signed: whether bytes that are read have a sign. wide: whether int16 are read. split: steps that go to sums of their own, added in the end.
    """

    signed: bool
    wide: bool
    split: int = 1

    @property
    def unit(self) -> int:
        """Elements of a step."""
        return 2 if self.wide else 4

    @property
    def steps(self) -> int:
        """Steps of a run; what is read beyond it meets weights of 0."""
        return -(-self.reads.length // (self.unit * self.split)) * self.split

    def constants(self, weight_ORE: np.ndarray) -> dict[str, Constant]:
        outputs, runs, length = weight_ORE.shape
        padded = np.zeros((outputs, runs, self.steps * self.unit), np.int64)
        padded[:, :, :length] = weight_ORE
        parts = [
            self._laid(padded, run, step, block)
            for blocks in self.sets
            for run in range(runs)
            for step in range(self.steps)
            for block in blocks
        ]
        found = {
            f"{self.name}_weight": Constant("int16_t" if self.wide else self.vectors.byte_type, np.concatenate(parts))
        }
        if self.offset:
            found[f"{self.name}_start"] = Constant("int32_t", self.spread(-self.offset * weight_ORE.sum((1, 2))))
        return found

    def _laid(self, padded_ORE: np.ndarray, run: int, step: int, block: Block) -> np.ndarray:
        weight_LK = np.zeros((block.lanes, self.unit), np.int64)
        outputs = slice(block.start, block.start + block.count)
        weight_LK[: block.count] = padded_ORE[outputs, run, step * self.unit : (step + 1) * self.unit]
        return self.vectors.arrange(weight_LK)

    @property
    def offset(self) -> int:
        """What is added to every element as it is read."""
        return self.vectors.offset if self.signed and not self.wide else 0

    def sums(self, index: int, windows: Sequence[str]) -> str:
        blocks, loops = self.sets[index], self.reads.loops
        each, run = self.unit * _lanes(blocks), self.reads.runs * self.steps
        first = f"{sum(self.unit * _lanes(other) for other in self.sets[:index]) * run} + set * {each * run}"
        total = self.reads.runs * self.steps * len(windows) * len(blocks)
        unroll = total <= MOST_UNROLLED
        body = self._step(blocks, windows)
        text = loop(
            "j", self.steps // self.split, f"{body}\nw += {each * self.split};\nat += {self.unit * self.split};", unroll
        )
        start = "".join(f" + r{k} * {stride}" for k, (_, stride) in enumerate(loops))
        text = f"int32_t at = {blocks[0].at} + set * {self._steps(index)[1]}{start};\n{text}"
        for k, (count, _) in reversed(list(enumerate(loops))):
            text = loop(f"r{k}", count, text, unroll)
        lines = [
            f"const {self._weight_type} *w = ${self.name}_weight + {first};",
            *self._starts(blocks, len(windows)),
            f"{{\n{indent(text, '    ')}\n}}",
        ]
        for window in range(len(windows)):
            for k in range(len(blocks)):
                lines += [f"s{window}_{k} += s{window}_{k}_{t};" for t in range(1, self.split)]
        return "\n".join(lines)

    @property
    def _weight_type(self) -> str:
        return "int16_t" if self.wide else self.vectors.byte_type

    def _starts(self, blocks: Sequence[Block], windows: int) -> list[str]:
        lines = []
        for k, block in enumerate(blocks):
            zero = f"$fill_{block.lanes}(0)"
            start = f"$load_{block.lanes}(${self.name}_start + {self.place(block)})" if self.offset else zero
            for window in range(windows):
                lines += [
                    f"$v{block.lanes} s{window}_{k}{f'_{t}' if t else ''} = {zero if t else start};"
                    for t in range(self.split)
                ]
        return lines

    def _step(self, blocks: Sequence[Block], windows: Sequence[str]) -> str:
        kind = "p" if self.wide else "b"
        read = "$pairs" if self.wide else "$bytes_s" if self.signed else "$bytes_u"
        lines = []
        for t in range(self.split):
            at = t * self.unit * _lanes(blocks)
            for k, block in enumerate(blocks):
                lines.append(f"const $w{kind}{block.lanes} w{k}_{t} = $weights_{kind}_{block.lanes}(w + {at});")
                at += self.unit * block.lanes
            for window, place in enumerate(windows):
                for lanes in sorted({block.lanes for block in blocks}):
                    lines.append(
                        f"const ${kind}{lanes} x{window}_{lanes}_{t} = {read}_{lanes}({place} + at + {t * self.unit});"
                    )
                for k, block in enumerate(blocks):
                    name = f"s{window}_{k}{f'_{t}' if t else ''}"
                    lines.append(f"{name} = $dot_{kind}_{block.lanes}({name}, x{window}_{block.lanes}_{t}, w{k}_{t});")
        return "\n".join(lines)


def loop(counter: str, count: int, body: str, unroll: bool) -> str:
    """Return a C loop; unroll: all of its turns are written out by the compiler."""
    if count == 1:
        return f"{{\n    const int32_t {counter} = 0;\n    (void){counter};\n{indent(body, '    ')}\n}}"
    pragma = f"#pragma GCC unroll {count}\n" if unroll else ""
    return f"{pragma}for (int32_t {counter} = 0; {counter} < {count}; ++{counter}) {{\n{indent(body, '    ')}\n}}"
