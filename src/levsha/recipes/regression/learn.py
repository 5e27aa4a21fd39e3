"""One split: every net trained, lowered and scored.  Imports torch; runs in a process of its own, or in torchrun's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from levsha.applications.sensor import READINGS, Sensor
from levsha.data.table import Table
from levsha.errors import LevshaError
from levsha.evidence.regression import r_squared, rmse, score_classes, score_numbers
from levsha.evidence.trivial import trivial_predictions
from levsha.formats import loss_verdict
from levsha.interpret import interpret
from levsha.ir import constant_bytes
from levsha.lower import Lowered, diagnose
from levsha.net import Net
from levsha.recipes.pipeline import folder_of
from levsha.recipes.regression.integer import lower_net
from levsha.recipes.regression.net import Prepared, build_mlp, parameters
from levsha.recipes.regression.settings import INTEGER, SENSOR, Regression
from levsha.train.fit import Fitted, Metrics, fit, predict
from levsha.train.log import read_log, write_tensorboard
from levsha.train.parallel import join_world
from levsha.train.surroundings import Progress

Say = Callable[[str, Progress], None]


def widths(settings: Regression, table: Table, variant: str) -> list[int]:
    """Return the sizes of a net's layers, inputs and outputs included."""
    hidden = settings.hidden if variant == "baseline" else settings.sensor_hidden
    return [table.x_NI.shape[1], *hidden, len(table.outputs)]


def metrics_of(prepared: Prepared) -> Metrics:
    """Return the recipe's metrics of outputs and targets, in the target's unit."""
    if prepared.table.is_classes:
        return {"accuracy": lambda output, target: 100 * float((output.argmax(1) == target).float().mean())}
    real = prepared.real
    return {"r2": lambda o, t: r_squared(real(t), real(o)), "rmse": lambda o, t: rmse(real(t), real(o))}


def train_net(settings: Regression, prepared: Prepared, variant: str, say: Say | None = None) -> Fitted:
    """Train a net, or go on where it was; a finished one is read."""
    table, folder = prepared.table, folder_of(settings.out, "split", prepared.seed, "training") / variant
    model = build_mlp(widths(settings, table, variant), settings.activation, prepared.seed, prepared.x.constant_C)
    report = (lambda progress: say(variant, progress)) if say else None
    try:
        fitted = fit(
            model, prepared.pair(prepared.train), prepared.pair(prepared.validation), settings.train.resolved(table), folder=folder,
            metrics=metrics_of(prepared), report=report, key=f"{table.digest} {prepared.seed}", replace=True,
        )  # fmt: skip
    except LevshaError as error:
        raise LevshaError(f"split-{prepared.seed} {variant}: {error}") from None
    if settings.log == "tensorboard" and join_world().rank == 0:
        write_tensorboard(read_log(folder / "metrics.jsonl"), folder / "tensorboard")
    return fitted


def train_split(settings: Regression, table: Table, seed: int, say: Say) -> dict[str, Any]:
    """Train, lower and score every net of a split; return the figures by variant, and those of the trivial predictors."""
    prepared, writes = Prepared(table, seed), join_world().rank == 0
    found: dict[str, Any] = {"references": _references(prepared)}
    answers: dict[str, np.ndarray] = {}  # to draw: of the test samples
    for name in ("baseline", SENSOR.name):
        fitted = train_net(settings, prepared, name, say)
        size = parameters(fitted.model)
        about = {
            "parameters": size,
            "weight_bytes": 4 * size,
            "best_epoch": fitted.best_epoch,
            "history": fitted.history,
        }
        found[name] = about | _scores(prepared, lambda x, m=fitted.model: _real(prepared, m, x))
        answers[name] = _real(prepared, fitted.model, table.x_NI[prepared.test])
    if writes:
        assert isinstance(fitted.model, nn.Sequential)
        made, answers[INTEGER.name] = _lowered(settings, prepared, fitted.model, found[SENSOR.name])
        found[INTEGER.name] = made | {"parameters": size, "best_epoch": fitted.best_epoch}
    if seed == settings.seed and writes:
        found["scatter"] = _scatter(prepared, answers)
    return found


def _real(prepared: Prepared, model: nn.Module, x_NI: np.ndarray) -> np.ndarray:
    return prepared.real(predict(model, prepared.standardise(x_NI)))


