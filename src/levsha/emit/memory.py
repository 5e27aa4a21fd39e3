"""Where each value lives in RAM: buffers of one C type share an array wherever their lifetimes allow."""

from __future__ import annotations

from dataclasses import dataclass

from levsha.ir import Graph, Op


@dataclass(frozen=True)
class Plan:
    """offset: value name -> first element in the array of its type.  length: C type -> elements of that array."""

    offset: dict[str, int]
    length: dict[str, int]


def plan_memory(graph: Graph) -> Plan:
    """Place every op's output, first fit in order of birth.

    A value is alive from the op that makes it to the last op that reads it; for good if the caller reads it, or if a later
    stage does, because that stage may run again.
    """
    order = [op for stage in graph.stages for op in stage]
    born = {op.name: time for time, op in enumerate(order)}
    dies = _deaths(graph, order)
    placed: list[tuple[str, int, int]] = []  # name, first element, end
    length: dict[str, int] = {}
    for op in order:
        value = graph.values[op.name]
        shared = _reused(op, graph, dies, born)
        taken = sorted(
            (start, end)
            for name, start, end in placed
            if graph.values[name].c_type == value.c_type and name != shared and dies[name] >= born[op.name]
        )
        start = 0
        for low, high in taken:
            if start + value.size <= low:
                break
            start = max(start, high)
        placed.append((op.name, start, start + value.size))
        length[value.c_type] = max(length.get(value.c_type, 0), start + value.size)
    return Plan({name: start for name, start, _ in placed}, length)


def _deaths(graph: Graph, order: list[Op]) -> dict[str, int]:
    stage_of = {op.name: index for index, stage in enumerate(graph.stages) for op in stage}
    dies = {op.name: time for time, op in enumerate(order)}
    for time, op in enumerate(order):
        for name in op.inputs:
            if name in dies:
                dies[name] = len(order) if stage_of[op.name] > stage_of[name] else max(dies[name], time)
    return dies | dict.fromkeys((name for name in graph.outputs if name in dies), len(order))


def _reused(op: Op, graph: Graph, dies: dict[str, int], born: dict[str, int]) -> str | None:
    """The input that an elementwise op may write over: it dies here."""
    first = op.inputs[0]
    dying = op.elementwise and first in dies and dies[first] == born[op.name]
    return first if dying else None
