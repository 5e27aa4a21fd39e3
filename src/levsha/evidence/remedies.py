"""What makes a net fit a target that is too small: three ways, with the size that each would give."""

from __future__ import annotations

import numpy as np

from levsha.emit.fuse import fuse
from levsha.emit.memory import plan_memory
from levsha.formats import FORMATS
from levsha.ir import C_TYPES, Graph, constant_bytes
from levsha.ops import Conv, Dense, Embed
from levsha.ops.weights import every_op, weights_of
from levsha.targets import Target
from levsha.targets.firmware import Sizes


def remedies(graph: Graph, target: Target, sizes: Sizes | None = None) -> str:
    """Return sentences: the layer that takes most, by how many bytes the net is over, and what three remedies would come to.

    sizes: of the built firmware, where there is one; else constants alone are counted.
    """
    flash, ram = target.flash_bytes or 0, target.ram_bytes or 0
    constants, arena = constant_bytes(graph), plan_memory(graph).size
    used = sizes.flash_bytes if sizes and sizes.flash_bytes is not None else constants
    static = sizes.static_bytes if sizes and sizes.static_bytes is not None else arena + _inputs(graph)
    found = []
    if used > flash:
        found += [_flash(graph, used, flash)]
    if static >= ram:
        found += [_ram(graph, static, ram)]
    return " ".join(found) or "it needs more than there is."


def _inputs(graph: Graph) -> int:
    return sum(value.size * value.dtype.itemsize for value in graph.inputs.values())


def _bytes(graph: Graph) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes of each layer's matrices, which a format packs, and of each table of an embedding, which none does."""
    matrices: dict[str, int] = {}
    tables: dict[str, int] = {}
    for layer, op in every_op(graph):
        if isinstance(op, Dense | Conv):
            matrices[layer] = matrices.get(layer, 0) + len(op.format.pack(op.weight_OI.ravel()))
        elif isinstance(op, Embed):
            tables[op.name] = sum(c.data.size * np.dtype(C_TYPES[c.c_type][2]).itemsize for c in op.parts().values())
    return matrices, tables


def _flash(graph: Graph, used: int, flash: int) -> str:
    matrices, tables = _bytes(graph)
    both = {name: matrices.get(name, 0) + tables.get(name, 0) for name in (*matrices, *tables)}
    largest = max(both, key=lambda name: both[name], default="")
    weights = weights_of(graph)
    now, total = sum(matrices.values()), sum(weights[name] for name in matrices)
    ways = [
        f"--weights {name} comes to about {used - now + int(total * FORMATS[name].bits / 8):,} B" for name in ("int4", "two_bit", "binary")
        if total * FORMATS[name].bits / 8 < now
    ]  # fmt: skip
    if tables.get(largest):
        ways.insert(0, f"rows half as long in {largest} come to about {used - tables[largest] // 2:,} B")
    ways.append(f"--keep 0.5 to about {used - now + now // 3:,} B")
    return (
        (
            f"Flash: {used:,} B are {used - flash:,} B over {flash:,} B; most is in {largest} ({both.get(largest, 0):,} B). "
            f"Ways: {'; '.join(ways[:3])}."
        )
        .replace(",", " ")
        .replace("  ", ", ")
    )


def _ram(graph: Graph, static: int, ram: int) -> str:
    """RAM is the input and the largest pair of values that are alive together."""
    inputs = {name: value.size * value.dtype.itemsize for name, value in graph.inputs.items()}
    bytes_of = inputs | plan_memory(graph).bytes_of
    around_of = {group[-1].name: sum(bytes_of[n] for n in (group[-1].name, *group[0].inputs)) for group in fuse(graph)}
    peak, around = max(around_of.items(), key=lambda item: item[1])
    half = static - around + around // 2
    return (
        f"SRAM: {static} B of {ram} B are taken before the stack; most at {peak} ({around} B of what it reads and makes). Ways: half "
        f"the channels there, about {half} B; a stride of 2, or pooling, one layer earlier, about {static - around + around // 4} B; a "
        f"smaller input (it takes {_inputs(graph)} B)."
    )
