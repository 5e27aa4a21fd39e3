"""A captured net's variants: the integers of each, what they keep of the float net, and what each layer costs.  Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from levsha.conversion.captured import Captured, net_of, options_of
from levsha.conversion.door import real_outputs
from levsha.conversion.layers import layer_rows
from levsha.conversion.measure import Goal, goal_of, measure
from levsha.conversion.mixed import choose_formats
from levsha.conversion.tuning import Tuning, tune
from levsha.data.samples import Samples
from levsha.errors import LevshaError
from levsha.ir import constant_bytes
from levsha.lower import Lowered, diagnose
from levsha.lower.weights import matrices_of
from levsha.net import Net
from levsha.ops import Conv, Dense
from levsha.ops.weights import every_op
from levsha.recipes.bench import Parts
from levsha.recipes.conversion import FLOAT, Conversion
from levsha.recipes.variant import Variant
from levsha.train.batch import Stream

DIAGNOSED_ROWS = 1000

Report = Callable[[int, str], None]


class Taught(NamedTuple):
    """What variants are trained on with instead of the rows that are learned from, and the rows that then choose the best epoch."""

    stream: Stream
    validation: Samples


class Made(NamedTuple):
    """A variant, the integers it became, and what a person holds of them."""

    variant: Variant
    lowered: Lowered
    net: Net


def measure_float(captured: Captured, goal: Goal, float_NO: np.ndarray) -> dict[str, Any]:
    """Return the figures of the float net, which says float_NO, and of the trivial predictor beside it."""
    figures = measure(float_NO, goal, float_NO) | {"parameters": _parameters(captured)}
    return {FLOAT: figures, "references": references(goal, float_NO)}


def measure_made(made: Made, captured: Captured, test: Samples, goal: Goal, float_NO: np.ndarray) -> dict[str, Any]:
    """Return the figures of a variant on rows that measure, and what is known of it."""
    figures = measure(real_outputs(captured, made.net, test.x), goal, float_NO)
    return figures | {
        "parameters": made.net.sizes.parameters, "weight_bytes": constant_bytes(made.net.graph), "rounding": list(made.lowered.findings), "chosen": dict(made.lowered.chosen),
        **_bits(made), "finding": _cause(captured, made.lowered, test, goal), "layers": layer_rows(made.lowered),
    }  # fmt: skip


def _bits(made: Made) -> dict[str, Any]:
    """Of a variant whose layers have formats of their own: which, and the mean bits of a weight."""
    if not made.variant.mixed:
        return {}
    weights = {
        layer: (op.format, op.weight_OI.size) for layer, op in every_op(made.net.graph) if isinstance(op, Dense | Conv)
    }
    total = sum(count for _, count in weights.values())
    bits = sum(weights_of.bits * count for weights_of, count in weights.values()) / total
    return {"formats": {layer: weights_of.name for layer, (weights_of, _) in weights.items()}, "bits": bits}


def make(
    settings: Conversion, captured: Captured, variant: Variant, parts: Parts, goal: Goal, seed: int, room: Path, tell: Callable[[str], None],
    taught: Taught | None = None,
) -> Made:  # fmt: skip
    """Return a variant's integers, trained on in their own rounding where that is asked for; classes are named where the net decides between
    them. room: a folder, for the states of that training. tell: is told of every epoch."""
    assert variant.format is not None
    shapes = tuple(captured.folded.outputs.values())
    outputs, classes = int(np.prod(shapes[0])), None
    if goal.kind == "accuracy" and len(shapes) == 1 and outputs == max(shapes[0]) > 1:
        names = parts.calibration.classes
        classes = names if len(names) == outputs else tuple(str(k) for k in range(outputs))
    layers = settings.layers
    if variant.mixed:
        tell("choosing formats")
        layers = _mixed(settings, captured)
    if not settings.fine_tune and settings.keep == 1.0:
        options = options_of(captured, variant.format.name, layers, settings.observer, settings.refine)
        lowered = captured.lower(options, classes)
        return Made(variant, lowered, net_of(captured, lowered, classes))
    rows, stream = (taught.validation, taught.stream) if taught else (parts.learned, None)
    tuned = tune(
        captured, rows.x, rows.y, variant.format.name, layers, folder=room / f"{variant.name}-tuning", replace_folder=True,
        tuning=Tuning(settings.fine_tune, settings.keep, seed=seed), report=lambda p: tell(f"epoch {p.line['epoch']:.0f}, loss {p.line['loss']:.4g}"),
        stream=stream, observer=settings.observer, refine=settings.refine,
    )  # fmt: skip
    lowered = tuned.lower(classes)
    return Made(variant, lowered, net_of(tuned.captured, lowered, classes))


def _mixed(settings: Conversion, captured: Captured) -> dict[str, str]:
    """The format of each layer that loses least within the bytes allowed."""
    options = options_of(captured, "int8", settings.layers, settings.observer, settings.refine)
    names = settings.weights if len(settings.weights) > 1 else ()
    return dict(choose_formats(captured, options, names, settings.flash).formats)


def _parameters(captured: Captured) -> int:
    nodes = captured.folded.nodes
    tables = [node.weight_OI for node in nodes if node.kind == "embed" and node.weight_OI is not None]
    return sum(matrix.numel() for matrix in (*tables, *(matrix for node in nodes for matrix in matrices_of(node))))


def goal_for(captured: Captured, test: Samples, float_NO: np.ndarray) -> Goal:
    """Return what a captured net is measured by on these rows; LevshaError where their answers do not fit it."""
    try:
        return goal_of(test.y, float_NO, captured.opened.title, captured.threshold)
    except LevshaError as error:
        flag = " Or say what they are: --classes True, or False." if "classes" in str(error) else ""
        raise LevshaError(f"{error}{flag}") from None


def about_capture(captured: Captured, test: Samples) -> dict[str, Any]:
    """Return what was read of a net and how its input goes in, as JSON has it."""
    folded = captured.folded
    return {
        "title": captured.opened.title, "difference": captured.difference, "notices": [notice for notice in (*captured.notices, captured.inputs.clipped(test.x)) if notice],
        "input": list(folded.shape), "outputs": {name: list(shape) for name, shape in folded.outputs.items()},
        "quantities": [q.describe() for q in captured.inputs.quantities[:16]],
    }  # fmt: skip


def _cause(captured: Captured, lowered: Lowered, test: Samples, goal: Goal) -> str:
    """The layer and the cause where the integers are much worse."""
    if len(captured.folded.outputs) > 1:
        return ""
    part, rows = goal.part(np.arange(min(DIAGNOSED_ROWS, len(test.x)))), test.x[:DIAGNOSED_ROWS]
    x = torch.from_numpy(captured.inputs.layout.lay(np.asarray(rows, np.float32)).copy())
    key = "accuracy" if goal.kind == "accuracy" else "r2"
    least = 1.0 if goal.kind == "accuracy" else 0.01

    def metric(out: np.ndarray) -> float:
        real_NO = np.asarray(out, np.float64).reshape(len(rows), -1)
        return measure(real_NO, part, real_NO)[key]

    found = diagnose(lowered, {"input": x}, metric, key, least)
    return found.sentence if found else ""


def references(goal: Goal, float_NO: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the trivial predictor beside the nets: the most frequent class, or the mean."""
    if goal.kind == "accuracy":
        classes, counts = np.unique(goal.y, return_counts=True)
        return {
            "most frequent": {
                "accuracy": 100 * float(counts.max() / counts.sum()),
                "class": float(classes[counts.argmax()]),
            }
        }
    out = np.broadcast_to(goal.y.mean(0), goal.y.shape)
    return {"mean": {key: value for key, value in measure(out, goal, float_NO).items() if key in ("r2", "rmse")}}
