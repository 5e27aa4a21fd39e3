"""What a run shows of itself: its figures, report.md, and what it prints at its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console

from levsha.data.tables import Table
from levsha.evidence.plots_regression import draw_confusion, draw_learning, draw_scatter
from levsha.recipes.regression import results
from levsha.recipes.regression.settings import INTEGER, Regression


def draw(settings: Regression, table: Table, first: dict[str, Any], found: dict[str, Any]) -> None:
    """Draw the learning curves and the scatter plot of the first split."""
    histories = {name: first[name]["history"] for name in ("baseline", "sensor")}
    draw_learning(
        histories, {name: first[name]["best_epoch"] for name in histories}, loss_unit(settings, table), settings.out
    )
    nets = ("baseline", INTEGER)
    answers = {name: np.array(first["scatter"][name]) for name in nets}
    reference, unit = np.array(first["scatter"]["reference"]), f", {table.output_unit}" if table.output_unit else ""
    if table.is_classes:
        captions = {name: f"{first[name]['test']['accuracy']:.1f} % of the test samples right" for name in nets}
        draw_confusion(reference, answers, captions, table.outputs, settings.out)
        return
    captions = {
        name: f"R2 {first[name]['test']['r2']:.3f}, RMSE {first[name]['test']['rmse']:.3g}{unit.replace(',', '')}, test"
        for name in nets
    }
    columns = {name: answer[:, 0] for name, answer in answers.items()}
    draw_scatter(reference[:, 0], columns, captions, f"{table.outputs[0]}{unit}", settings.out)


def loss_unit(settings: Regression, table: Table) -> str:
    """Return the name of the loss with what it is measured in."""
    name = settings.train.resolved(table).loss
    return {"cross_entropy": "cross-entropy, nats", "mse": "MSE of the standardised target"}.get(
        name, name.replace("_", " ")
    )


def report(found: dict[str, Any]) -> str:
    """Return the run as Markdown."""
    data = found["data"]
    lines = [
        f"# regression on {data['name']}, preset {found['preset']}", "", f"{data['about']} {data['samples']} samples, {data['inputs']} inputs.",
        f"Split seeds {', '.join(map(str, found['seeds']))}; figures are means over them. The nets of the first split are drawn and shipped.", "",
        results.markdown_table(found), found["summary"], "", "![learning](learning.png)", "![reference against approximated](scatter.png)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def show(found: dict[str, Any], settings: Regression, console: Console) -> None:
    """Print the table, the paragraph and what to do next."""
    for table in results.rich_tables(found, console.width):
        console.print(table)
    console.print(f"{found['summary']}\n", highlight=False)
    console.print(
        f"Everything is in {settings.out}: results.json, report.md, learning.png, scatter.png, training, nets, firmware, certificates.",
        highlight=False,
    )
    console.print(
        f"Next: levsha explain {settings.out}; levsha ask {settings.out} --help; levsha run regression --compare gd,sgd,adam",
        highlight=False,
    )


def describe_progress(name: str, progress: Any) -> str:
    """Return a line on how far a training is: stage, two spaces, figures."""
    line = progress.line
    figure = (
        f"R2 {line['r2']:.3f}"
        if "r2" in line
        else f"right {line['accuracy']:.1f} %"
        if "accuracy" in line
        else f"validation {line['validation_loss']:.3f}"
    )
    return f"{name}  {int(line['epoch'])}/{progress.epochs}  loss {line['loss']:.4f}  {figure}  {progress.samples_a_second / 1000:.0f}k samples/s"
