"""Where each value lives in RAM: one arena of bytes, shared wherever lifetimes allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from levsha.ir import Graph, Op, Value

Span = tuple[int, int]  # first byte, end


@dataclass(frozen=True)
class Plan:
    """offset: value name -> first byte in the arena, a multiple of its element's size.  size: bytes of the arena."""

    offset: dict[str, int]
    size: int


def plan_memory(graph: Graph) -> Plan:
    """Place every op's output: a pool for each C type, or all types mixed, whichever takes less.

    Pools come first among equals: sums then start at one address and activations at another in every layer, and a
    compiler can make constants of them. A value is alive from the op that makes it to the last op that reads it; for
    good if the caller reads it, or if a later stage does, because that stage may run again.
    """
    pools = _in_pools(graph)
    mixed = _placed(graph, lambda _: True, lambda old, new: old.dtype.itemsize >= new.dtype.itemsize)
    return min((pools, _plan(mixed)), key=lambda plan: plan.size)


def _in_pools(graph: Graph) -> Plan:
    """One pool after the other, the widest type first, so that every element is aligned."""
    types = {graph.values[op.name].c_type: graph.values[op.name].dtype.itemsize for op in graph.ops}
    offset: dict[str, int] = {}
    start = 0
    for c_type in sorted(types, key=lambda name: (-types[name], name)):
        spans = _placed(
            graph, lambda value, c_type=c_type: value.c_type == c_type, lambda old, new: old.c_type == new.c_type
        )
        offset |= {name: start + low for name, (low, _) in spans.items()}
        start += max(end for _, end in spans.values())
    return Plan({op.name: offset[op.name] for op in graph.ops}, start)


def _plan(spans: dict[str, Span]) -> Plan:
    return Plan({name: start for name, (start, _) in spans.items()}, max(end for _, end in spans.values()))


def _placed(
    graph: Graph, belongs: Callable[[Value], bool], may_reuse: Callable[[Value, Value], bool]
) -> dict[str, Span]:
    """Place the values that belong, first fit in order of birth; an elementwise op may write over a dying input where may_reuse says so."""
    order = [op for stage in graph.stages for op in stage]
    born = {op.name: time for time, op in enumerate(order)}
    dies = _deaths(graph, order)
    placed: dict[str, Span] = {}
    for op in order:
        value = graph.values[op.name]
        if not belongs(value):
            continue
        shared = _dying_input(op, dies, born)
        if shared not in placed or not may_reuse(graph.values[shared], value):
            shared = None
        alive = [span for name, span in placed.items() if name != shared and dies[name] >= born[op.name]]
        unit = value.dtype.itemsize
        start, size = placed[shared][0] if shared else 0, value.size * unit
        if not shared or any(low < start + size and start < end for low, end in alive):
            start = _first_fit(alive + ([placed[shared]] if shared else []), size, unit)
        placed[op.name] = (start, start + size)
    return placed


def _first_fit(alive: list[Span], size: int, unit: int) -> int:
    start = 0
    for low, end in sorted(alive):
        if start + size <= low:
            break
        start = max(start, -(-end // unit) * unit)
    return start


def _deaths(graph: Graph, order: list[Op]) -> dict[str, int]:
    stage_of = {op.name: index for index, stage in enumerate(graph.stages) for op in stage}
    dies = {op.name: time for time, op in enumerate(order)}
    for time, op in enumerate(order):
        for name in op.inputs:
            if name in dies:
                dies[name] = len(order) if stage_of[op.name] > stage_of[name] else max(dies[name], time)
    return dies | dict.fromkeys((name for name in graph.outputs if name in dies), len(order))


def _dying_input(op: Op, dies: dict[str, int], born: dict[str, int]) -> str | None:
    """The first input of an elementwise op, if this op is the last to read it."""
    first = op.inputs[0]
    return first if op.elementwise and first in dies and dies[first] == born[op.name] else None
