"""The recipe convert: a user's model as exact integers in every format asked for, measured, and on a chip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from levsha.conversion.measure import Kind
from levsha.data.samples import Samples
from levsha.errors import LevshaError
from levsha.evidence.plots_convert import draw_tradeoff
from levsha.evidence.table import NAME, Column, chip_columns, number
from levsha.jobs import Job, News, say
from levsha.recipes.bench import Bench
from levsha.recipes.captured import CapturedRecipe
from levsha.recipes.convert.read import read_bench
from levsha.recipes.convert.settings import Convert
from levsha.recipes.words import sentences
from levsha.run import Run

FIGURES: dict[Kind, tuple[str, ...]] = {"accuracy": ("accuracy", "agreement"), "r2": ("r2", "rmse", "agreement")}


class ConvertRecipe(CapturedRecipe[Convert]):
    """A model and samples in, exact integers out."""

    name = "convert"

    def preset(self, name: str) -> Convert:
        return Convert()

    def read(self, settings: Convert) -> Bench:
        return read_bench(settings)

    def about_data(self, settings: Convert, data: Bench) -> dict[str, Any]:
        samples = data.samples
        about = f"{settings.model} on {data.name}: {len(samples.x)} rows of {'x'.join(map(str, samples.x.shape[1:]))} {samples.x.dtype}."
        return {"name": data.name, "about": about, "sha256": data.digest, "samples": len(samples.x)}

    def measured(self, settings: Convert, data: Bench) -> Samples:
        return data.parts(settings.calibration_rows, bool(settings.fine_tune), settings.seed).test

    def training_key(self, settings: Convert, data: Bench) -> str:
        return settings.key(data.digest)

    def job(self, settings: Convert, data: Bench, kind: str, seed: int) -> Job:
        return Job(f"{kind}-{seed}", convert_split, (settings, data, seed), len(settings.integers) + 1)

    def float_weights(self, run: Run, variant: str) -> Path:
        return run.folder / "training" / "none"  # they are the user's own

    def float_about(self, run: Run, data: Bench, variant: str) -> dict[str, Any]:
        raise LevshaError(
            f"{run.folder}: was converted; its float weights are in {run.results()['model']}, as they were."
        )

    def columns(self, results: Mapping[str, Any]) -> tuple[Column, ...]:
        titles = {
            "accuracy": ("right %", ".2f"),
            "r2": ("R2", ".4f"),
            "rmse": ("RMSE", ".4g"),
            "agreement": ("like\nfloat %", ".2f"),
        }
        shown = [number(titles[key][0], key, titles[key][1]) for key in FIGURES[results["kind"]]]
        return (NAME, *shown, *chip_columns("an answer"))

    def sentences(self, results: Mapping[str, Any]) -> list[str]:
        return sentences(results)

    def more(self, settings: Convert, data: Bench, trained: Mapping[str, Any]) -> dict[str, Any]:
        return super().more(settings, data, trained) | {"model": settings.model}

    def draw(self, settings: Convert, data: Bench, results: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        draw_tradeoff(results["variants"], results["kind"], settings.out)

    def next_steps(self, settings: Convert, results: Mapping[str, Any]) -> list[str]:
        out = settings.out
        return [
            f"Next: levsha export {out} --to c; levsha export {out} --to onnx; levsha check {out} --target host; report.md has every layer."
        ]


RECIPE = ConvertRecipe()


def convert_split(settings: Convert, bench: Bench, seed: int) -> dict[str, Any]:
    """Convert one split. Runs in a process of its own."""
    from levsha.recipes.convert import job  # imports torch

    def report(done: int, text: str) -> None:
        say(News(f"split-{seed}", done, text))

    found = job.convert_split(settings, bench, RECIPE.variants(settings), seed, report)
    say(News(f"split-{seed}", len(settings.integers) + 1, "done"))
    return found
