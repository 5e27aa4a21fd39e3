"""How optimizers get on with the same net from the same weights, over iterations and over seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from levsha.data.tables import Table
from levsha.recipes.regression.learn import metrics_of, widths
from levsha.recipes.regression.net import Prepared, build_mlp
from levsha.recipes.regression.settings import Regression
from levsha.train.fit import fit
from levsha.train.settings import Training
from levsha.train.surroundings import Progress

GD_EPOCHS = (
    4  # a pass of gradient descent is one iteration, and takes less time than a pass in batches: it gets more of them
)


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


def compare(
    settings: Regression, table: Table, name: str, report: Callable[[Progress], None]
) -> dict[str, list[float]]:
    """Train the large net with one of them; return steps, seconds and losses after every epoch."""
    prepared = Prepared(table, settings.seed)
    curve: dict[str, list[float]] = {"steps": [], "seconds": [], "loss": [], "validation_loss": []}

    def note(progress: Progress) -> None:
        curve["steps"].append(progress.line["step"])
        curve["seconds"].append(progress.seconds)
        curve["loss"].append(progress.line["loss"])
        curve["validation_loss"].append(progress.line["validation_loss"])
        report(progress)

    model = build_mlp(widths(settings, table, "baseline"), settings.activation, settings.seed)
    data, held_out = prepared.pair(prepared.train), prepared.pair(prepared.validation)
    fit(
        model,
        data,
        held_out,
        trainings(settings.train.resolved(table))[name],
        metrics=metrics_of(prepared),
        report=note,
    )
    return curve
