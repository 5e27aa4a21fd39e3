"""A captured model, trained on with its weights and values already rounded, and with fewer channels where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from levsha.capture.fold import INPUT
from levsha.conversion.captured import Captured, net_of, options_of
from levsha.conversion.door import real_outputs
from levsha.conversion.lesson import lesson_of
from levsha.conversion.measure import Goal, goal_of, measure
from levsha.conversion.tunable import Start, Tunable
from levsha.errors import LevshaError, check_number
from levsha.lower import Function, Lowered, Options, Pins, run_float
from levsha.lower.build import settle
from levsha.lower.prune import prune_share
from levsha.lower.reads import requantised
from levsha.train.batch import Stream
from levsha.train.fit import fit
from levsha.train.settings import Training
from levsha.train.surroundings import Progress
from levsha.ways import REFINE

HELD_OUT = 10  # one row in so many chooses the best epoch
LEAST_ROWS = 4
BATCH = 64  # rows of a step, at most


@dataclass(frozen=True)
class Tuning:
    """How a captured model is trained on.

    epochs: passes over the rows; 0: only gains and offsets are set anew, from the calibration rows. keep: share of every layer's channels
    that is kept, above 0, up to 1. distil: share, 0..1, of the float model's answers in what is learned; the rest are the right ones.
    training: all settings but the loss, in the place of epochs and seed. normal: the sums of each layer are normalised over every batch,
    which long trainings of few bits need; what is left of it at the end is a gain and an offset of each channel.
    """

    epochs: int = 5
    keep: float = 1.0
    distil: float = 0.5
    seed: int = 0
    training: Training | None = None
    normal: bool = False

    def settings(self, rows: int = BATCH) -> Training:
        """Return the settings of the training loop; rows: that are learned from, of which a batch has no more."""
        return self.training or Training(
            epochs=max(1, self.epochs), batch=min(BATCH, rows), optimizer="adamw", rate=2e-3, schedule="cosine", warmup=0.05, seed=self.seed
        )  # fmt: skip

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.training is not None or self.epochs > 0

    def check(self) -> None:
        """Raise LevshaError for a setting out of range."""
        check_number("epochs", self.epochs, 0, 1_000_000, whole=True)
        check_number("distil", self.distil, 0.0, 1.0)
        if self.training is not None and not isinstance(self.training, Training):
            raise LevshaError(
                f"training: is of type {type(self.training).__name__}; give levsha.Training(epochs=..., rate=...), or leave it out."
            )
        self.settings().check()


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned model. captured: with the nodes as they are now, weights on their grid. pins: so that the integers are those that were
    trained. history: a line for every epoch; best_epoch: whose weights these are, 0 where none was trained, or where quantising alone is better."""

    captured: Captured
    options: Options
    pins: Pins
    history: Sequence[Mapping[str, float]] = ()
    best_epoch: int = 0

    def lower(self, classes: Sequence[str] | None = None) -> Lowered:
        """Return the integers. classes: as for Captured.lower."""
        return self.captured.lower(self.options, classes, self.pins)


