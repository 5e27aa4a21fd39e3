"""levsha.fine_tune: a float model, trained on with its weights and values already rounded, and smaller if asked for, as exact integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from levsha.capture.fold import INPUT
from levsha.convert.captured import CALIBRATION_ROWS, Captured, as_tensor, capture_all, formats_of, net_of
from levsha.convert.convert import about, check_length, check_rows
from levsha.convert.lesson import lesson_of
from levsha.convert.measure import goal_of
from levsha.convert.opening import open_model
from levsha.convert.tunable import LEARNS, Start, Tunable
from levsha.errors import LevshaError, check_range
from levsha.formats import find_format
from levsha.lower import Function, Node, Options, Pins, run_float
from levsha.lower.build import known_of
from levsha.lower.calibrate import calibrate, requantised
from levsha.lower.prune import prune_share
from levsha.run import Net
from levsha.train.fit import Fitted, fit
from levsha.train.settings import Training
from levsha.train.surroundings import Progress

MEASURED, HELD_OUT = (
    5,
    10,
)  # one row in so many is measured, where no test data is given; one of so many others chooses the best epoch
DISTIL = 0.5
SETTINGS = Training(batch=64, optimizer="adamw", rate=1e-3, schedule="cosine", warmup=0.05)


def fine_tune(
    model: nn.Module | Path | str,
    x: np.ndarray,
    y: np.ndarray | None = None,
    weights: str = "two_bit",
    *,
    epochs: int = 5,
    keep: float = 1.0,
    distil: float = DISTIL,
    training: Training | None = None,
    folder: Path | str | None = None,
    replace: bool = False,
    layers: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    state: Path | str | None = None,
    test: tuple[np.ndarray, np.ndarray | None] | None = None,
    keep_sigmoid: bool = False,
    calibration_rows: int = CALIBRATION_ROWS,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> Net:
    """Return a model as an integer net that was trained on in its integers' own rounding: what `convert` does, for few bits.

    model, x, y, weights, layers, classes, state, test, keep_sigmoid, calibration_rows: as for `convert`. keep: share of every layer's channels
    that is kept, above 0, up to 1. distil: share, 0..1, of the float model's answers in what is learned, the rest are those of y. training:
    all settings of the training but the loss, in the place of epochs and seed. folder: for checkpoints; the same call goes on there, and
    ends with the same bytes. replace: another training in it is removed. report: is told of every epoch. What came of it is in `net.about`.
    LevshaError says what is wrong with the model, the data or a setting.
    """
    x, y = check_rows(x, "x"), None if y is None else np.asarray(y)
    check_length(x, y, "y")
    check_range("distil", distil, 0.0, 1.0)
    training = training or dataclasses.replace(SETTINGS, epochs=epochs, seed=seed)
    training.check()
    rows = split_rows(len(x), training.seed, test is not None)
    calibration = x[rows.train[:calibration_rows]]
    opened = open_model(model, x, None if state is None else Path(state))
    captured = capture_all(opened, x, calibration, (), (), keep_sigmoid)
    float_NO = captured.float_outputs(x)
    goal = None if y is None else goal_of(y, float_NO, opened.title)
    options = options_of(captured, weights, layers or {})
    start = start_of(captured, options, keep)
    lesson = lesson_of(goal, float_NO, distil, not isinstance(start.nodes[-1].activation, Function))
    tunable = Tunable(start, lesson.unit_O)
    tunable.adjust(as_tensor(calibration))
    fitted = fit(
        tunable, lesson.arrays(x, rows.train), lesson.held_out(x, rows.held_out), dataclasses.replace(training, loss=lesson.loss),
        folder=folder, metrics=lesson.metrics, report=report, key=f"fine_tune, keep {keep:g}, distil {distil:g}", replace=replace,
    )  # fmt: skip
    tested = (x[rows.measured], None if y is None else y[rows.measured]) if test is None else test
    net = integers_of(captured, tunable, options, classes, tested)
    tuned = {"epochs": training.epochs, "best_epoch": fitted.best_epoch, "keep": keep, "history": fitted.history}
    return dataclasses.replace(net, about={**net.about, "fine_tuned": tuned})


class Split(NamedTuple):
    """Numbers of rows: to learn from, in a random order; to choose the best epoch by; to measure on."""

    train: np.ndarray
    held_out: np.ndarray
    measured: np.ndarray


def split_rows(count: int, seed: int, test_given: bool) -> Split:
    """Return which rows are for what; LevshaError where there are too few."""
    if count < 4:
        raise LevshaError(
            f"x: has {count} rows; a training needs 4 at least, to learn from, to choose by and to measure."
        )
    order = np.random.default_rng([9100, seed]).permutation(count)
    measured = 0 if test_given else max(1, count // MEASURED)
    held_out = max(1, (count - measured) // HELD_OUT)
    return Split(order[measured + held_out :], order[measured : measured + held_out], order[:measured])


def options_of(captured: Captured, weights: str, layers: Mapping[str, str]) -> Options:
    """Return the formats by name: of all weights, and of single layers."""
    names = [node.name for node in captured.folded.nodes if node.kind in LEARNS]
    own = formats_of(names, {pattern: find_format(name) for pattern, name in layers.items()})
    return Options(format=find_format(weights), formats=own)


def start_of(captured: Captured, options: Options, keep: float) -> Start:
    """Return what is tuned: the nodes that are kept, what they made of the calibration data, and the steps of that."""
    nodes, laid = captured.folded.nodes, captured.folded.laid(captured.calibration)
    traces = run_float(nodes, {INPUT: laid})
    pruned = prune_share(nodes, {INPUT: laid}, traces, tuple(captured.folded.outputs), keep)
    traces = {node.output: pruned.trace(node, traces[node.output]) for node in pruned.nodes}
    scales, inner = calibrate(pruned.nodes, traces, options, Pins()), requantised(pruned.nodes)
    known = known_of(pruned.nodes, {INPUT: captured.inputs.source}, scales)
    return Start(
        nodes=pruned.nodes, source=captured.inputs.source, lay=captured.folded.laid, outputs=tuple(captured.folded.outputs),
        traces=traces, scales={name: scale for name, scale in scales.items() if name in inner}, known=known,
        format_of=options.format_of,
    )  # fmt: skip


def integers_of(
    captured: Captured, tunable: Tunable, options: Options, classes: Sequence[str] | None, tested: tuple[np.ndarray, np.ndarray | None]
) -> Net:  # fmt: skip
    """Return a tuned net in integers, measured beside the float model on rows (x, y)."""
    nodes, pins = tunable.tuned()
    folded = dataclasses.replace(captured.folded, nodes=nodes)
    lowered = dataclasses.replace(captured, folded=folded).lower(options, classes, pins)
    net = net_of(captured, lowered, classes)
    return dataclasses.replace(net, about=about(captured, lowered, net, check_rows(tested[0], "test"), tested[1]))
