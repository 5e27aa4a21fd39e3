"""The story of a regression run, each stage once, in order: data, train, lower, ship, draw, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from levsha.data.tables import Table
from levsha.errors import LevshaError
from levsha.evidence.plots_regression import draw_comparison, draw_confusion, draw_learning, draw_scatter
from levsha.files import write_file
from levsha.ir import Graph
from levsha.jobs import Job, News, run_here, run_jobs, say
from levsha.recipes.base import Recipe
from levsha.recipes.regression import results
from levsha.recipes.regression.kept import keep_table, kept_table, settings_of
from levsha.recipes.regression.settings import Regression, preset
from levsha.recipes.regression.ship import check_vectors, ship
from levsha.recipes.regression.units import Units
from levsha.run import Run
from levsha.store import load_graph
from levsha.targets import find_target
from levsha.targets.uno import Firmware
from levsha.targets.uno.sensor import load_sensor

NETS = 2  # float nets that are trained a split


class RegressionRecipe(Recipe):
    """Numbers, or classes, from a table."""

    name = "regression"
    processes = True

    def preset(self, name: str) -> Regression:
        """Return the settings of a preset."""
        return preset(name)

    def run(self, settings: Regression, console: Console, only_train: bool = False) -> None:
        """Go from a table to a sensor model and its figures, or only compare optimizers."""
        run_regression(settings, console, only_train)

    def vectors(self, run: Run, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return readings: half of them the run's own, half anywhere in the range."""
        return check_vectors(kept_table(run), read_units(run.folder / "nets" / "sensor-int8.safetensors"), count, seed)

    def load_firmware(self, elf: Path, graph: Graph) -> Firmware:
        """Return a sensor firmware."""
        return load_sensor(elf, graph)

    def float_weights(self, run: Run, variant: str) -> Path:
        """Return the weights of the first split; those of an integer net are the ones it was lowered from."""
        return (
            run.folder
            / "training"
            / f"split-{run.results()['seeds'][0]}"
            / variant.removesuffix("-int8")
            / "model.safetensors"
        )

    def export_float(self, source: Path, path: Path, to: str) -> None:
        """Write a state_dict for torch or numpy."""
        from levsha.train.files import export_state_dict  # imports torch

        export_state_dict(source, path, to)


RECIPE = RegressionRecipe()


def read_units(path: Path) -> Units:
    """Return the meaning of an integer net's readings and result; LevshaError where the file holds none."""
    about = load_graph(path)[1]
    if "units" not in about:
        raise LevshaError(f"{path}: says nothing of units; make it again with levsha run regression.")
    return Units(**about["units"])


def run_regression(settings: Regression, console: Console, only_train: bool = False) -> None:
    """Run the recipe from its data to its table; what an earlier run of the same settings finished is not made again."""
    from levsha.train.parallel import ALONE, asked_for, join_world, leave_world  # imports torch

    settings.check()
    find_target(settings.target)
    table = settings.read()
    _check_batch(settings, table)
    world = join_world() if asked_for() else ALONE
    console.quiet = world.rank > 0
    try:
        if settings.compare is not None:
            compare_optimizers(settings, table, console)
            return
        splits = _train(settings, table, console, world.rank, world.size)
        if world.rank == 0 and not only_train:
            _finish(settings, table, splits, console)
        elif world.rank == 0:
            console.print(
                f"Trained: {settings.out}/training. levsha run regression ships what is there.", highlight=False
            )
    finally:
        leave_world()


def _check_batch(settings: Regression, table: Table) -> None:
    from levsha.data.tables import split_table

    count = len(split_table(len(table.x_NI), settings.seed)[0])
    if settings.train.batch > count:
        raise LevshaError(
            f"--train.batch: is {settings.train.batch}, but there are {count} training samples; give {count} or less, or 0 for all."
        )


def _train(settings: Regression, table: Table, console: Console, rank: int, size: int) -> dict[int, dict[str, Any]]:
    """Train every split: side by side, or, under torchrun, one after the other with all processes at work on each."""
    seeds = range(settings.seed, settings.seed + settings.splits)
    jobs = [Job(f"split-{seed}", train_split, (settings, table, seed), NETS * settings.train.epochs) for seed in seeds]
    if rank:
        return dict(zip(seeds, run_here(jobs, console), strict=True))
    with Run(settings.out).writing():
        keep_table(table, settings.out)
        found = run_here(jobs, console) if size > 1 else run_jobs(jobs, settings.jobs, console)
    return dict(zip(seeds, found, strict=True))