def _scores(prepared: Prepared, answer: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """How a predictor of real outputs does on validation and test samples."""
    parts = {"validation": prepared.validation, "test": prepared.test}
    return {
        f"{part}_{key}": figure
        for part, index in parts.items()
        for key, figure in score(prepared, index, answer(prepared.table.x_NI[index])).items()
    }


def score(prepared: Prepared, index: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    """Return the scores of outputs (N, O), or for classes of logits (N, C) or labels (N,)."""
    target = prepared.table.y_NO[index]
    if prepared.table.is_classes:
        return score_classes(target, answer if answer.ndim == 1 else answer.argmax(1))
    return score_numbers(target, answer)


def _references(prepared: Prepared) -> dict[str, dict[str, float]]:
    x, y = prepared.table.x_NI, prepared.table.y_NO
    found: dict[str, dict[str, float]] = {}
    for part, index in (("validation", prepared.validation), ("test", prepared.test)):
        for name, answer in trivial_predictions(x[prepared.train], y[prepared.train], x[index]).items():
            found.setdefault(name, {}).update({f"{part}_{k}": v for k, v in score(prepared, index, answer).items()})
    return found


def _lowered(
    settings: Regression, prepared: Prepared, model: nn.Sequential, source: dict[str, Any]
) -> tuple[dict[str, Any], np.ndarray]:
    """Write the integer net of a split; return its figures, and its answers to the test samples."""
    lowered, meaning = lower_net(model, prepared)
    net = Net(lowered.graph, meaning, Sensor(meaning), f"regression {INTEGER.name}: {prepared.table.name}")
    folder = folder_of(settings.out, "split", prepared.seed, "training")
    digest = net.save(folder / f"{INTEGER.name}.net.safetensors", {"recipe": "regression", "variant": INTEGER.name})
    scores = _scores(prepared, lambda x: integer_answer(net, x))
    found: dict[str, Any] = {"net_sha256": digest, "weight_bytes": constant_bytes(net.graph), **scores}
    found |= {"rounding": list(lowered.findings)}
    found |= _finding(settings, prepared, lowered, source, scores)
    return found, integer_answer(net, prepared.table.x_NI[prepared.test])


def _finding(
    settings: Regression, prepared: Prepared, lowered: Lowered, source: dict[str, Any], scores: dict[str, float]
) -> dict[str, str]:
    """Which layer and what cause cost most, where the integer net is much worse than its float source."""
    kind = "accuracy" if prepared.table.is_classes else "r2"
    key, weights = f"test_{kind}", INTEGER.format
    assert weights
    if loss_verdict(source[key], scores[key], weights, kind, settings.margin(kind)):
        return {}
    x = {READINGS: torch.from_numpy(prepared.table.x_NI[prepared.test])}
    found = diagnose(lowered, x, lambda output: score(prepared, prepared.test, output)[kind], kind.replace("r2", "R2"))
    return {"finding": found.sentence} if found else {}


def integer_answer(net: Net, x_NI: np.ndarray) -> np.ndarray:
    """Return what the integer net makes of inputs in their units: targets in theirs (N, O), or labels (N,)."""
    output = net.graph.outputs[0]
    values = interpret(net.graph, {READINGS: net.integers(READINGS, x_NI)})
    return values[output][:, 0] if output in net.meaning.classes else net.meaning.to_real(output, values[output])


def _scatter(prepared: Prepared, answers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Reference and approximated targets of the test samples, by the large net and by the integer net."""
    classes = prepared.table.is_classes
    labels = {name: answer.argmax(1) if classes and answer.ndim > 1 else answer for name, answer in answers.items()}
    reference = prepared.table.y_NO[prepared.test]
    return {"reference": reference.tolist(), **{name: answer.tolist() for name, answer in labels.items()}}


def load_net(settings: Regression, prepared: Prepared, variant: str) -> nn.Sequential:
    """Return a trained net of the run; LevshaError where it is missing, damaged or another one."""
    from safetensors.torch import load_file

    shape = widths(settings, prepared.table, variant)
    model = build_mlp(shape, settings.activation, prepared.seed, prepared.x.constant_C)
    path = folder_of(settings.out, "split", prepared.seed, "training") / variant / "model.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise LevshaError(
            f"{path}: cannot be read as the net of this run ({first}); make it again with levsha run regression."
        ) from None
    return model.eval()
