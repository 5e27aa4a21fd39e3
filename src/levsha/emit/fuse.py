"""Which ops are computed together, window by window, so that what lies between them takes no memory: one that slides a window and what follows it.

The graph is not changed: groups are a matter of the text and of the arena.
"""

from __future__ import annotations

from collections.abc import Mapping

from levsha.ir import Graph, Op, Value
from levsha.ops import Conv, Lookup, MaxPool, Requantize
from levsha.ops.window import Windowed

Group = tuple[
    Op, ...
]  # in order; each but the first reads the one before it; the last one's name is that of the output


def fuse(graph: Graph) -> tuple[Group, ...]:
    """Return the ops of a graph in groups, in an order in which they can be computed; most have one op.

    A Conv, MaxPool or SumPool is joined by the elementwise ops behind it, a Conv then by a MaxPool whose windows do not overlap, as
    long as nobody else reads what lies between, neither another op nor the caller.
    """
    readers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    found: dict[str, Group] = {}
    for op in graph.ops:
        if op.name not in found:
            group = _from(op, readers, graph)
            found |= dict.fromkeys((member.name for member in group), group)
    return tuple(found[op.name] for op in graph.ops if op is found[op.name][-1])


def stages_of_groups(graph: Graph) -> tuple[tuple[Group, ...], ...]:
    """Return one tuple of groups for each input, as `Graph.stages` has the ops."""
    groups = {group[-1].name: group for group in fuse(graph)}
    return tuple(tuple(groups[op.name] for op in stage if op.name in groups) for stage in graph.stages)


def _from(first: Op, readers: Mapping[str, list[Op]], graph: Graph) -> Group:
    """The longest group that starts with an op."""
    group = [first]
    while isinstance(first, Windowed):
        name = group[-1].name
        if (
            name in graph.outputs
            or len(readers.get(name, [])) != 1
            or not _joins(readers[name][0], group, graph.values)
        ):
            break
        group.append(readers[name][0])
    return tuple(group)


def _joins(op: Op, group: list[Op], values: Mapping[str, Value]) -> bool:
    """Whether an op that reads the last of a group can be computed window by window as well."""
    if (len(group) > 1 and isinstance(group[-1], MaxPool)) or len(op.inputs) > 1:
        return False
    value = values[group[-1].name]
    if isinstance(op, Requantize):
        return op.fits(value.shape[-1])
    if isinstance(op, MaxPool):
        apart = all(stride >= size for stride, size in zip(op.strides, op.kernel, strict=True))
        plain = not any(op.pads) and set(op.dilations) == {1}
        return (
            isinstance(group[0], Conv)
            and apart
            and plain
            and op.shape == value.shape
            and values[op.name].c_type == value.c_type
        )
    return isinstance(op, Lookup)
