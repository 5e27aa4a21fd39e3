"""What recipes share whose float net is captured, whoever made it: one base, variants by format, vectors and lines from its rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from levsha.applications import Message
from levsha.data.samples import Samples
from levsha.evidence.check_net import draw_vectors
from levsha.net import Net
from levsha.recipes.base import Figure, Recipe
from levsha.recipes.bench import Bench, keep_bench, kept_bench
from levsha.recipes.conversion import FLOAT, Conversion
from levsha.recipes.deliver import deliver, profile, say_onnx
from levsha.recipes.pipeline import folder_of
from levsha.recipes.variant import Variant
from levsha.recipes.words import layer_table, sensitivity_table
from levsha.run import Run
from levsha.targets import find_target

TYPED_NUMBERS = 4000  # typed into a chip to measure it, in lines of as many as the input has

ConversionT = TypeVar("ConversionT", bound=Conversion)


class CapturedRecipe(Recipe[ConversionT, Bench]):
    """A float net in, exact integers out in every format asked for."""

    split_kinds = ("split",)
    shipped = "split"
    pictures = ("tradeoff",)
    also = ("exports",)

    @abstractmethod
    def measured(self, settings: ConversionT, data: Bench) -> Samples:
        """Return the rows that the first split is measured on."""

    def notices(self, data: Bench) -> list[str]:
        return list(data.samples.notices)

    def keep(self, data: Bench, folder: Path) -> None:
        keep_bench(data, folder)

    def kept(self, run: Run) -> Bench:
        return kept_bench(run.folder)

    def variants(self, settings: ConversionT) -> list[Variant]:
        return [Variant(FLOAT), *settings.integers]

    def folder(self, out: Path, kind: str, seed: int) -> Path:
        return folder_of(out, kind, seed, "training")

    def vectors(self, data: Bench, net: Net, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return inputs: every other one real, the rest anywhere in their ranges."""
        found = draw_vectors(net.graph, count, seed)
        ((name, x),) = found.items()
        rows = np.random.default_rng([7100, seed]).integers(0, len(data.samples.x), count)
        layout = net.meaning.layouts[name]
        real = net.integers(name, layout.lay(data.samples.x[rows])).reshape(x.shape)
        odd = np.arange(count) % 2 == 1
        return {name: np.where(odd.reshape(-1, *[1] * (x.ndim - 1)), real, x)}

    def lines(self, settings: ConversionT, data: Bench, net: Net) -> list[Message]:
        ((name, value),) = net.graph.inputs.items()
        rows = data.samples.x[: max(3, min(40, TYPED_NUMBERS // value.size))]
        return [
            net.application.message(net.graph, row) for row in net.integers(name, net.meaning.layouts[name].lay(rows))
        ]

    def figures(self, data: Bench) -> tuple[Figure, ...]:
        return tuple(Figure(key, "split", key) for key in ("accuracy", "r2", "rmse", "agreement", "error_rms"))

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
        good = [v for v in fitting if v[key] >= best - near]
        return min(good, key=lambda v: v["weight_bytes"])["name"] if good else None

    def more(self, settings: ConversionT, data: Bench, trained: Mapping[str, Any]) -> dict[str, Any]:
        first = trained[f"{self.shipped}-{settings.seed}"]
        layers = {v.name: first[v.name]["layers"] for v in self.variants(settings) if v.format}
        return {key: first[key] for key in ("capture", "sensitivity", "kind")} | {"layers": layers}

    def deliver(self, settings: ConversionT, data: Bench, run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write every net in every form, and compare the ONNX files on all rows that measure."""
        test = self.measured(settings, data)
        variants = []
        for variant in results["variants"]:
            made = variant["format"] != "float32"
            variants.append(
                variant | (deliver(run.net(variant["name"]), variant["name"], settings.out, test) if made else {})
            )
        layers = dict(results["layers"])
        best = next((v for v in variants if v["name"] == results["recommended"] and v["fits"]), None)
        if best:
            target = find_target(settings.target)
            layers[best["name"]] = profile(run.net(best["name"]), target, layers[best["name"]], test)
        return {"variants": variants, "layers": layers, "summary": f"{results['summary']} {say_onnx(variants)}".strip()}

    def examples(self, results: Mapping[str, Any]) -> str:
        chosen = results["recommended"] or next(iter(results["layers"]), None)
        parts = [*(f"- {notice}" for notice in results["capture"]["notices"]), ""]
        parts += [f"Layers of {chosen}:", "", layer_table(results["layers"][chosen]), ""] if chosen else []
        return "\n".join([*parts, sensitivity_table(results["sensitivity"], results["kind"])])
