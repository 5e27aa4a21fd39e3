"""The picture of a conversion: how good each variant is against how many bytes its weights take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from levsha.evidence.plots import COLOURS, new_figure, save_figure


def draw_tradeoff(variants: Sequence[Mapping[str, Any]], kind: str, out: Path) -> None:
    """Draw tradeoff.png and .svg into a folder: a point for each variant, the float model as a line."""
    key, label = ("accuracy", "right, %") if kind == "accuracy" else ("r2", "R2")
    figure, ((axes,),) = new_figure()
    source = next(v for v in variants if v["format"] == "float32")
    axes.axhline(source[key], color="0.5", linestyle="--", linewidth=1, label=f"float model, {source[key]:.4g}")
    for colour, variant in zip(COLOURS[2:] * 9, (v for v in variants if v["format"] != "float32"), strict=False):
        at = (variant["weight_bytes"], variant[key])
        axes.plot(*at, "o", color=colour, markersize=9)
        axes.annotate(variant["format"], at, textcoords="offset points", xytext=(0, 9), fontsize=9, ha="center")
    axes.margins(0.2)
    axes.set_xscale("log")
    axes.set_xlabel("bytes of weights")
    axes.set_ylabel(label)
    axes.legend(frameon=False)
    save_figure(figure, out / "tradeoff")
