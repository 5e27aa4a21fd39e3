"""The recipe convert: a user's model as exact integers in every format asked for, measured, and on a chip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from levsha.conversion.measure import Kind
from levsha.errors import LevshaError
from levsha.evidence.check_net import draw_vectors
from levsha.evidence.plots_convert import draw_tradeoff
from levsha.evidence.table import NAME, Column, chip_columns, number
from levsha.formats import FORMATS
from levsha.jobs import Job, News, say
from levsha.net import Net
from levsha.recipes.base import Figure, Recipe
from levsha.recipes.convert.bench import Bench, keep_bench, kept_bench, read_bench
from levsha.recipes.convert.deliver import deliver, profile, say_onnx
from levsha.recipes.convert.settings import FLOAT, Convert
from levsha.recipes.convert.words import layer_table, sensitivity_table, sentences
from levsha.recipes.pipeline import folder_of
from levsha.recipes.variant import Variant
from levsha.run import Run
from levsha.targets import find_target

FIGURES: dict[Kind, tuple[str, ...]] = {"accuracy": ("accuracy", "agreement"), "r2": ("r2", "rmse", "agreement")}
TYPED_NUMBERS = 4000  # typed into a chip to measure it, in lines of as many as the input has


class ConvertRecipe(Recipe[Convert, Bench]):
    """A model and samples in, exact integers out."""

    name = "convert"
    split_kinds = ("split",)
    shipped = "split"
    pictures = ("tradeoff",)
    also = ("exports",)

    def preset(self, name: str) -> Convert:
        return Convert()

    def read(self, settings: Convert) -> Bench:
        return read_bench(settings)

    def notices(self, data: Bench) -> list[str]:
        return list(data.samples.notices)

    def about_data(self, settings: Convert, data: Bench) -> dict[str, Any]:
        samples = data.samples
        about = f"{settings.model} on {data.name}: {len(samples.x)} rows of {'x'.join(map(str, samples.x.shape[1:]))} {samples.x.dtype}."
        return {"name": data.name, "about": about, "sha256": data.digest, "samples": len(samples.x)}

    def keep(self, data: Bench, folder: Path) -> None:
        keep_bench(data, folder)

    def kept(self, run: Run) -> Bench:
        return kept_bench(run.folder)

    def variants(self, settings: Convert) -> list[Variant]:
        return [Variant(FLOAT), *(Variant(FLOAT, FORMATS[name]) for name in settings.weights)]

    def training_key(self, settings: Convert, data: Bench) -> str:
        return settings.key(data.digest)

    def job(self, settings: Convert, data: Bench, kind: str, seed: int) -> Job:
        return Job(f"{kind}-{seed}", convert_split, (settings, data, seed), len(settings.weights) + 1)

    def folder(self, out: Path, kind: str, seed: int) -> Path:
        return folder_of(out, kind, seed, "training")

    def float_weights(self, run: Run, variant: str) -> Path:
        return run.folder / "training" / "none"  # they are the user's own

    def float_about(self, run: Run, data: Bench, variant: str) -> dict[str, Any]:
        raise LevshaError(
            f"{run.folder}: was converted; its float weights are in {run.results()['model']}, as they were."
        )

    def vectors(self, data: Bench, net: Net, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return inputs: every other one real, the rest anywhere in their ranges."""
        found = draw_vectors(net.graph, count, seed)
        ((name, x),) = found.items()
        rows = np.random.default_rng([7100, seed]).integers(0, len(data.samples.x), count)
        layout = net.meaning.layouts[name]
        real = net.integers(name, layout.lay(data.samples.x[rows])).reshape(x.shape)
        odd = np.arange(count) % 2 == 1
        return {name: np.where(odd.reshape(-1, *[1] * (x.ndim - 1)), real, x)}

    def lines(self, settings: Convert, data: Bench, net: Net) -> list[str]:
        ((name, value),) = net.graph.inputs.items()
        rows = data.samples.x[: max(3, min(40, TYPED_NUMBERS // value.size))]
        return [
            " ".join(map(str, row.ravel().tolist())) for row in net.integers(name, net.meaning.layouts[name].lay(rows))
        ]

    def figures(self, data: Bench) -> tuple[Figure, ...]:
        return tuple(Figure(key, "split", key) for key in ("accuracy", "r2", "rmse", "agreement", "error_rms"))

    def columns(self, results: Mapping[str, Any]) -> tuple[Column, ...]:
        titles = {
            "accuracy": ("right %", ".2f"),
            "r2": ("R2", ".4f"),
            "rmse": ("RMSE", ".4g"),
            "agreement": ("like\nfloat %", ".2f"),
        }
        shown = [number(titles[key][0], key, titles[key][1]) for key in FIGURES[results["kind"]]]
        return (NAME, *shown, *chip_columns("an answer"))

    def judged_by(self, data: Bench) -> tuple[tuple[str, ...], Literal["accuracy", "r2"]]:
        return (("accuracy",), "accuracy") if data.samples.is_classes else (("r2",), "r2")

    def choose(self, results: Mapping[str, Any]) -> str | None:
        """Return the smallest variant that fits and is about as good as the best that does."""
        ready = [
            v for v in results["variants"] if v["format"] != "float32" and not v.get("collapse") and not v["mismatches"]
        ]
        fitting = [v for v in ready if v["fits"] is not False] or ready
        key, near = ("accuracy", 1.0) if results["kind"] == "accuracy" else ("r2", 0.01)
        best = max((v[key] for v in fitting), default=0.0)
        return (
            min((v for v in fitting if v[key] >= best - near), key=lambda v: v["weight_bytes"])["name"]
            if fitting
            else None
        )

    def sentences(self, results: Mapping[str, Any]) -> list[str]:
        return sentences(results)

    def more(self, settings: Convert, data: Bench, trained: Mapping[str, Any]) -> dict[str, Any]:
        first = trained[f"{self.shipped}-{settings.seed}"]
        layers = {v.name: first[v.name]["layers"] for v in self.variants(settings) if v.format}
        return {key: first[key] for key in ("capture", "sensitivity", "kind")} | {
            "layers": layers,
            "model": settings.model,
        }

    def deliver(self, settings: Convert, data: Bench, run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write every net in every form, and compare the ONNX files on all rows that measure."""
        test = data.parts(settings, settings.seed).test
        variants = []
        for variant in results["variants"]:
            made = variant["format"] != "float32"
            variants.append(
                variant | (deliver(run.net(variant["name"]), variant["name"], settings.out, test) if made else {})
            )
        layers = dict(results["layers"])
        best = next((v for v in variants if v["name"] == results["recommended"] and v["fits"]), None)
        if best:
            layers[best["name"]] = profile(
                run.net(best["name"]), find_target(settings.target), layers[best["name"]], test
            )
        return {"variants": variants, "layers": layers, "summary": f"{results['summary']} {say_onnx(variants)}".strip()}

    def draw(self, settings: Convert, data: Bench, results: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        draw_tradeoff(results["variants"], results["kind"], settings.out)

    def examples(self, results: Mapping[str, Any]) -> str:
        chosen = results["recommended"] or next(iter(results["layers"]), None)
        parts = [*(f"- {notice}" for notice in results["capture"]["notices"]), ""]
        parts += [f"Layers of {chosen}:", "", layer_table(results["layers"][chosen]), ""] if chosen else []
        return "\n".join([*parts, sensitivity_table(results["sensitivity"], results["kind"])])

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
    say(News(f"split-{seed}", len(settings.weights) + 1, "done"))
    return found
