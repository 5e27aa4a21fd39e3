"""The one way from a trained float net to an integer graph: calibrate, quantise, then a rule for each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from levsha.errors import LevshaError
from levsha.ir import Graph, Op, Value
from levsha.lower.calibrate import Pins, Scale, calibrate
from levsha.lower.choose_steps import choose_scales
from levsha.lower.choose_weights import choose_weights
from levsha.lower.means import mean_shifts
from levsha.lower.node import SAME, Clip, Node, Trace, run_float
from levsha.lower.options import Options
from levsha.lower.reads import TAKES, requantised, stays_apart
from levsha.lower.rules import FINISHES, RULES, Context, Layer, same, several
from levsha.lower.weights import Known, Weights, highest, quantise_all


@dataclass(frozen=True, eq=False)
class Source:
    """An integer value that nodes read and no node makes: an input of the graph, or what `ops` make of `inputs`.

    value: its shape and proven range. real = zero + step * integer, step and zero one for all elements or one each.
    """

    value: Value
    step: float | np.ndarray = 1.0
    zero: float | np.ndarray = 0.0
    ops: tuple[Op, ...] = ()
    inputs: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Lowered:
    """An integer graph and how it came about, layer by layer.

    known: what the integers of each value of a node stand for. chosen: how weights were quantised, by layer, where it is not the usual way. findings: sentences on what rounding lost, each of which names its
    layer; none where nothing was lost that matters.
    """

    graph: Graph
    layers: tuple[Layer, ...]
    sources: Mapping[str, Source]
    known: Mapping[str, Known]
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The float meaning of the net."""
        return tuple(layer.node for layer in self.layers)

    @property
    def findings(self) -> tuple[str, ...]:
        """What rounding lost that matters, layer by layer."""
        return tuple(finding for layer in self.layers for finding in layer.findings)

    def layer(self, name: str) -> Layer:
        """Return a layer by its node's name."""
        return next(layer for layer in self.layers if layer.node.name == name)


def lower(
    nodes: Sequence[Node], sources: Mapping[str, Source], x: Mapping[str, Tensor], options: Options | None = None,
    pins: Pins | None = None, then: Sequence[Op] = (), outputs: tuple[str, ...] = (),
) -> Lowered:  # fmt: skip
    """Return the integer graph of a float net.

    nodes: in order, over `sources`, the slowest changing first. x: real inputs (N, I) of every source, to calibrate with. then:
    ops behind the net, such as an Argmax. outputs: of the graph; the last op where none is named. Where a layer's sums could
    overflow options.sum_bits, the layer before is clipped lower: the graph proves the result, and it is what gets evaluated.
    LevshaError names a layer that 32 bits cannot hold.
    """
    options, pins = options or Options(), pins or Pins()
    assert {*pins.steps, *pins.zeros, *pins.ranges, *pins.scales} <= {node.output for node in nodes}, (
        "a pin is of a value"
    )
    assert {*pins.weights, *options.formats} <= {node.name for node in nodes}, "weights and formats are of a layer"
    context = settle(nodes, sources, x, run_float(nodes, x), options, pins)
    layers = tuple(_layer(node, context) for node in nodes)
    return Lowered(_graph(layers, sources, then, outputs), layers, sources, context.known, context.said)


def settle(
    nodes: Sequence[Node], sources: Mapping[str, Source], x: Mapping[str, Tensor], traces: Mapping[str, Trace],
    options: Options, pins: Pins,
) -> Context:  # fmt: skip
    """Return all that the rules go by: the scale of every value and the integers of every weight; traces: of `run_float` on x."""
    scales = calibrate(nodes, x, traces, options, pins)
    choices = [scales]
    if options.measured and options.observer == "measured":
        choices += choose_scales(nodes, known_of(nodes, sources, scales), x, traces, scales, options, pins)
    found = [_settle(nodes, sources, x, traces, choice, options, pins) for choice in choices]
    context, loss = min(found, key=lambda settled: settled[1])
    if options.measured:
        context = _refined(nodes, x, traces, context, loss, pins)
    return context


