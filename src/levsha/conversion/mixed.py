"""A format for each layer: what loses least within so many bytes, by what every layer costs in every format.  Legend: L layers, F formats.

Each layer alone is put on each format's grid, as well as a conversion can (scales chosen, rounding refined, means made up for), in the float net;
what the outputs differ by is its cost.  Costs of layers add up nearly: errors of several roundings are hardly related.  The choice of least cost
within the bytes is then exact: all choices of the first layers that no other beats in bytes and cost are kept, layer after layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from levsha.capture.fold import INPUT
from levsha.conversion.captured import Captured
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format, find_format
from levsha.ir import constant_bytes
from levsha.lower import Node, Options, Pins, run_float
from levsha.lower.build import settle
from levsha.lower.choose_weights import choose_weights
from levsha.lower.node import Trace
from levsha.lower.weights import Known, columns_of, matrices_of, quantise

BUDGET = 20_000_000_000  # multiply-accumulates of all that is tried, about
FEWEST, MOST = 24, 128  # rows
FRONT = 4096  # choices that are kept from layer to layer, at most
USUAL_BITS = 4  # of every weight, where no bytes are named: what they take are the bytes allowed


@dataclass(frozen=True)
class Choice:
    """A format for each layer, by name. bytes: what weights, multipliers and biases take; cost: what is lost at the outputs, in units of their spread."""

    formats: Mapping[str, str]
    bytes: int
    cost: float


def choose_formats(captured: Captured, options: Options, names: Sequence[str] = (), flash_bytes: int | None = None) -> Choice:  # fmt: skip
    """Return the formats of least cost within so many bytes of weights and other constants; without them, within those that int4 takes.

    options: what layers of formats of their own have, and how weights are quantised. names: the formats allowed, all where there are none.
    LevshaError where the narrowest choice takes more.
    """
    formats = [find_format(name) for name in dict.fromkeys(names)] or list(FORMATS.values())
    layers = [node for node in captured.folded.nodes if matrices_of(node)]
    by_layer = {node.name: [options.formats[node.name]] if node.name in options.formats else formats for node in layers}
    rest = _rest(captured, layers, options)
    sizes = {node.name: {f.name: packed_bytes(node, f) for f in by_layer[node.name]} for node in layers}
    allowed = flash_bytes
    if allowed is None:
        allowed = rest + sum(
            max(packed_bytes(node, FORMATS["int4"]), min(sizes[node.name].values())) for node in layers
        )
    least = rest + sum(min(each.values()) for each in sizes.values())
    if least > allowed:
        narrow = ", ".join(f"{name} {min(each, key=lambda f: each[f])}" for name, each in sizes.items())
        raise LevshaError(
            f"--flash: {allowed} B hold no choice of formats: the smallest takes {least} B ({narrow}; {rest} B of them multipliers, biases and tables). "
            f"Allow as many, offer narrower formats, or take a smaller net."
        )
    costs, room = layer_costs(captured, by_layer, options), allowed
    while True:  # rounding may need a further shift for each channel of some layers, which only a whole lowering shows
        choice = least_cost(sizes, costs, rest, room)
        made = constant_bytes(
            captured.lower(replace(options, formats={n: FORMATS[f] for n, f in choice.formats.items()})).graph
        )
        if made <= allowed or room == least:
            return replace(choice, bytes=made)
        room = max(least, room - (made - allowed))


def layer_costs(captured: Captured, formats: Mapping[str, Sequence[Format]], options: Options) -> dict[str, dict[str, float]]:  # fmt: skip
    """Return the mean square by which outputs differ where one layer alone has a format, by layer and format."""
    nodes, work = (
        captured.folded.nodes,
        sum(node.macs for node in captured.folded.nodes) * sum(map(len, formats.values())),
    )
    rows = int(np.clip(BUDGET // max(1, work * 4), FEWEST, MOST))
    x = {INPUT: captured.folded.laid(captured.calibration[-rows:])}
    traces = run_float(nodes, x)
    plain = replace(
        options, format=FORMATS["int8"], formats={}, refine=tuple(n for n in options.refine if n in ("means", "steps"))
    )
    known = settle(nodes, {INPUT: captured.inputs.source}, x, traces, plain, Pins()).known
    found: dict[str, dict[str, float]] = {}
    for node in nodes:
        for weights in formats.get(node.name, ()):
            one = replace(options, formats={node.name: weights})
            found.setdefault(node.name, {})[weights.name] = _cost(nodes, node, known, x, traces, one)
    return found


@torch.inference_mode()
def _cost(
    nodes: Sequence[Node], node: Node, known: Mapping[str, Known], x: Mapping[str, torch.Tensor], traces: Mapping[str, Trace], options: Options
) -> float:  # fmt: skip
    """What one layer's rounding costs; of a recurrent one, as a share of its weights, since its cell is rounded when it is lowered."""
    if node.cell is not None:
        return float(np.mean([_lost(matrix, options.format_of(node.name)) for matrix in matrices_of(node)]))
    usual = {node.name: quantise(node, options.format_of(node.name), columns_of(node, known)[1])}
    return choose_weights(nodes, known, x, traces, usual, {}, options, Pins()).loss


def _lost(matrix: torch.Tensor, weights: Format) -> float:
    scale_O1 = weights.scale(matrix.detach())
    return float(((weights.to_integers(matrix / scale_O1) * scale_O1 - matrix) ** 2).sum() / (matrix**2).sum())


def packed_bytes(node: Node, weights: Format) -> int:
    """Return the bytes of a layer's weights as the portable C holds them: blocks of outputs, or where each channel is on its own, tap by tap."""
    total = 0
    for matrix in matrices_of(node):
        outputs, inputs = matrix.shape
        groups = 1 if node.window is None else node.window.groups
        if groups > 1 and node.window is not None and groups == node.window.shape[2]:
            total += inputs * weights.packed_bytes(outputs)
        else:
            total += groups * weights.packed_bytes(math.ceil(outputs / groups / weights.block) * weights.block * inputs)
    return total


def _rest(captured: Captured, layers: Sequence[Node], options: Options) -> int:
    """The bytes of constants that no format changes: multipliers, biases, tables."""
    plain = replace(options, format=FORMATS["int8"], formats={}, measured=False)
    graph = captured.lower(plain).graph
    return constant_bytes(graph) - sum(packed_bytes(node, FORMATS["int8"]) for node in layers)


def least_cost(sizes: Mapping[str, Mapping[str, int]], costs: Mapping[str, Mapping[str, float]], rest: int, allowed: int) -> Choice:  # fmt: skip
    """Return the choice of least cost within `allowed` bytes: of those of the first layers, all that no other beats are kept."""
    front = [Choice({}, rest, 0.0)]
    ahead = sum(min(each.values()) for each in sizes.values())
    for name, each in sizes.items():
        ahead -= min(each.values())
        longer = [
            Choice({**c.formats, name: f}, c.bytes + size, c.cost + costs[name][f])
            for c in front
            for f, size in each.items()
            if c.bytes + size + ahead <= allowed
        ]
        front = []
        for choice in sorted(longer, key=lambda c: (c.bytes, c.cost)):
            if not front or choice.cost < front[-1].cost:
                front.append(choice)
        if len(front) > FRONT:
            front = [front[k] for k in np.unique(np.linspace(0, len(front) - 1, FRONT).astype(int))]
    return min(front, key=lambda c: c.cost)
