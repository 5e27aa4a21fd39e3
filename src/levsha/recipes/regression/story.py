"""The story of a regression run, each stage once, in order: data, train, lower, ship, draw, report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from levsha.data.tables import Table, split_table
from levsha.errors import LevshaError
from levsha.files import read_kept, write_file
from levsha.ir import Graph
from levsha.jobs import Job, News, run_here, run_jobs, say
from levsha.recipes.base import Recipe
from levsha.recipes.regression import results
from levsha.recipes.regression.compare import compare_optimizers
from levsha.recipes.regression.kept import keep_table, kept_table
from levsha.recipes.regression.report import describe_progress, draw, report, show
from levsha.recipes.regression.settings import INTEGER, Regression, nets_key, preset
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
        return check_vectors(kept_table(run), read_units(run.folder / "nets" / f"{INTEGER}.safetensors"), count, seed)

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
    settings.check()
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if together and settings.compare is not None:
        raise LevshaError(
            "--compare: trains with one optimizer after the other in one process; start it without torchrun."
        )
    find_target(settings.target)
    table = settings.read()
    settings.train.resolved(table)
    _check_batch(settings, table)
    Run(settings.out).claim("regression")
    if settings.compare is not None:
        compare_optimizers(settings, table, console)
    elif together:
        _run_together(settings, table, console, only_train)
    else:
        _run(settings, table, console, only_train)


def _run_together(settings: Regression, table: Table, console: Console, only_train: bool) -> None:
    """Run as one of torchrun's processes; number 0 writes and speaks."""
    from levsha.train.parallel import join_world, leave_world  # imports torch

    world = join_world()
    console.quiet = world.rank > 0
    try:
        _run(settings, table, console, only_train, world.rank, world.size)
    finally:
        leave_world()


def _run(settings: Regression, table: Table, console: Console, only_train: bool, rank: int = 0, size: int = 1) -> None:
    splits = _train(settings, table, console, rank, size)
    if rank == 0 and not only_train:
        _finish(settings, table, splits, console)
    elif rank == 0:
        console.print(f"Trained: {settings.out}/training. levsha run regression ships what is there.", highlight=False)


def _check_batch(settings: Regression, table: Table) -> None:
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
    run = Run(settings.out)
    with run.writing():
        _forget_others(run, nets_key(settings, table), console)
        keep_table(table, settings.out)
        found = run_here(jobs, console) if size > 1 else run_jobs(jobs, settings.jobs, console)
    return dict(zip(seeds, found, strict=True))


def _forget_others(run: Run, key: str, console: Console) -> None:
    """Remove the results of a finished run that was made from other data or settings: they would describe nets that are being replaced."""
    if (run.folder / "results.json").exists() and read_kept(run.folder / "results.json").get("nets_key") != key:
        run.forget_results()
        console.print(
            f"{run.folder}: the former results here were made with other settings or data; they are replaced.",
            highlight=False,
            soft_wrap=True,
        )


def train_split(settings: Regression, table: Table, seed: int) -> dict[str, Any]:
    """Train, lower and score the nets of one split. Runs in a process of its own, or in torchrun's."""
    from levsha.recipes.regression import learn  # torch is imported only where it trains

    def report(variant: str, progress: Any) -> None:
        done = learn.FLOATS.index(variant) * settings.train.epochs + int(progress.line["epoch"])
        say(News(f"split-{seed}", done, describe_progress(variant, progress)))

    found = learn.train_split(settings, table, seed, report)
    say(News(f"split-{seed}", NETS * settings.train.epochs, "done"))
    return found


def _finish(settings: Regression, table: Table, splits: dict[int, dict[str, Any]], console: Console) -> None:
    run = Run(settings.out)
    with run.writing():
        source = settings.out / "training" / f"split-{settings.seed}" / f"{INTEGER}.net.safetensors"
        kept = settings.out / "nets" / f"{INTEGER}.safetensors"
        if not kept.exists() or kept.read_bytes() != source.read_bytes():
            run.forget_results()  # from here on they would describe a net that is being replaced
            write_file(kept, source.read_bytes())
        with console.status("shipping") as status:
            row = ship(
                settings, table, load_graph(kept)[0], read_units(kept), INTEGER, lambda text: status.update(text)
            )
        found = results.collect(settings, table, splits, row)
        found["summary"] = results.describe(found)
        draw(settings, table, splits[settings.seed], found)
        write_file(settings.out / "report.md", report(found))
        write_file(settings.out / "results.json", json.dumps(found, indent=2) + "\n")
    show(found, settings, console)