def train_split(settings: Regression, table: Table, seed: int) -> dict[str, Any]:
    """Train, lower and score the nets of one split. Runs in a process of its own, or in torchrun's."""
    from levsha.recipes.regression import learn  # torch is imported only where it trains

    def report(variant: str, progress: Any) -> None:
        done = learn.FLOATS.index(variant) * settings.train.epochs + int(progress.line["epoch"])
        say(News(f"split-{seed}", done, _news(variant, progress)))

    found = learn.train_split(settings, table, seed, report)
    say(News(f"split-{seed}", NETS * settings.train.epochs, "done"))
    return found


def _news(name: str, progress: Any) -> str:
    line = progress.line
    figure = (
        f"R2 {line['r2']:.3f}"
        if "r2" in line
        else f"right {line['accuracy']:.1f} %"
        if "accuracy" in line
        else f"validation {line['validation_loss']:.3f}"
    )
    return f"{name}  {int(line['epoch'])}/{progress.epochs}  loss {line['loss']:.4f}  {figure}  {progress.samples_a_second / 1000:.0f}k samples/s"


def _finish(settings: Regression, table: Table, splits: dict[int, dict[str, Any]], console: Console) -> None:
    run = Run(settings.out)
    with run.writing():
        source = settings.out / "training" / f"split-{settings.seed}" / "sensor-int8.net.safetensors"
        kept = settings.out / "nets" / "sensor-int8.safetensors"
        if not kept.exists() or kept.read_bytes() != source.read_bytes():
            run.forget_results()  # from here on they would describe a net that is being replaced
            write_file(kept, source.read_bytes())
        with console.status("shipping") as status:
            row = ship(
                settings, table, load_graph(kept)[0], read_units(kept), "sensor-int8", lambda text: status.update(text)
            )
        found = results.collect(settings, table, splits, row)
        found["summary"] = results.describe(found)
        draw(settings, table, splits[settings.seed], found)
        write_file(settings.out / "report.md", report(found))
        write_file(settings.out / "results.json", json.dumps(found, indent=2) + "\n")
    show(found, settings, console)


def draw(settings: Regression, table: Table, first: dict[str, Any], found: dict[str, Any]) -> None:
    """Draw the learning curves and the scatter plot of the first split."""
    histories = {name: first[name]["history"] for name in ("baseline", "sensor")}
    draw_learning(
        histories, {name: first[name]["best_epoch"] for name in histories}, loss_unit(settings, table), settings.out
    )
    nets = ("baseline", "sensor-int8")
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


def compare_optimizers(settings: Regression, table: Table, console: Console) -> None:
    """Train one net with each optimizer in turn, draw validation loss over iterations and over seconds, and print where each ended."""
    jobs = [Job(name, _compare_one, (settings, table, name), 1) for name in settings.compared()]
    with Run(settings.out).writing():
        curves = dict(zip(settings.compared(), run_here(jobs, console), strict=True))
        draw_comparison(curves, loss_unit(settings, table), settings.out)
        write_file(settings.out / "compare.json", json.dumps(curves) + "\n")
    for name, curve in curves.items():
        best = min(curve["validation_loss"])
        at = curve["validation_loss"].index(best)
        console.print(
            f"{name:<10} {int(curve['steps'][-1]):>7} iterations {curve['seconds'][-1]:>7.1f} s   best validation loss {best:.4f} "
            f"after {int(curve['steps'][at])} iterations, {curve['seconds'][at]:.1f} s", highlight=False,
        )  # fmt: skip
    console.print(f"\nDrawn: {settings.out / 'compare.png'}", highlight=False)


def _compare_one(settings: Regression, table: Table, name: str) -> dict[str, list[float]]:
    from levsha.recipes.regression.compare import compare  # imports torch

    return compare(
        settings,
        table,
        name,
        lambda progress: say(News(name, int(progress.line["epoch"] == progress.epochs), _news(name, progress))),
    )


__all__ = ["RECIPE", "run_regression", "settings_of"]
