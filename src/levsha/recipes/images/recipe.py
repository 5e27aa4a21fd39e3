"""The recipe images: a small net on pictures, trained, quantised, compared; integers of it on a chip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.samples import Samples
from levsha.evidence.interval import wilson
from levsha.evidence.plots_images import draw_bits, draw_confusion, draw_page, show_of
from levsha.evidence.table import Column
from levsha.formats import FORMATS
from levsha.formats.by_layer import formats_of
from levsha.jobs import Job, News, say
from levsha.recipes.base import Figure
from levsha.recipes.bench import Bench
from levsha.recipes.captured import CapturedRecipe
from levsha.recipes.conversion import FLOAT
from levsha.recipes.explain import Explain
from levsha.recipes.images.data import read_images
from levsha.recipes.images.settings import Images, preset
from levsha.recipes.images.words import columns, notes, sentences
from levsha.run import Run

SHOWN = 30  # images of either kind on the page, at most
METRICS = ("accuracy", "agreement", "error_rms", "margin", "answered", "answered_right")


class ImagesRecipe(CapturedRecipe[Images]):
    """Images in, the class out."""

    name = "images"
    pictures = ("bits", "confusion", "decisions")

    def preset(self, name: str) -> Images:
        return preset(name)

    def read(self, settings: Images) -> Bench:
        return read_images(settings)

    def check(self, settings: Images, data: Bench) -> None:
        formats_of(settings.shape(data).layers, {pattern: FORMATS[name] for pattern, name in settings.layers.items()})

    def about_data(self, settings: Images, data: Bench) -> dict[str, Any]:
        train, test = data.samples, self.measured(settings, data)
        _, channels, rows, columns = train.x.shape
        about = f"{train.about} {len(train)} images of {channels} x {rows} x {columns} to train on, {len(test)} to test on; {settings.shape(data).describe()}."
        return {"name": data.name, "about": about, "sha256": data.digest, "samples": len(train), "tested": len(test)}

    def measured(self, settings: Images, data: Bench) -> Samples:
        assert data.test is not None
        return data.test

    def training_key(self, settings: Images, data: Bench) -> str:
        return settings.key(data)

    def job(self, settings: Images, data: Bench, kind: str, seed: int) -> Job:
        return Job(f"{kind}-{seed}", train_split, (settings, data, seed), _steps(settings))

    def float_weights(self, run: Run, variant: str) -> Path:
        """Return those of the float net, which all variants come from."""
        return self.folder(run.folder, self.shipped, run.results()["seeds"][0]) / f"{FLOAT}.safetensors"

    def float_about(self, run: Run, data: Bench, variant: str) -> dict[str, Any]:
        results = run.results()
        classes, net = results["net"]["classes"], results["net"]["layers"]
        return {
            "variant": FLOAT, "about": results["data"]["about"], "inputs": "pixels 0..255, (N, channels, rows, columns)", "classes": classes,
            "layers": f"{net}; convolutions of 3x3 without padding, ReLU behind each layer but the last; the largest output names the class",
        }  # fmt: skip

    def figures(self, data: Bench) -> tuple[Figure, ...]:
        return tuple(Figure(key, "split", key) for key in METRICS)

    def columns(self, results: Mapping[str, Any]) -> tuple[Column, ...]:
        return columns()

    def sentences(self, results: Mapping[str, Any]) -> list[str]:
        return sentences(results)

    def more(self, settings: Images, data: Bench, trained: Mapping[str, Any]) -> dict[str, Any]:
        shape, samples = settings.shape(data), data.samples
        classes = samples.classes or tuple(str(k) for k in range(shape.widths[-1]))
        net = {"kind": settings.kind, "layers": shape.describe(), "classes": list(classes), "image": list(shape.image)}
        settings_of = {
            "channels": list(settings.channels),
            "hidden": list(shape.widths[:-1]),
            "pool": list(settings.pool),
        }
        return super().more(settings, data, trained) | {"net": net | settings_of}

    def deliver(self, settings: Images, data: Bench, run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
        """Add to what every conversion leaves the files' sizes, the intervals and the time an image takes."""
        from levsha.recipes.images.weigh import machine, sizes, speeds  # imports torch

        found, tested = super().deliver(settings, data, run, results), self.measured(settings, data)
        bytes_of, (us, how) = sizes(run, settings, data), speeds(run, settings, data)
        variants = []
        for variant in found["variants"]:
            name, weights = variant["name"], FORMATS.get(variant["format"])
            low, high = wilson(variant["accuracy"] / 100, len(tested))
            own = {"kb": bytes_of[name] / 1024, "ratio": bytes_of[FLOAT] / bytes_of[name], "us": us[name]}
            if "margin_each" in variant:  # a mean would be the margin of no net: this is that of the one that ships
                own["margin"] = variant["margin_each"][0]
            variants.append(
                variant
                | own
                | {
                    "bits": weights.bits if weights else variant.get("bits", 32),
                    "accuracy_interval": [100 * low, 100 * high],
                }
            )
        return _top(variants) | found | {"variants": variants, "notes": notes(variants, len(tested), machine(), how)}

    def draw(self, settings: Images, data: Bench, results: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        first, test = trained[f"{self.shipped}-{settings.seed}"], self.measured(settings, data)
        assert test.y is not None
        draw_bits(results["variants"], settings.out / "bits")
        name = results["recommended"] or next(iter(first["decided"]))
        decided_N, classes = np.array(first["decided"][name]), results["net"]["classes"]
        caption = {name: f"{first[name]['accuracy']:.2f} % of {len(test)} test images right"}
        draw_confusion(test.y, {name: decided_N}, caption, classes, settings.out / "confusion")
        wrong, right = (np.flatnonzero((decided_N == test.y) == good)[:SHOWN] for good in (False, True))

        def titled(rows: np.ndarray) -> list[tuple[np.ndarray, str]]:
            return (
                [(show_of(test.x[n]), _title(classes, test.y[n], decided_N[n])) for n in rows]
                if test.y is not None
                else []
            )

        draw_page(titled(wrong), titled(right), settings.out / "decisions")

    def explain(self, asked: Explain) -> int:
        from levsha.recipes.images.explain import explain_run  # imports torch

        return explain_run(asked)

    def next_steps(self, settings: Images, results: Mapping[str, Any]) -> list[str]:
        out = settings.out
        return [
            f"Next: levsha see {out} PICTURE.png; levsha explain {out}; levsha export {out} --to c; levsha check {out} --target host; --batches 1000 goes on."
        ]


def _title(classes: list[str], label: Any, decided: Any) -> str:
    return classes[label] if label == decided else f"{classes[label]} as {classes[decided]}"


def _top(variants: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures at the top level of results.json: the float net beside its int8."""
    source = next(v for v in variants if v["format"] == "float32")
    int8 = next((v for v in variants if v["format"] == "int8"), {})
    return {
        "size_fp32_kb": source["kb"], "size_int8_kb": int8.get("kb"), "compression_ratio": int8.get("ratio"), "accuracy_fp32": source["accuracy"],
        "accuracy_int8": int8.get("accuracy"), "agreement": int8.get("agreement"),
    }  # fmt: skip


def _steps(settings: Images) -> int:
    return settings.training.epochs + 2 + 2 * len(settings.integers)


RECIPE = ImagesRecipe()


def train_split(settings: Images, data: Bench, seed: int) -> dict[str, Any]:
    """Train, prepare, calibrate, convert and compare the nets of one split. Runs in a process of its own."""
    from levsha.recipes.images import learn  # imports torch

    done = 0

    def report(stage: str, text: str, stays: bool) -> None:
        nonlocal done
        done = min(done + 1, _steps(settings))
        say(News(f"split-{seed}", done, f"{stage:<9}  {text}", stays))

    found = learn.train_split(settings, data, RECIPE.variants(settings), seed, report)
    say(News(f"split-{seed}", _steps(settings), "done"))
    return found
