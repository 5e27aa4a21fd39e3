"""One split of a conversion: open the model, prove it, make every variant's integers and measure them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from levsha.conversion.captured import Captured, capture_all, net_of
from levsha.conversion.door import lower_as, real_outputs
from levsha.conversion.layers import layer_rows
from levsha.conversion.measure import Goal, goal_of, measure
from levsha.conversion.opening import open_model
from levsha.conversion.sensitivity import sensitivity
from levsha.conversion.tuning import Tuning, tune
from levsha.data.samples import Samples
from levsha.errors import LevshaError
from levsha.ir import constant_bytes
from levsha.lower import Lowered, diagnose
from levsha.lower.weights import matrices_of
from levsha.net import Net
from levsha.recipes.convert.bench import Bench, Parts
from levsha.recipes.convert.settings import FLOAT, Convert
from levsha.recipes.pipeline import folder_of
from levsha.recipes.variant import Variant

DIAGNOSED_ROWS = 1000

Report = Callable[[int, str], None]


def convert_split(
    settings: Convert, bench: Bench, variants: list[Variant], seed: int, report: Report
) -> dict[str, Any]:
    """Make and measure every variant of a split; return its metrics by variant, and what was found on the way."""
    parts = bench.parts(settings, seed)
    calibration, test = parts.calibration, parts.test
    report(0, "reading the model")
    opened = open_model(settings.model, calibration.x, settings.state)
    captured = capture_all(
        opened, test.x, calibration.x, calibration.names, calibration.units, settings.keep_sigmoid, test.y
    )
    float_NO = captured.float_outputs(test.x)
    goal = _goal(captured, test, float_NO)
    found: dict[str, Any] = {
        FLOAT: measure(float_NO, goal, float_NO) | {"parameters": _parameters(captured)},
        "references": references(goal, float_NO),
    }
    lowered, rows = None, []
    for k, variant in enumerate((v for v in variants if v.format), 1):
        report(k, variant.name)
        lowered, net = make(
            settings,
            captured,
            variant,
            parts,
            goal,
            seed,
            lambda text, k=k, name=variant.name: report(k, f"{name}  {text}"),
        )
        figures = measure(real_outputs(captured, net, test.x), goal, float_NO)
        net.save(folder_of(settings.out, "split", seed, "training") / f"{variant.name}.net.safetensors")
        found[variant.name] = figures | {
            "parameters": net.sizes.parameters, "weight_bytes": constant_bytes(net.graph), "rounding": list(lowered.findings),
            "finding": _cause(captured, lowered, test, goal), "layers": layer_rows(lowered),
        }  # fmt: skip
    report(len(variants), "what each layer costs")
    rows = sensitivity(captured, test.x, goal)
    return found | {"capture": _about(captured, test), "sensitivity": rows, "kind": goal.kind}


def make(
    settings: Convert, captured: Captured, variant: Variant, parts: Parts, goal: Goal, seed: int, tell: Callable[[str], None]
) -> tuple[Lowered, Net]:  # fmt: skip
    """Return a variant's integers, trained on in their own rounding where that is asked for; classes are named where the net decides between
    them. tell: is told of every epoch."""
    assert variant.format is not None
    shapes = tuple(captured.folded.outputs.values())
    outputs, classes = int(np.prod(shapes[0])), None
    if goal.kind == "accuracy" and len(shapes) == 1 and outputs == max(shapes[0]) > 1:
        names = parts.calibration.classes
        classes = names if len(names) == outputs else tuple(str(k) for k in range(outputs))
    if not settings.fine_tune and settings.keep == 1.0:
        lowered = lower_as(captured, variant.format.name, settings.layers, classes)
        return lowered, net_of(captured, lowered, classes)
    folder = folder_of(settings.out, "split", seed, "training") / f"{variant.name}-tuning"
    tuned = tune(
        captured, parts.learned.x, parts.learned.y, variant.format.name, settings.layers, folder=folder, replace_folder=True,
        tuning=Tuning(settings.fine_tune, settings.keep, seed=seed), report=lambda p: tell(f"epoch {p.line['epoch']:.0f}, loss {p.line['loss']:.4g}"),
    )  # fmt: skip
    lowered = tuned.lower(classes)
    return lowered, net_of(tuned.captured, lowered, classes)


def _parameters(captured: Captured) -> int:
    nodes = captured.folded.nodes
    tables = [node.weight_OI for node in nodes if node.kind == "embed" and node.weight_OI is not None]
    return sum(matrix.numel() for matrix in (*tables, *(matrix for node in nodes for matrix in matrices_of(node))))


def _goal(captured: Captured, test: Samples, float_NO: np.ndarray) -> Goal:
    try:
        return goal_of(test.y, float_NO, captured.opened.title, captured.threshold)
    except LevshaError as error:
        flag = " Or say what they are: --classes True, or False." if "classes" in str(error) else ""
        raise LevshaError(f"{error}{flag}") from None


def _about(captured: Captured, test: Samples) -> dict[str, Any]:
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
