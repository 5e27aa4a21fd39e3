"""levsha.convert: from a float model and data to exact integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from levsha.conversion.captured import CALIBRATION_ROWS, Captured, capture_all, net_of, options_of
from levsha.conversion.measure import goal_of, measure
from levsha.conversion.opening import open_model
from levsha.conversion.rows import check_choices, checked_data, split_rows
from levsha.errors import as_arguments, naming_arguments
from levsha.lower import Lowered
from levsha.net import Net
from levsha.ways import REFINE


@naming_arguments()
def convert(
    model: nn.Module | Path | str,
    x: np.ndarray,
    y: np.ndarray | None = None,
    weights: str = "int8",
    *,
    layers: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    state: Path | str | None = None,
    test: tuple[np.ndarray, np.ndarray | None] | None = None,
    keep_sigmoid: bool = False,
    calibration_rows: int = CALIBRATION_ROWS,
    observer: str = "measured",
    refine: Sequence[str] = REFINE,
    seed: int = 0,
) -> Net:
    """Return a model as an integer net, calibrated on part of the data and measured on the rest.

    model: an nn.Module; a path of .onnx or .pt2; or "my_net.py:Net". x: inputs (N, *shape) as the model takes them, bytes or real numbers.
    y: whole numbers (N,) are classes, real numbers (N, O) are to be predicted; without it the net is measured against the float model.
    weights: the format, `levsha formats` lists them; layers: formats of single layers, by a pattern of their names. classes: names of the
    classes, in which case their number is the first output. test: (x, y) to measure on instead of part of the data. keep_sigmoid: make a table
    of a sigmoid at the end; it is left out otherwise, as a softmax is, unless y holds real numbers. observer: what chooses the steps of
    values: measured, min-max, percentile or mean-square; refine: what is done to lose less, of means, steps, equalise, scales and rounding (see levsha.lower.Options). What was measured, left out and lost is in `net.about`.
    LevshaError names everything in a model that has no integer form, and says what is wrong with data that does not fit it.
    """
    check_choices(layers, classes, calibration_rows, seed)
    x, y, tested = checked_data(x, y, test)
    chosen, rest = split_rows(len(x), calibration_rows, seed, test is not None)
    opened = open_model(model, x, None if state is None else Path(state))
    captured = capture_all(opened, x, x[chosen], (), (), keep_sigmoid, y)
    lowered = captured.lower(options_of(captured, weights, layers or {}, observer, refine), classes)
    net = net_of(captured, lowered, classes)
    tested = tested or (x[rest], None if y is None else y[rest])
    return replace(net, about=about(captured, lowered, net, *tested))


def about(captured: Captured, lowered: Lowered, net: Net, x: np.ndarray, y: np.ndarray | None) -> dict[str, Any]:
    """Return what was measured, left out and lost: JSON."""
    float_NO = captured.float_outputs(x)
    goal = goal_of(y, float_NO, captured.opened.title, captured.threshold)
    return {
        "import_difference": captured.difference,
        "notices": [as_arguments(notice) for notice in (*captured.notices, captured.inputs.clipped(x)) if notice],
        "findings": list(lowered.findings),
        "weights": dict(lowered.chosen),
        "rows": {"calibrated": len(captured.calibration), "measured": len(x)},
        "against": "the float model" if goal.of_float else "y",
        "float": measure(float_NO, goal, float_NO),
        "integer": measure(real_outputs(captured, net, x), goal, float_NO),
    }


def real_outputs(captured: Captured, net: Net, x: np.ndarray) -> np.ndarray:
    """Return the integer net's outputs (N, O) in real numbers, one behind the other."""
    found = net.run(captured.inputs.integers(x))
    return np.concatenate(
        [net.meaning.to_real(name, found[name]).reshape(len(x), -1) for name in captured.folded.outputs], 1
    )
