"""Pictures of a run, as PNG and SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from levsha.files import write_file

COLOURS = ("#33415c", "#7d8597", "#c1440e", "#e09f3e", "#2a9d8f", "#6a4c93", "#1d70a2", "#8a5a44")


def draw_losses(curves: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Draw the training loss of every stage, one curve each, as FOLDER/loss.png and .svg."""
    figure, axes = _figure()
    for colour, (name, losses) in zip(COLOURS * 9, curves.items(), strict=False):
        if len(losses):
            axes.plot(range(1, len(losses) + 1), losses, color=colour, label=name, linewidth=1.6)
    axes.set_xlabel("epoch of the stage")
    axes.set_ylabel("training loss, nats (smoothed and distilled targets)")
    axes.legend(frameon=False)
    _save(figure, folder / "loss")


def draw_accuracy_against_flash(
    variants: Sequence[Mapping[str, Any]], references: Mapping[str, float], flash_limit: int | None, folder: Path
) -> None:
    """Draw accuracy on unseen queries against flash, one point a net on a chip, as FOLDER/accuracy-flash.png and .svg."""
    figure, axes = _figure()
    for colour, (name, value) in zip(("#999999", "#bbbbbb"), references.items(), strict=False):
        axes.axhline(value, color=colour, linewidth=1, linestyle="--")
        axes.annotate(
            name,
            (0.01, value),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 3),
            fontsize=8,
            color="#666666",
        )
    for colour, v in zip(COLOURS[2:] * 9, variants, strict=False):
        axes.plot(v["flash_bytes"] / 1024, v["accuracy_queries"], "o", color=colour, markersize=9)
        axes.annotate(
            v["name"],
            (v["flash_bytes"] / 1024, v["accuracy_queries"]),
            textcoords="offset points",
            xytext=(0, 9),
            ha="center",
            fontsize=9,
        )
    if flash_limit:
        axes.axvline(flash_limit / 1024, color="#c1121f", linewidth=1)
        axes.annotate(
            "flash of the chip",
            (flash_limit / 1024, 0.02),
            xycoords=("data", "axes fraction"),
            rotation=90,
            textcoords="offset points",
            xytext=(-10, 0),
            fontsize=8,
            color="#c1121f",
        )
    axes.set_xlim(left=0)
    axes.margins(y=0.18)
    axes.set_xlabel("flash, KB (program, weights and chat)")
    axes.set_ylabel("next character right, unseen queries, %")
    _save(figure, folder / "accuracy-flash")


def _figure() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.8), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _save(figure: Any, stem: Path) -> None:
    from matplotlib import pyplot

    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=130)
        write_file(stem.with_suffix(f".{kind}"), buffer.getvalue())
    pyplot.close(figure)
