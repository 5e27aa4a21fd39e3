"""What a run's figures say, in sentences; from results.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from levsha.evidence.table import grouped, label_of
from levsha.recipes.regression.settings import INTEGER


def sentences(results: Mapping[str, Any]) -> list[str]:
    """Return how the nets compare with each other and with the best trivial predictor, and what the chip takes."""
    by_name, classes = {v["name"]: v for v in results["variants"]}, results["data"]["is_classes"]
    key, digits, unit, label = ("test_accuracy", 1, " %", "accuracy") if classes else ("test_r2", 3, "", "R2")
    big, small, chip = (by_name[name] for name in ("baseline", "sensor", INTEGER.name))
    best_name = max(results["references"], key=lambda name: results["references"][name][key])
    best = results["references"][best_name][key]
    texts = [
        f"On test samples the net of {grouped(big['parameters'])} parameters reaches an {label} of {big[key]:.{digits}f}{unit}, the small one of "
        f"{grouped(small['parameters'])} {small[key]:.{digits}f}{unit}, and the same as int8 integers {chip[key]:.{digits}f}{unit}; the best trivial predictor "
        f"({label_of(best_name)}) {best:.{digits}f}{unit}."
    ]
    if big[key] <= best:
        texts.append("The large net is no better than that: choose the simple predictor.")
    elif chip[key] <= best:
        texts.append("The net on the chip is no better than that trivial predictor.")
    if chip["fits"]:
        texts.append(
            f"It takes {grouped(chip['flash_bytes'])} B of flash, {grouped(chip['sram_bytes'])} B of SRAM and {chip['ms']['mean']:.2f} ms an answer on the {results['target']}."
        )
    return texts


def describe_progress(name: str, progress: Any) -> str:
    """Return a line on how far a training is: stage, two spaces, figures."""
    line = progress.line
    figure = f"validation {line['validation_loss']:.3f}"
    if "r2" in line:
        figure = f"R2 {line['r2']:.3f}"
    elif "accuracy" in line:
        figure = f"right {line['accuracy']:.1f} %"
    speed = progress.samples_a_second / 1000
    return f"{name}  {int(line['epoch'])}/{progress.epochs}  loss {line['loss']:.4f}  {figure}  {speed:.0f}k samples/s"
