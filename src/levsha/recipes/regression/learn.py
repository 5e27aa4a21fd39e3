"""One split: every net trained, lowered and scored.  Imports torch; runs in a process of its own, or in torchrun's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import nn

from levsha.data.tables import Table
from levsha.errors import LevshaError
from levsha.evidence.regression import r_squared, rmse, score_classes, score_numbers
from levsha.evidence.trivial import trivial_predictions
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.recipes.regression.integer import lower_net
from levsha.recipes.regression.net import Prepared, build_mlp, parameters
from levsha.recipes.regression.settings import INTEGER, Regression
from levsha.recipes.regression.units import Units
from levsha.store import save_graph
from levsha.train.fit import Fitted, Metrics, fit, predict
from levsha.train.log import read_log, write_tensorboard
from levsha.train.parallel import join_world
from levsha.train.surroundings import Progress

FLOATS = ("baseline", "sensor")
Say = Callable[[str, Progress], None]


def split_folder(out: Path, seed: int) -> Path:
    """Return where the nets of one split lie."""
    return out / "training" / f"split-{seed}"


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
    table, folder = prepared.table, split_folder(settings.out, prepared.seed) / variant
    model = build_mlp(widths(settings, table, variant), settings.activation, prepared.seed)
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
    prepared = Prepared(table, seed)
    writes = join_world().rank == 0
    found: dict[str, Any] = {"references": _references(prepared)}
    answers: dict[str, np.ndarray] = {}  # to draw: of the test samples
    for variant in FLOATS:
        fitted = train_net(settings, prepared, variant, say)
        scores = _scores(prepared, lambda x, m=fitted.model: _real(prepared, m, x))
        about = {"parameters": parameters(fitted.model), "best_epoch": fitted.best_epoch}
        found[variant] = about | {"weight_bytes": 4 * about["parameters"], "history": fitted.history, **scores}
        if variant == "baseline":
            answers[variant] = _real(prepared, fitted.model, table.x_NI[prepared.test])
        elif writes:
            assert isinstance(fitted.model, nn.Sequential)
            graph, units = lower_net(fitted.model, prepared)
            found[INTEGER] = _lowered(settings, prepared, graph, units) | about
            answers[INTEGER] = integer_answer(graph, units, table.x_NI[prepared.test])
    if seed == settings.seed and writes:
        found["scatter"] = _scatter(prepared, answers)
    return found


def _real(prepared: Prepared, model: nn.Module, x_NI: np.ndarray) -> np.ndarray:
    return prepared.real(predict(model, prepared.standardise(x_NI)))


def _scores(prepared: Prepared, answer: Callable[[np.ndarray], np.ndarray]) -> dict[str, dict[str, float]]:
    """How a predictor of real outputs does on validation and test samples."""
    parts = {"validation": prepared.validation, "test": prepared.test}
    return {name: score(prepared, index, answer(prepared.table.x_NI[index])) for name, index in parts.items()}


def score(prepared: Prepared, index: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    """Return the scores of outputs (N, O), or for classes of logits (N, C) or labels (N,)."""
    target = prepared.table.y_NO[index]
    if prepared.table.is_classes:
        return score_classes(target, answer if answer.ndim == 1 else answer.argmax(1))
    return score_numbers(target, answer)


def _references(prepared: Prepared) -> dict[str, dict[str, dict[str, float]]]:
    x, y = prepared.table.x_NI, prepared.table.y_NO
    found: dict[str, dict[str, dict[str, float]]] = {}
    for part, index in (("validation", prepared.validation), ("test", prepared.test)):
        for name, answer in trivial_predictions(x[prepared.train], y[prepared.train], x[index]).items():
            found.setdefault(name, {})[part] = score(prepared, index, answer)
    return found


def _lowered(settings: Regression, prepared: Prepared, graph: Graph, units: Units) -> dict[str, Any]:
    """Write the integer net of a split; return its figures."""
    path = split_folder(settings.out, prepared.seed) / f"{INTEGER}.net.safetensors"
    digest = save_graph(graph, path, {"recipe": "regression", "variant": INTEGER, "units": units.about()})
    stored = sum(
        op_bytes
        for op_bytes in (
            c.data.size * (2 if c.c_type == "int16_t" else 1) for op in graph.ops for c in op.constants().values()
        )
    )
    scores = _scores(prepared, lambda x: integer_answer(graph, units, x))
    return {"net_sha256": digest, "weight_bytes": stored, **scores}


def integer_answer(graph: Graph, units: Units, x_NI: np.ndarray) -> np.ndarray:
    """Return what the integer net makes of inputs in their units: targets in theirs (N, O), or labels (N,)."""
    values = interpret(graph, {"readings": units.readings(x_NI)})
    return values["class"][:, 0] if "class" in values else units.real(values["result"])


def _scatter(prepared: Prepared, answers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Reference and approximated targets of the test samples, by the large net and by the integer net."""
    classes = prepared.table.is_classes
    labels = {name: answer.argmax(1) if classes and answer.ndim > 1 else answer for name, answer in answers.items()}
    reference = prepared.table.y_NO[prepared.test]
    return {"reference": reference.tolist(), **{name: answer.tolist() for name, answer in labels.items()}}


def load_net(settings: Regression, prepared: Prepared, variant: str) -> nn.Sequential:
    """Return a trained net of the run; LevshaError where it is missing, damaged or another one."""
    from safetensors.torch import load_file

    model = build_mlp(widths(settings, prepared.table, variant), settings.activation, prepared.seed)
    path = split_folder(settings.out, prepared.seed) / variant / "model.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise LevshaError(
            f"{path}: cannot be read as the net of this run ({first}); make it again with levsha run regression."
        ) from None
    return model.eval()
