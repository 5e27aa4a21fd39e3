"""How optimizers get on with the same net from the same weights, over iterations and over seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from levsha.data.table import Table
from levsha.evidence.plots_regression import draw_comparison
from levsha.files import read_kept, write_file
from levsha.jobs import Job, News, run_here, say
from levsha.recipes.regression.settings import Regression, key_of, loss_unit
from levsha.recipes.regression.words import describe_progress
from levsha.run import Run
from levsha.train.settings import Training

GD_EPOCHS = (
    4  # a pass of gradient descent is one iteration, and takes less time than one in batches: it gets more of them
)
COMPARE_VERSION = 1  # raise it when a curve would come out differently from the same settings


def trainings(training: Training) -> dict[str, Training]:
    """Return what each name of --compare stands for; the rates are those that suit a standardised table."""
    plain = replace(
        training,
        schedule="constant",
        weight_decay=0.0,
        keep="last",
        patience=0,
        momentum=0.0,
        nesterov=False,
        centered=False,
    )
    return {
        "gd": replace(plain, optimizer="sgd", batch=0, rate=0.03, epochs=GD_EPOCHS * plain.epochs),
        "sgd": replace(plain, optimizer="sgd", rate=0.05),
        "momentum": replace(plain, optimizer="sgd", momentum=0.9, rate=0.01),
        "rmsprop": replace(plain, optimizer="rmsprop", rate=3e-4),
        "adam": replace(plain, optimizer="adam", rate=1e-3),
        "adamw": replace(plain, optimizer="adamw", rate=1e-3, weight_decay=0.01),
    }


def compare_optimizers(settings: Regression, table: Table, console: Console) -> None:
    """Train one net with each optimizer in turn, draw validation loss over iterations and over seconds, and print where each ended."""
    path, named = settings.out / "compare.json", settings.compared()
    by_name = trainings(settings.train.resolved(table))
    keys = {name: _key(settings, table, training) for name, training in by_name.items()}
    with Run(settings.out).writing():
        found = {name: curve for name, curve in read_kept(path).items() if _is_of(curve, keys.get(name))}
        done = [name for name in named if name in found]

        def make(name: str) -> None:
            found[name] = {"key": keys[name], **_train(settings, table, by_name[name], _reporter(name))}
            write_file(path, json.dumps(found) + "\n")

        run_here([Job(name, make, (name,), by_name[name].epochs) for name in named if name not in found], console)
        found = {name: found[name] for name in (*named, *found)}  # in the order asked for
        write_file(path, json.dumps(found) + "\n")
        curves = {name: found[name] for name in named}
        draw_comparison(curves, loss_unit(settings, table), settings.out)
    if done:
        console.print(f"Finished before by the same settings, and read: {', '.join(done)}", highlight=False)
    _show(curves, console)
    console.print(f"\nDrawn: {settings.out / 'compare.png'}", highlight=False)


def _key(settings: Regression, table: Table, training: Training) -> str:
    about = asdict(training)
    del about["checkpoint_seconds"]
    return key_of(COMPARE_VERSION, table.digest, settings.hidden, settings.activation, settings.seed, about)


def _is_of(curve: Any, key: str | None) -> bool:
    return isinstance(curve, dict) and key is not None and curve.get("key") == key


def _show(curves: dict[str, dict[str, Any]], console: Console) -> None:
    for name, curve in curves.items():
        best = min(curve["validation_loss"])
        at = curve["validation_loss"].index(best)
        console.print(
            f"{name:<10} {int(curve['steps'][-1]):>7} iterations {curve['seconds'][-1]:>7.1f} s   best validation loss {best:.4f} "
            f"after {int(curve['steps'][at])} iterations, {curve['seconds'][at]:.1f} s", highlight=False,
        )  # fmt: skip


def _reporter(name: str) -> Callable[[Any], None]:
    return lambda progress: say(News(name, int(progress.line["epoch"]), describe_progress(name, progress)))


def _train(
    settings: Regression, table: Table, training: Training, report: Callable[[Any], None]
) -> dict[str, list[float]]:
    """Train the large net; return steps, seconds and losses after every epoch."""
    from levsha.recipes.regression.learn import metrics_of, widths  # imports torch
    from levsha.recipes.regression.net import Prepared, build_mlp
    from levsha.train.fit import fit

    prepared = Prepared(table, settings.seed)
    curve: dict[str, list[float]] = {"steps": [], "seconds": [], "loss": [], "validation_loss": []}

    def note(progress: Any) -> None:
        curve["steps"].append(progress.line["step"])
        curve["seconds"].append(progress.seconds)
        curve["loss"].append(progress.line["loss"])
        curve["validation_loss"].append(progress.line["validation_loss"])
        report(progress)

    model = build_mlp(widths(settings, table, "baseline"), settings.activation, settings.seed)
    data, held_out = prepared.pair(prepared.train), prepared.pair(prepared.validation)
    fit(model, data, held_out, training, metrics=metrics_of(prepared), report=note)
    return curve
