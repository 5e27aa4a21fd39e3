"""Why a net got worse on its way to integers: one layer and one cause at a time; legend: N examples, O outputs, I inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from levsha.lower.build import Lowered
from levsha.lower.causes import CAUSES, Cause, on_grid
from levsha.lower.node import read_inputs, run_float

Metric = Callable[[np.ndarray], float]  # of the last node's real outputs (N, O); higher is better
LEAST_SHARE = 0.01  # of the float net's metric: a net that lost less than that is healthy
RECOVERS = (
    0.8  # a step per channel that takes away this share of the drop shows that the channels' ranges are the cause
)


@dataclass(frozen=True)
class Finding:
    """The layer and the cause that cost most. drop: by how much the metric falls when the float net gets this one flaw."""

    layer: str
    cause: str
    drop: float
    sentence: str


@torch.inference_mode()
def diagnose(
    lowered: Lowered, x: Mapping[str, Tensor], metric: Metric, name: str = "the metric", least: float | None = None,
    on_grid_already: bool = False,
) -> Finding | None:  # fmt: skip
    """Return what costs most on the way from the float net to the integers; None where they lost less than `least`,
    or no single flaw costs as much.

    x: real inputs (N, I) of every source. metric: of the last value's real outputs. name: what a sentence calls it. least: 1 %
    of the float net's metric where it is not given. on_grid_already: the net was trained with weights on their grid; they are
    left there.
    """
    if on_grid_already:
        lowered = on_grid(lowered)
    traces = run_float(lowered.nodes, x)
    base = metric(traces[lowered.nodes[-1].output].h.numpy())
    least = LEAST_SHARE * abs(base) if least is None else least
    with_all = metric(run_integers(lowered, x))
    if base - with_all < least:
        return None
    known = {**x, **{output: trace.h for output, trace in traces.items()}}
    found = max(_costs(lowered, known, metric, base), key=lambda cost: cost[0])
    drop, k, cause = found
    if drop < least:
        return None
    if cause.name == "step" and isinstance(lowered.layers[k].own_scale.step, float):
        cause, drop = _step_or_range(lowered, k, known, metric, base, cause, drop)
    layer = lowered.layers[k]
    figures = cause.figures(layer, read_inputs(layer.node, known))
    with_it = f"with it alone {name} is {base - drop:.4g} instead of {base:.4g}, with all that is lost {with_all:.4g}"
    return Finding(
        layer.node.name, cause.name, drop, f"{layer.node.name}: {cause.name}: {figures}; {with_it}. {cause.advice}"
    )


def run_integers(lowered: Lowered, x: Mapping[str, Tensor]) -> np.ndarray:
    """Return the real value of the last layer's output as the integer net computes it, for real inputs of its sources."""
    known: dict[str, np.ndarray] = {}
    for name, source in lowered.sources.items():
        integers = np.rint((x[name].double().numpy() - source.zero) / source.step).astype(np.int64)
        known[name] = integers.clip(source.value.lows, source.value.highs)
    for layer in lowered.layers:
        for op in layer.ops:
            known[op.name] = op.run(*(known[source] for source in op.inputs))
    last = lowered.known[lowered.nodes[-1].output]
    return known[last.name] * last.step + last.zero


def _costs(
    lowered: Lowered, known: Mapping[str, Tensor], metric: Metric, base: float
) -> Iterator[tuple[float, int, Cause]]:
    """By how much each cause in each layer, alone, lowers the metric."""
    for k, layer in enumerate(lowered.layers):
        for cause in CAUSES.values():
            needs_sums = cause.name in ("weights", "multiplier")
            if cause.name != "range" and layer.scale is not None and (layer.sums is not None or not needs_sums):
                yield base - _with(lowered, k, cause, known, metric), k, cause


def _with(lowered: Lowered, k: int, cause: Cause, known: Mapping[str, Tensor], metric: Metric) -> float:
    """The metric of the float net in which one layer has one flaw."""
    layer = lowered.layers[k]
    h = cause.apply(layer, read_inputs(layer.node, known))
    rest = lowered.nodes[k + 1 :]
    if not rest:
        return metric(h.numpy())
    return metric(run_float(rest, {**known, layer.node.output: h})[rest[-1].output].h.numpy())


def _step_or_range(
    lowered: Lowered, k: int, known: Mapping[str, Tensor], metric: Metric, base: float, cause: Cause, drop: float
) -> tuple[Cause, float]:
    """The ranges of the channels are to blame where a step for each channel takes away most of what one step for all costs."""
    with_own_steps = base - _with(lowered, k, CAUSES["range"], known, metric)
    return (CAUSES["range"], drop) if with_own_steps < (1 - RECOVERS) * drop else (cause, drop)
