"""Which groups are computed together row after row, so that of the maps between them only the rows that are still read take memory.

The graph is not changed: streams are a matter of the text and of the arena, as groups are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from levsha.emit.fuse import Group, stages_of_groups
from levsha.ir import Graph, Op, Value
from levsha.ops import MaxPool
from levsha.ops.window import Windowed

Stream = tuple[Group, ...]  # each but the first reads, row by row, what the one before it makes


@dataclass(frozen=True)
class Sweep:
    """How a group that slides a window passes over the rows of its input.

    group: with its windows upright, so that a signal, an image of one row, has a row for each of its moments. For row k of the output the rows
    k * step .. k * step + span - 1 of the padded input are read; before the input's own `height` rows there are `top` of padding.
    rows: of the output. row_size, out_size: elements of a row of the input and of the output.
    """

    group: Group
    step: int
    span: int
    top: int
    height: int
    rows: int
    row_size: int
    out_size: int

    @classmethod
    def of(cls, group: Group, values: Mapping[str, Value]) -> Sweep:
        """Return the sweep of a group that starts with an op that slides a window."""
        first = group[0]
        assert isinstance(first, Windowed)
        if is_signal(first):
            group = tuple(_upright(op) if isinstance(op, Windowed) else op for op in group)
        op, last = group[0], group[-1]
        assert isinstance(op, Windowed)
        step, span, rows = op.strides[0], op.reach[0], op.out_size[0]
        if isinstance(last, MaxPool) and last is not op:
            step, span, rows = step * last.strides[0], span + step * (last.kernel[0] - 1), last.out_size[0]
        height, width, channels = op.shape
        return cls(
            group, step, span, op.pads[0], height, rows, width * channels, values[last.name].size // rows
        )  # fmt: skip

    def of_buffer(self, values: Mapping[str, Value]) -> tuple[Group, Mapping[str, Value]]:
        """Return the group that makes one row from `span` rows of the padded input, which lie together; and values of that shape."""
        op, last = self.group[0], self.group[-1]
        assert isinstance(op, Windowed)
        shape, (_, left, _, right) = (self.span, *op.shape[1:]), op.pads
        group: Group = (replace(op, shape=shape, pads=(0, left, 0, right)), *self.group[1:])
        if isinstance(last, MaxPool) and last is not op:
            group = (*group[:-1], replace(last, shape=(last.kernel[0], *last.shape[1:])))
        return group, {**values, op.inputs[0]: replace(values[op.inputs[0]], shape=shape, total=None)}

    @property
    def padded(self) -> int:
        """Rows of the padded input that are read."""
        return (self.rows - 1) * self.step + self.span

    def made(self, row: int) -> int:
        """Return how many rows of the input have been asked for when row `row` of the output is made."""
        return min(max(row * self.step + self.span - self.top, 0), self.height)


def is_signal(op: Windowed) -> bool:
    """Say whether an op sees an image of one row through windows of one row."""
    return op.shape[0] == op.kernel[0] == 1 and not (op.pads[0] or op.pads[2])


def _upright(op: Windowed) -> Windowed:
    """A signal as an image of one column: the same elements, taps and weights in the same order."""
    (_, width, channels), (_, left, _, right) = op.shape, op.pads
    swapped: dict[str, Any] = {name: getattr(op, name)[::-1] for name in ("kernel", "strides", "dilations")}
    return replace(op, shape=(width, 1, channels), pads=(left, 0, right, 0), **swapped)


def streamable(graph: Graph) -> frozenset[str]:
    """Return the maps that might be held a few rows at a time: one group makes them, one reads them, both slide windows along the same axis."""
    return frozenset(name for groups in stages_of_groups(graph) for name in _joints(groups, graph))


def streams_of(graph: Graph, held: Set[str]) -> tuple[tuple[Stream, ...], ...]:
    """Return one tuple of streams for each input, as `stages_of_groups` has the groups; held: the maps of which a few rows are kept."""
    stages: list[tuple[Stream, ...]] = []
    for groups in stages_of_groups(graph):
        ends: dict[str, Stream] = {}
        for group in groups:
            ends[group[-1].name] = (*ends.pop(name, ()), group) if (name := group[0].inputs[0]) in held else (group,)
        stages.append(tuple(ends.values()))
    return tuple(stages)


def held_bytes(stream: Stream, graph: Graph) -> dict[str, int]:
    """Return the bytes that each map inside a stream takes: the rows that one row of its reader looks at."""
    sweeps = (Sweep.of(group, graph.values) for group in stream[1:])
    return {
        sweep.group[0].inputs[0]: sweep.span * sweep.row_size * graph.values[sweep.group[0].inputs[0]].dtype.itemsize
        for sweep in sweeps
    }


def _joints(groups: tuple[Group, ...], graph: Graph) -> Iterator[str]:
    makers, readers = {group[-1].name: group for group in groups}, dict[str, list[Op]]()
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    for group in groups:
        op, name = group[0], group[0].inputs[0]
        maker = makers.get(name)
        if not isinstance(op, Windowed) or not maker or name in graph.outputs or len(readers[name]) > 1:
            continue
        first, sweep = maker[0], Sweep.of(group, graph.values)
        alike = isinstance(first, Windowed) and is_signal(first) == is_signal(op)
        if alike and op.shape == (1, *graph.values[name].shape)[-3:] and sweep.span < sweep.height:
            yield name