def tune(
    captured: Captured,
    x: np.ndarray,
    y: np.ndarray | None,
    weights: str,
    layers: Mapping[str, str] | None = None,
    *,
    tuning: Tuning | None = None,
    folder: Path | str | None = None,
    replace_folder: bool = False,
    report: Callable[[Progress], None] | None = None,
    stream: Stream | None = None,
    observer: str = "measured",
    refine: Sequence[str] = REFINE,
) -> Tuned:
    """Return a captured model, trained on rows x (N, *shape) and right answers y as `convert` takes them, None where there are none.

    weights, layers, observer, refine: what it starts from, see `options_of`. folder: for checkpoints, see `fit`. stream: what is learned
    from instead, inputs and what the outputs should be (probabilities, of classes); all rows then choose the best epoch.
    LevshaError for settings out of range, for fewer rows than a batch has, and for a folder that holds another training.
    """
    tuning = tuning or Tuning()
    tuning.check()
    options = options_of(captured, weights, layers or {}, observer, refine)
    float_NO = captured.float_outputs(x)
    goal = None if y is None else goal_of(y, float_NO, captured.opened.title, captured.threshold)
    ends = [node.activation for node in captured.folded.nodes if node.output in captured.folded.outputs]
    lesson = lesson_of(goal, float_NO, tuning.distil, not any(isinstance(end, Function) for end in ends))
    tunable = tunable_of(captured, options, tuning.keep, lesson.unit_O, tuning.normal)
    history, best, held_out = [], 0, np.arange(len(x))
    if tuning.trains:
        learned = held_out[:0]
        if not stream:
            learned, held_out = held_out_rows(len(x), tuning.settings().seed)
        settings = replace(tuning.settings(BATCH if stream else len(learned)), loss=lesson.loss)
        fitted = fit(
            tunable, stream or lesson.arrays(x, learned), lesson.held_out(x, held_out), settings, folder=folder,
            metrics=lesson.metrics, report=report, key=f"keep {tuning.keep:g}, distil {tuning.distil:g}", replace=replace_folder,
        )  # fmt: skip
        history, best = fitted.history, fitted.best_epoch
    nodes, pins = tunable.tuned(captured.calibration)
    tuned = Tuned(replace(captured, folded=replace(captured.folded, nodes=nodes)), options, pins, history, best)
    if tuning.keep < 1.0 or not tuning.trains:
        return tuned
    goal = goal or goal_of(None, float_NO, captured.opened.title)
    return _better(tuned, captured, x[held_out], goal.part(held_out), float_NO[held_out])


def _better(tuned: Tuned, captured: Captured, x: np.ndarray, goal: Goal, float_NO: np.ndarray) -> Tuned:
    """What was trained, or what quantising alone makes, where that does better on rows that were not trained on."""
    key = "accuracy" if goal.kind == "accuracy" else "r2"

    def quality(made: Tuned) -> float:
        net = net_of(made.captured, made.lower(), None)
        return measure(real_outputs(made.captured, net, x), goal, float_NO)[key]

    reached = quality(tuned)
    if reached >= measure(float_NO, goal, float_NO)[key]:  # as good as in floats: more is chance
        return tuned
    plain = Tuned(captured, tuned.options, Pins(), tuned.history)
    return plain if quality(plain) > reached else tuned


def held_out_rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn from and those that choose the best epoch; LevshaError where there are too few."""
    if count < LEAST_ROWS:
        raise LevshaError(f"x: has {count} rows to train on; give {LEAST_ROWS} at least, or fine-tune for 0 epochs.")
    order = np.random.default_rng([9100, seed]).permutation(count)
    held_out = max(1, count // HELD_OUT)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def tunable_of(captured: Captured, options: Options, keep: float, unit_O: np.ndarray, normal: bool = False) -> Tunable:
    """Return a captured model as a module, with the share `keep` of its channels, and gains and offsets set for its rounding.

    unit_O: what its outputs are divided by, one number or one each.
    """
    start = replace(_start_of(captured, options, keep), normal=normal)
    tunable = Tunable(start, unit_O)
    tunable.adjust(captured.calibration, start.traces)
    return tunable


def _start_of(captured: Captured, options: Options, keep: float) -> Start:
    """What is tuned: the nodes that are left, what they made of the calibration data, and the steps of that."""
    folded, laid = captured.folded, captured.folded.laid(captured.calibration)
    traces = run_float(folded.nodes, {INPUT: laid})
    pruned = prune_share(folded.nodes, {INPUT: laid}, traces, tuple(folded.outputs), keep)
    traces = {node.output: pruned.trace(node, traces[node.output]) for node in pruned.nodes}
    source, inner = captured.inputs.source, requantised(pruned.nodes)
    context = settle(pruned.nodes, {INPUT: source}, {INPUT: laid}, traces, options, Pins())
    return Start(
        nodes=pruned.nodes, source=source, lay=folded.laid, outputs=tuple(folded.outputs), traces=traces,
        scales={name: scale for name, scale in context.scales.items() if name in inner}, known=context.known, weights=context.weights,
        format_of=options.format_of,
    )  # fmt: skip
