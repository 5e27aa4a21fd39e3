"""The recipe regression: numbers, or classes, from a table; a small net of it on a chip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from levsha.applications.sensor import READINGS
from levsha.data.table import Table, split_table
from levsha.data.table_file import keep_table, kept_table
from levsha.errors import LevshaError
from levsha.evidence.plots_images import draw_confusion
from levsha.evidence.plots_regression import draw_learning, draw_scatter
from levsha.evidence.table import NAME, Column, chip_columns, number
from levsha.jobs import Job, News, say
from levsha.net import Net
from levsha.recipes.base import Figure, Recipe
from levsha.recipes.explain import Explain
from levsha.recipes.pipeline import folder_of
from levsha.recipes.regression.compare import compare_optimizers
from levsha.recipes.regression.settings import INTEGER, SENSOR, Regression, loss_unit, nets_key, preset
from levsha.recipes.regression.words import describe_progress, sentences
from levsha.recipes.variant import Variant
from levsha.run import Run

FLOATS = (Variant("baseline"), SENSOR)
TYPED = 40  # test samples typed into the chip to measure it


class RegressionRecipe(Recipe[Regression, Table]):
    """A table of readings in, numbers or classes out."""

    name = "regression"
    processes = True
    split_kinds = ("split",)
    shipped = "split"
    pictures = ("learning", "scatter")

    def preset(self, name: str) -> Regression:
        return preset(name)

    def read(self, settings: Regression) -> Table:
        return settings.read()

    def check(self, settings: Regression, data: Table) -> None:
        batch = settings.train.resolved(data).batch
        count = len(split_table(len(data.x_NI), settings.seed)[0])
        if batch > count:
            raise LevshaError(
                f"--train.batch: is {batch}, but there are {count} training samples; give {count} or less, or 0 for all."
            )

    def instead(self, settings: Regression) -> Any:
        return compare_optimizers if settings.compare is not None else None

    def notices(self, data: Table) -> list[str]:
        return list(data.notices)

    def about_data(self, settings: Regression, data: Table) -> dict[str, Any]:
        about = f"{data.about} {len(data.x_NI)} samples, {len(data.features)} inputs."
        counts = {"samples": len(data.x_NI), "inputs": len(data.features), "unit": data.output_unit}
        return {"name": data.name, "about": about, "sha256": data.digest, "is_classes": data.is_classes, **counts}

    def keep(self, data: Table, folder: Path) -> None:
        keep_table(data, folder)

    def kept(self, run: Run) -> Table:
        return kept_table(run.folder)

    def variants(self, settings: Regression) -> list[Variant]:
        return [*FLOATS, INTEGER]

    def training_key(self, settings: Regression, data: Table) -> str:
        return nets_key(settings, data)

    def job(self, settings: Regression, data: Table, kind: str, seed: int) -> Job:
        return Job(f"{kind}-{seed}", train_split, (settings, data, seed), len(FLOATS) * settings.train.epochs)

    def folder(self, out: Path, kind: str, seed: int) -> Path:
        return folder_of(out, kind, seed, "training")

    def float_weights(self, run: Run, variant: str) -> Path:
        """Return those of an integer net: the ones it was lowered from."""
        folder = self.folder(run.folder, self.shipped, run.results()["seeds"][0])
        return folder / variant.removesuffix("-int8") / "model.safetensors"

    def float_about(self, run: Run, data: Table, variant: str) -> dict[str, Any]:
        from levsha.recipes.regression.net import float_about  # imports torch

        return float_about(data, run.results()["nets"], variant.removesuffix("-int8"))

    def vectors(self, data: Table, net: Net, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return readings: half of them real, the rest anywhere in each input's range, both ends among them."""
        value, rng = net.graph.inputs[READINGS], np.random.default_rng([5000, seed])
        readings = net.integers(READINGS, data.x_NI[rng.integers(0, len(data.x_NI), count)])
        odd = np.arange(count) % 2 == 1
        readings[odd] = rng.integers(value.lows, value.highs, readings.shape, endpoint=True)[odd]
        for row, extreme in zip(
            range(1, count, 2), (value.lows, value.highs, np.clip(0, value.lows, value.highs)), strict=False
        ):
            readings[row] = extreme
        return {READINGS: readings}

    def lines(self, settings: Regression, data: Table, net: Net) -> list[str]:
        test = split_table(len(data.x_NI), settings.seed)[2][:TYPED]
        return [" ".join(map(str, reading)) for reading in net.integers(READINGS, data.x_NI[test]).tolist()]

    def figures(self, data: Table) -> tuple[Figure, ...]:
        names = ("accuracy", "balanced") if data.is_classes else ("r2", "rmse")
        keys = [f"{part}_{name}" for name in names for part in ("validation", "test")]
        return tuple(Figure(key, "split", key) for key in keys)

    def columns(self, results: Mapping[str, Any]) -> tuple[Column, ...]:
        unit = f" {results['data']['unit']}" if results["data"]["unit"] else ""
        first, second = (("right %", "accuracy", ".1f"), ("balanced %", "balanced", ".1f"))
        if not results["data"]["is_classes"]:
            first, second = ("R2", "r2", ".3f"), (f"RMSE{unit}", "rmse", ".4g")
        shown = [
            number(f"{title}\n{part}", f"{part}_{key}", form)
            for title, key, form in (first, second)
            for part in ("validation", "test")
        ]
        return (NAME, *shown, *chip_columns("an answer"))

    def judged_by(self, data: Table) -> tuple[tuple[str, ...], Literal["accuracy", "r2"]]:
        return (("test_accuracy",), "accuracy") if data.is_classes else (("test_r2",), "r2")

    def choose(self, results: Mapping[str, Any]) -> str | None:
        chip = next(v for v in results["variants"] if v["name"] == INTEGER.name)
        return None if chip.get("collapse") or chip["mismatches"] else INTEGER.name

    def sentences(self, results: Mapping[str, Any]) -> list[str]:
        return sentences(results)

    def more(self, settings: Regression, data: Table, trained: Mapping[str, Any]) -> dict[str, Any]:
        shape = {"hidden": settings.hidden, "sensor_hidden": settings.sensor_hidden, "activation": settings.activation}
        return {"nets": shape | {"seed": settings.seed}}

    def draw(self, settings: Regression, data: Table, results: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        first = trained[f"{self.shipped}-{settings.seed}"]
        histories = {variant.name: first[variant.name]["history"] for variant in FLOATS}
        best = {name: first[name]["best_epoch"] for name in histories}
        draw_learning(histories, best, loss_unit(settings, data), settings.out)
        nets = ("baseline", INTEGER.name)
        answer_of, reference = (
            {name: np.array(first["scatter"][name]) for name in nets},
            np.array(first["scatter"]["reference"]),
        )
        if data.is_classes:
            captions = {name: f"{first[name]['test_accuracy']:.1f} % of the test samples right" for name in nets}
            draw_confusion(reference, answer_of, captions, data.outputs, settings.out / "scatter")
            return
        unit = f" {data.output_unit}" if data.output_unit else ""
        captions = {
            name: f"R2 {first[name]['test_r2']:.3f}, RMSE {first[name]['test_rmse']:.3g}{unit}, test" for name in nets
        }
        columns = {name: answer[:, 0] for name, answer in answer_of.items()}
        draw_scatter(reference[:, 0], columns, captions, f"{data.outputs[0]}{',' if unit else ''}{unit}", settings.out)

    def explain(self, asked: Explain) -> int:
        from levsha.recipes.regression.explain import explain_run

        return explain_run(asked)

    def next_steps(self, settings: Regression, results: Mapping[str, Any]) -> list[str]:
        out = settings.out
        return [
            f"Next: levsha explain {out}; levsha ask {out} --help; levsha predict {out} --help; levsha run regression --compare gd,sgd,adam"
        ]


RECIPE = RegressionRecipe()


def train_split(settings: Regression, table: Table, seed: int) -> dict[str, Any]:
    """Train, lower and score the nets of one split. Runs in a process of its own, or in torchrun's."""
    from levsha.recipes.regression import learn  # torch is imported only where it trains

    names = [variant.name for variant in FLOATS]

    def report(variant: str, progress: Any) -> None:
        done = names.index(variant) * settings.train.epochs + int(progress.line["epoch"])
        say(News(f"split-{seed}", done, describe_progress(variant, progress)))

    found = learn.train_split(settings, table, seed, report)
    say(News(f"split-{seed}", len(FLOATS) * settings.train.epochs, "done"))
    return found
