"""What a run found: one dictionary for results.json, from which every table, picture and sentence is made."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from levsha.evidence.ship import Row
from levsha.formats import loss_verdict
from levsha.recipes.base import Recipe, RunSettings
from levsha.recipes.variant import Variant
from levsha.run import FORMAT

CARRIED = ("parameters", "weight_bytes", "keep", "best_epoch", "formats", "bits")
CHIP = ("flash_bytes", "sram_bytes", "ms", "fits", "vectors", "mismatches")


def collect(
    recipe: Recipe, settings: RunSettings, data: Any, trained: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Row]
) -> dict[str, Any]:
    """Return the results of a run.

    trained: metrics by split ("queries-0") and variant; rows: the chip's by variant. Figures of several splits are means, with
    each value beside them.
    """
    variants = [_variant(recipe, settings, data, variant, trained, rows) for variant in recipe.variants(settings)]
    references = trained[f"{recipe.split_kinds[0]}-{settings.seed}"]["references"]
    found: dict[str, Any] = {
        "format": FORMAT, "recipe": recipe.name, "preset": settings.preset, "data": recipe.about_data(settings, data),
        "notices": recipe.notices(data), "seeds": list(settings.seeds), "target": settings.target,
        "training_key": recipe.training_key(settings, data),
        "references": {name: _figures(recipe, settings, data, trained, ("references", name)) for name in references},
        "variants": variants,
    }  # fmt: skip
    _judge(recipe, settings, data, found, trained)
    found |= recipe.more(settings, data, trained)
    found["recommended"] = recipe.choose(found)
    return found | {"summary": " ".join(sentence for sentence in recipe.sentences(found) if sentence)}


def _figures(
    recipe: Recipe, settings: RunSettings, data: Any, trained: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    """The figures of a variant, or of a trivial predictor, which may lack some."""
    found: dict[str, Any] = {}
    for figure in recipe.figures(data):
        values = []
        for seed in settings.seeds:
            metrics = trained[f"{figure.split}-{seed}"]
            for step in path:
                metrics = metrics[step]
            values.append(metrics.get(figure.metric))
        if None not in values:
            found |= {figure.key: mean(values), f"{figure.key}_each": values}
    return found


def _variant(
    recipe: Recipe,
    settings: RunSettings,
    data: Any,
    variant: Variant,
    trained: Mapping[str, Any],
    rows: Mapping[str, Row],
) -> dict[str, Any]:
    first = trained[f"{recipe.shipped}-{settings.seed}"][variant.name]
    found: dict[str, Any] = {"name": variant.name, "format": variant.weights}
    found |= {key: first[key] for key in CARRIED if key in first}
    found |= _figures(recipe, settings, data, trained, (variant.name,))
    if rounding := _rounding(variant, trained):
        found["rounding"] = rounding
    row = rows.get(variant.name)
    return found | (row.to_json() if row else dict.fromkeys(CHIP))


def _rounding(variant: Variant, trained: Mapping[str, Any]) -> list[str]:
    """What rounding to integers lost, in any split, a sentence each."""
    made = {split: metrics[variant.name].get("rounding", ()) for split, metrics in trained.items()}
    return [f"{split}: {sentence}" for split, sentences in made.items() for sentence in sentences]


def _judge(recipe: Recipe, settings: RunSettings, data: Any, found: dict[str, Any], trained: Mapping[str, Any]) -> None:
    """Say of each integer variant that is much worse than its float source so, with the layer and the cause where they are known."""
    (keys, kind), by_name = recipe.judged_by(data), {v["name"]: v for v in found["variants"]}
    split_of = {figure.key: figure.split for figure in recipe.figures(data)}
    first = trained[f"{recipe.shipped}-{settings.seed}"]
    for variant in recipe.variants(settings):
        if not variant.format or variant.source.name not in first:
            continue  # float itself, or given as integers
        sources, here = _figures(recipe, settings, data, trained, (variant.source.name,)), by_name[variant.name]
        lost = [k for k in keys if not loss_verdict(sources[k], here[k], variant.format, kind, settings.margin(kind))]
        if not lost:
            continue
        key, where = lost[0], f" on held-out {split_of[lost[0]]}" if len(keys) > 1 else ""
        metrics = [trained[f"{split_of[key]}-{seed}"][variant.name] for seed in settings.seeds]
        cause = next((m["finding"] for m in metrics if m.get("finding")), None)
        here["collapse"] = (
            f"{_in_words(here[key], kind)} where its float source has {_in_words(sources[key], kind)}{where}: more is lost than "
            f"{variant.format.name} is expected to cost. {f'Lost in {cause}' if cause else 'No single layer explains it.'}"
        )


def _in_words(figure: float, kind: str) -> str:
    return f"{figure:.1f} %" if kind == "accuracy" else f"R2 {figure:.3f}"
