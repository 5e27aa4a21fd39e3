"""Where each value lives in RAM: one arena of bytes, shared wherever lifetimes allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from levsha.emit.overlap import lead_of
from levsha.emit.stream import Stream, held_bytes, streamable, streams_of
from levsha.ir import Graph, Value

Span = tuple[int, int]  # first byte, end


@dataclass(frozen=True)
class Plan:
    """offset: value name -> first byte in the arena, a multiple of its element's size.  size: bytes of the arena.

    bytes_of: what each value takes there. held: the maps of which a few rows are kept at a time.
    """

    offset: dict[str, int]
    size: int
    bytes_of: dict[str, int]
    held: frozenset[str] = frozenset()


@lru_cache(maxsize=32)
def plan_memory(graph: Graph, slack: int = 0) -> Plan:
    """Place the output of every group of ops, and choose the maps that are held a few rows at a time: those that make the arena smaller.

    Whether one does depends on the others, since what is streamed together is alive together. So maps are taken in and left out, one
    by one, as long as that saves bytes, or as none are lost by leaving one out; from all of them on, and from none on.
    slack: bytes of nobody's behind every value (see Dialect); all maps are whole then, and none lies over another that is alive, or off
    a multiple of these bytes.
    """
    if slack:
        return _plan(
            lives := Lives.of(graph, frozenset()), _placed(lives, lambda _: True, lambda old, new: False, slack)
        )
    every = streamable(graph)
    plans = [_improved(graph, every, held) for held in {every, frozenset[str]()}]
    return min(plans, key=_worth)


def _improved(graph: Graph, every: frozenset[str], held: frozenset[str]) -> Plan:
    plan, better = _best(graph, held), True
    while better:
        better = False
        for name in sorted(every):
            other = _best(graph, plan.held ^ {name})
            if _worth(other) < _worth(plan):
                plan, better = other, True
    return plan


def _worth(plan: Plan) -> tuple[int, int]:
    return plan.size, len(plan.held)


def _best(graph: Graph, held: frozenset[str]) -> Plan:
    """Place values in a pool for each C type, or all types mixed, whichever takes less.

    Pools come first among equals: sums then start at one address and activations at another in every layer, and a
    compiler can make constants of them. A value is alive from the stream that makes it to the last stream that reads it; for
    good if the caller reads it, or if a later stage does, because that stage may run again. What lies inside a group
    has no place; a stream of several ops may write over what it has read, see `lead_of`.
    """
    lives = Lives.of(graph, held)
    plans = [_in_pools(lives)]
    plans.append(_placed(lives, lambda _: True, lambda old, new: old.dtype.itemsize >= new.dtype.itemsize))
    if any(sum(map(len, stream)) > 1 for stream in lives.streams):
        plans += [_overlapping(lives, backwards) for backwards in (False, True)]
    return _plan(lives, min(plans, key=_size))


def _plan(lives: Lives, spans: Mapping[str, Span]) -> Plan:
    return Plan({name: spans[name][0] for name in lives.born}, _size(spans), lives.size, lives.held)


def _size(spans: Mapping[str, Span]) -> int:
    return max(end for _, end in spans.values())


@dataclass(frozen=True)
class Lives:
    """Streams in the order in which they are computed; of each value, the stream that makes it and the last that reads it, and its bytes."""

    values: Mapping[str, Value]
    held: frozenset[str]
    streams: tuple[Stream, ...]
    born: dict[str, int]
    dies: dict[str, int]
    size: dict[str, int]

    @classmethod
    def of(cls, graph: Graph, held: frozenset[str]) -> Lives:
        stages = streams_of(graph, held)
        order = tuple(stream for stage in stages for stream in stage)
        born = {group[-1].name: time for time, stream in enumerate(order) for group in stream}
        size = {name: graph.values[name].size * graph.values[name].dtype.itemsize for name in born}
        for stream in order:
            size |= held_bytes(stream, graph)
        return cls(graph.values, held, order, born, _deaths(graph, stages), size)

    def shared(self, name: str) -> str | None:
        """The first input of an elementwise op, if this op is the last to read it."""
        time = self.born[name]
        op = self.streams[time][0][0]
        alone = sum(map(len, self.streams[time])) == 1
        return op.inputs[0] if alone and op.elementwise and self.dies.get(op.inputs[0]) == time else None


def _in_pools(lives: Lives) -> dict[str, Span]:
    """One pool after the other, the widest type first, so that every element is aligned."""
    types = {lives.values[name].c_type: lives.values[name].dtype.itemsize for name in lives.born}
    found: dict[str, Span] = {}
    start = 0
    for c_type in sorted(types, key=lambda name: (-types[name], name)):
        spans = _placed(
            lives, lambda value, c_type=c_type: value.c_type == c_type, lambda old, new: old.c_type == new.c_type
        )
        found |= {name: (start + low, start + end) for name, (low, end) in spans.items()}
        start += _size(spans)
    return found


def _placed(
    lives: Lives, belongs: Callable[[Value], bool], may_reuse: Callable[[Value, Value], bool], slack: int = 0
) -> dict[str, Span]:
    """Place the values that belong, first fit in order of birth; an elementwise op may write over a dying input where may_reuse says so."""
    placed: dict[str, Span] = {}
    for name, time in lives.born.items():
        value, size = lives.values[name], lives.size[name] + slack
        if not belongs(value):
            continue
        shared = lives.shared(name)
        if shared not in placed or not may_reuse(lives.values[shared], value):
            shared = None
        alive = [span for other, span in placed.items() if other != shared and lives.dies[other] >= time]
        start = placed[shared][0] if shared else 0
        if not shared or any(low < start + size and start < end for low, end in alive):
            start = _first_fit(alive + ([placed[shared]] if shared else []), size, slack or value.dtype.itemsize)
        placed[name] = (start, start + size)
    return placed


def _overlapping(lives: Lives, backwards: bool) -> dict[str, Span]:
    """Place all values, first fit in order of birth or backwards; an output may lie over the input of its stream, as far ahead as it must."""
    leads = {s[-1][-1].name: (s[0][0].inputs[0], lead_of(s, lives.values)) for s in lives.streams}
    born, dies, placed = lives.born, lives.dies, dict[str, Span]()
    for name in reversed(born) if backwards else born:
        size = lives.size[name]
        blocked: list[Span] = []
        for other, (low, end) in placed.items():
            older, newer = (other, name) if born[other] < born[name] else (name, other)
            source, lead = leads.get(newer, ("", None))
            if dies[older] == born[newer] and source == older and lead is not None:
                blocked.append((low - lead + size, end) if newer == name else (low, low + lead))
            elif dies[older] >= born[newer]:
                blocked.append((low, end))
        start = _first_fit(blocked, size, lives.values[name].dtype.itemsize)
        placed[name] = (start, start + size)
    return placed


def _first_fit(alive: list[Span], size: int, unit: int) -> int:
    start = 0
    for low, end in sorted(alive):
        if start + size <= low:
            break
        start = max(start, -(-end // unit) * unit)
    return start


def _deaths(graph: Graph, stages: Sequence[Sequence[Stream]]) -> dict[str, int]:
    """When the last stream that reads a value is computed; never for what the caller reads, or a later stage."""
    order = [(index, stream) for index, stage in enumerate(stages) for stream in stage]
    made = {group[-1].name: (time, index) for time, (index, stream) in enumerate(order) for group in stream}
    dies = {name: time for name, (time, _) in made.items()}
    for time, (index, stream) in enumerate(order):
        for name in (name for group in stream for name in group[0].inputs):
            if name in dies:
                dies[name] = len(order) if index > made[name][1] else max(dies[name], time)
    return dies | dict.fromkeys((name for name in graph.outputs if name in dies), len(order))