def _settle(
    nodes: Sequence[Node], sources: Mapping[str, Source], x: Mapping[str, Tensor], traces: Mapping[str, Trace],
    scales: Mapping[str, Scale], options: Options, pins: Pins,
) -> tuple[Context, float]:  # fmt: skip
    """All that the rules go by, and, where options.measured, what it costs at the outputs."""
    scales = dict(scales)
    weights = quantise_all(nodes, known_of(nodes, sources, scales), options, pins)
    known = known_of(nodes, sources, scales)
    for node in nodes:
        if node.output in scales:
            scales[node.output] = _lowered_top(node, scales[node.output], nodes, weights, known, options)
    known = known_of(nodes, sources, scales)
    if not options.measured:
        return Context(options, scales, weights, known), 0.0
    shifts, loss = mean_shifts(nodes, known, x, traces, weights, scales, options, pins)
    return Context(options, scales, weights, known, shifts), loss


def _refined(
    nodes: Sequence[Node], x: Mapping[str, Tensor], traces: Mapping[str, Trace], context: Context, loss: float, pins: Pins
) -> Context:  # fmt: skip
    """The same with weights that cost less at the outputs, where there are any."""
    if context.weights.keys() <= pins.weights.keys():
        return context
    chosen = choose_weights(nodes, context.known, x, traces, context.weights, context.scales, context.options, pins)
    if not chosen.said or chosen.loss >= loss:
        return context
    return replace(context, weights=chosen.weights, shifts=chosen.shifts, said=chosen.said)


def known_of(nodes: Sequence[Node], sources: Mapping[str, Source], scales: Mapping[str, Scale]) -> dict[str, Known]:
    """Return what is known of every value: of sources, of what has a scale of its own, and of what has that of its input."""
    known = {name: Known(source.value, source.step, source.zero, name) for name, source in sources.items()}
    inner = requantised(nodes)
    for node in nodes:
        if node.kind in SAME:
            known[node.output] = same.know(node, known[node.inputs[0]])
            continue
        scale = scales[node.output]
        lo, hi = (scale.lo, scale.hi) if scale.table is None else (int(scale.table.min()), int(scale.table.max()))
        known[node.output] = Known(Value(node.shape, lo, hi), scale.step, scale.zero, node.output)
        if node.kind == "concat" and node.output in inner and stays_apart(node.output, node.shape[-1], nodes, TAKES):
            known[node.output] = several.know_concat(node, [known[name] for name in node.inputs], known[node.output])
    return known


def _lowered_top(
    node: Node, scale: Scale, nodes: Sequence[Node], weights: Mapping[str, Weights], known: Mapping[str, Known], options: Options
) -> Scale:  # fmt: skip
    """The scale of a value, with the top that the sums of whoever reads it allow."""
    if not isinstance(node.activation, Clip) or scale.lo != 0:
        return scale
    readers = [other for other in nodes if node.output in other.inputs]
    return replace(scale, hi=min(scale.hi, highest(node.output, readers, weights, known, options.sum_bits)))


def _layer(node: Node, context: Context) -> Layer:
    try:
        made = RULES[node.kind](node, context)
        return (
            made
            if isinstance(made, Layer)
            else FINISHES[type(node.activation)](node, made, context.scales[node.output])
        )
    except LevshaError as error:
        raise LevshaError(f"lower: {node.name}{f' ({node.place})' if node.place else ''}: {error}") from None


def _graph(
    layers: Sequence[Layer], sources: Mapping[str, Source], then: Sequence[Op], outputs: tuple[str, ...]
) -> Graph:
    """The ops in order; what makes a source stands before the first op that reads it."""
    inputs: dict[str, Value] = {}
    for name, source in sources.items():
        inputs |= source.inputs or {name: source.value}
    ops: list[Op] = []
    made = set(inputs)
    for op in (*(op for layer in layers for op in layer.ops), *then):
        needed = [
            first for name in op.inputs if name in sources for first in sources[name].ops if first.name not in made
        ]
        ops += [*needed, op]
        made |= {one.name for one in (*needed, op)}
    return Graph(inputs, tuple(ops), outputs)
