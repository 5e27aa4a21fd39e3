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
    figure, ((axes,),) = new_figure()
    for colour, (name, losses) in zip(COLOURS * 9, curves.items(), strict=False):
        if len(losses):
            axes.plot(range(1, len(losses) + 1), losses, color=colour, label=name, linewidth=1.6)
    axes.set_xlabel("epoch of the stage")
    axes.set_ylabel("training loss, nats (smoothed and distilled targets)")
    if any(len(losses) for losses in curves.values()):
        axes.legend(frameon=False)
    save_figure(figure, folder / "loss")


def draw_accuracy_against_flash(
    variants: Sequence[Mapping[str, Any]], references: Mapping[str, float], flash_limit: int | None, folder: Path
) -> None:
    """Draw accuracy on unseen queries against flash, one point a net on a chip, as FOLDER/accuracy-flash.png and .svg."""
    figure, ((axes,),) = new_figure()
    for colour, (name, value) in zip(("#999999", "#bbbbbb"), references.items(), strict=False):
        axes.axhline(value, color=colour, linewidth=1, linestyle="--")
        _note(axes, name, (0.01, value), (0, 3), "#666666", xycoords=("axes fraction", "data"))
    for colour, v in zip(COLOURS[2:] * 9, variants, strict=False):
        point = (v["flash_bytes"] / 1024, v["accuracy_queries"])
        axes.plot(*point, "o", color=colour, markersize=9)
        _note(axes, v["name"], point, (0, 9), "black", ha="center")
    if flash_limit:
        at = flash_limit / 1024
        axes.axvline(at, color="#c1121f", linewidth=1)
        _note(
            axes, "flash of the chip", (at, 0.02), (-10, 0), "#c1121f", xycoords=("data", "axes fraction"), rotation=90
        )
    axes.set_xlim(left=0)
    axes.margins(y=0.18)
    axes.set_xlabel("flash, KB (program, weights and chat)")
    axes.set_ylabel("next character right, unseen queries, %")
    save_figure(figure, folder / "accuracy-flash")


def _note(axes: Any, text: str, at: tuple[float, float], offset: tuple[int, int], colour: str, **options: Any) -> None:
    axes.annotate(text, at, textcoords="offset points", xytext=offset, fontsize=9, color=colour, **options)


def new_figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (8, 4.8), **options: Any
) -> tuple[Any, Any]:
    """Return a figure and its panels, an array (rows, columns), in the house's style."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure, panels


def save_figure(figure: Any, stem: Path) -> None:
    """Write a figure as STEM.png and STEM.svg, and close it."""
    from matplotlib import pyplot

    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=130)
        write_file(stem.with_suffix(f".{kind}"), buffer.getvalue())
    pyplot.close(figure)
