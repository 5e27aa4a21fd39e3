"""Where each value lives in RAM: one arena of bytes, shared wherever lifetimes allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from levsha.emit.fuse import Group, fuse, stages_of_groups
from levsha.emit.overlap import lead_of
from levsha.ir import Graph, Value

Span = tuple[int, int]  # first byte, end


@dataclass(frozen=True)
class Plan:
    """offset: value name -> first byte in the arena, a multiple of its element's size.  size: bytes of the arena."""

    offset: dict[str, int]
    size: int


def plan_memory(graph: Graph, slack: int = 0) -> Plan:
    """Place the output of every group of ops: a pool for each C type, or all types mixed, whichever takes less.

    Pools come first among equals: sums then start at one address and activations at another in every layer, and a
    compiler can make constants of them. A value is alive from the group that makes it to the last group that reads it; for
    good if the caller reads it, or if a later stage does, because that stage may run again. What lies inside a group
    has no place; a group of several ops may write over what it has read, see `lead_of`.
    slack: bytes of nobody's behind every value (see Dialect); none then lies over another that is alive, or off a multiple of these bytes.
    """
    if slack:
        return _plan(_placed(graph, lambda _: True, lambda old, new: False, slack))
    plans = [_in_pools(graph)]
    plans.append(_plan(_placed(graph, lambda _: True, lambda old, new: old.dtype.itemsize >= new.dtype.itemsize)))
    if any(len(group) > 1 for group in fuse(graph)):
        plans += [_plan(_overlapping(graph, backwards)) for backwards in (False, True)]
    return min(plans, key=lambda plan: plan.size)


def _in_pools(graph: Graph) -> Plan:
    """One pool after the other, the widest type first, so that every element is aligned."""
    made = [group[-1].name for group in fuse(graph)]
    types = {graph.values[name].c_type: graph.values[name].dtype.itemsize for name in made}
    offset: dict[str, int] = {}
    start = 0
    for c_type in sorted(types, key=lambda name: (-types[name], name)):
        spans = _placed(
            graph, lambda value, c_type=c_type: value.c_type == c_type, lambda old, new: old.c_type == new.c_type
        )
        offset |= {name: start + low for name, (low, _) in spans.items()}
        start += max(end for _, end in spans.values())
    return Plan({name: offset[name] for name in made}, start)


def _plan(spans: dict[str, Span]) -> Plan:
    return Plan({name: start for name, (start, _) in spans.items()}, max(end for _, end in spans.values()))


def _placed(
    graph: Graph, belongs: Callable[[Value], bool], may_reuse: Callable[[Value, Value], bool], slack: int = 0
) -> dict[str, Span]:
    """Place the values that belong, first fit in order of birth; an elementwise op may write over a dying input where may_reuse says so."""
    stages = stages_of_groups(graph)
    order = [group for stage in stages for group in stage]
    dies = _deaths(graph, stages)
    placed: dict[str, Span] = {}
    for time, group in enumerate(order):
        name, value = group[-1].name, graph.values[group[-1].name]
        if not belongs(value):
            continue
        shared = _dying_input(group, dies, time)
        if shared not in placed or not may_reuse(graph.values[shared], value):
            shared = None
        alive = [span for other, span in placed.items() if other != shared and dies[other] >= time]
        unit = slack or value.dtype.itemsize
        start, size = placed[shared][0] if shared else 0, value.size * value.dtype.itemsize + slack
        if not shared or any(low < start + size and start < end for low, end in alive):
            start = _first_fit(alive + ([placed[shared]] if shared else []), size, unit)
        placed[name] = (start, start + size)
    return placed


def _overlapping(graph: Graph, backwards: bool) -> dict[str, Span]:
    """Place all values, first fit in order of birth or backwards; an output may lie over the input of its group, as far ahead as it must."""
    stages = stages_of_groups(graph)
    order, dies = [group for stage in stages for group in stage], _deaths(graph, stages)
    born = {group[-1].name: time for time, group in enumerate(order)}
    leads = {group[-1].name: (group[0].inputs[0], lead_of(group, graph.values)) for group in order}
    placed: dict[str, Span] = {}
    for name in reversed(born) if backwards else born:
        unit, size = graph.values[name].dtype.itemsize, graph.values[name].size * graph.values[name].dtype.itemsize
        blocked: list[Span] = []
        for other, (low, end) in placed.items():
            older, newer = (other, name) if born[other] < born[name] else (name, other)
            source, lead = leads[newer]
            if dies[older] == born[newer] and source == older and lead is not None:
                blocked.append((low - lead + size, end) if newer == name else (low, low + lead))
            elif dies[older] >= born[newer]:
                blocked.append((low, end))
        start = _first_fit(blocked, size, unit)
        placed[name] = (start, start + size)
    return placed


def _first_fit(alive: list[Span], size: int, unit: int) -> int:
    start = 0
    for low, end in sorted(alive):
        if start + size <= low:
            break
        start = max(start, -(-end // unit) * unit)
    return start


def _deaths(graph: Graph, stages: Sequence[Sequence[Group]]) -> dict[str, int]:
    """When the last group that reads a value is computed; never for what the caller reads, or a later stage."""
    stage_of = {group[-1].name: index for index, stage in enumerate(stages) for group in stage}
    order = [group for stage in stages for group in stage]
    dies = {group[-1].name: time for time, group in enumerate(order)}
    for time, group in enumerate(order):
        for name in group[0].inputs:
            if name in dies:
                later = stage_of[group[-1].name] > stage_of[name]
                dies[name] = len(order) if later else max(dies[name], time)
    return dies | dict.fromkeys((name for name in graph.outputs if name in dies), len(order))


def _dying_input(group: Group, dies: dict[str, int], time: int) -> str | None:
    """The first input of an elementwise op, if this op is the last to read it."""
    first = group[0].inputs[0]
    return first if len(group) == 1 and group[0].elementwise and dies.get(first) == time else None
