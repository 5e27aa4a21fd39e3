"""Pictures of a regression run, as PNG and SVG: learning curves, reference against approximated, optimizers, saliency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from levsha.evidence.plots import COLOURS, new_figure, save_figure

INK, ACCENT, SECOND = COLOURS[0], COLOURS[2], COLOURS[4]


def draw_learning(
    histories: Mapping[str, Sequence[Mapping[str, float]]], best: Mapping[str, int], unit: str, folder: Path
) -> None:
    """Draw the loss of training and validation by epoch, a panel a net, with the epoch whose weights are kept, as FOLDER/learning.png and .svg."""
    figure, panels = new_figure(1, len(histories), (4.6 * len(histories), 4.2), sharey=True)
    for axes, (name, history) in zip(panels.flat, histories.items(), strict=True):
        epochs = [line["epoch"] for line in history]
        axes.plot(epochs, [line["loss"] for line in history], color=INK, linewidth=1.6, label="training")
        axes.plot(
            epochs, [line["validation_loss"] for line in history], color=ACCENT, linewidth=1.6, label="validation"
        )
        axes.axvline(best[name], color="#999999", linewidth=1, linestyle="--", label=f"kept: epoch {best[name]}")
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
        axes.legend(frameon=False)
    panels.flat[0].set_ylabel(f"loss, {unit}")
    save_figure(figure, folder / "learning")


def draw_scatter(
    reference_N: np.ndarray,
    approximated: Mapping[str, np.ndarray],
    captions: Mapping[str, str],
    label: str,
    folder: Path,
) -> None:
    """Draw approximated against reference numbers of the test samples, a panel a net, as FOLDER/scatter.png and .svg."""
    figure, panels = new_figure(1, len(approximated), (4.4 * len(approximated), 4.6), sharex=True, sharey=True)
    ends = [float(reference_N.min()), float(reference_N.max())]
    for axes, (name, answer_N) in zip(panels.flat, approximated.items(), strict=True):
        axes.plot(ends, ends, color="#999999", linewidth=1)
        axes.plot(reference_N, answer_N, "o", color=ACCENT, markersize=3.5, alpha=0.45, markeredgewidth=0)
        axes.set_title(f"{name}\n{captions[name]}", fontsize=10)
        axes.set_xlabel(f"reference {label}")
        axes.set_aspect("equal", adjustable="box")
    panels.flat[0].set_ylabel(f"approximated {label}")
    save_figure(figure, folder / "scatter")


def draw_comparison(curves: Mapping[str, Mapping[str, Sequence[float]]], unit: str, folder: Path) -> None:
    """Draw the validation loss of several optimizers over iterations and over seconds, as FOLDER/compare.png and .svg."""
    figure, panels = new_figure(1, 2, (10, 4.4), sharey=True)
    for axes, along, label in zip(
        panels.flat, ("steps", "seconds"), ("iterations", "seconds of training"), strict=True
    ):
        for colour, (name, curve) in zip((INK, ACCENT, SECOND, *COLOURS[5:]), curves.items(), strict=False):
            axes.plot(curve[along], curve["validation_loss"], color=colour, linewidth=1.8, label=name)
        axes.set(xscale="log", yscale="log")
        axes.set_xlabel(label)
    panels.flat[0].set_ylabel(f"validation loss, {unit}")
    panels.flat[0].legend(frameon=False)
    save_figure(figure, folder / "compare")


def draw_bars(names: Sequence[str], mean_I: np.ndarray, size_I: np.ndarray, title: str, unit: str, path: Path) -> None:
    """Draw the mean gradient and the mean size of the gradient by each input, in the order given."""
    figure, panels = new_figure(1, 1, (7.6, 1.4 + 0.32 * len(names)))
    axes, at = panels.flat[0], np.arange(len(names))
    axes.barh(at, size_I, height=0.72, color="#d9dee7", label="mean of |gradient|")
    axes.barh(at, mean_I, height=0.36, color=ACCENT, label="mean gradient")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(yticks=at, yticklabels=names)
    axes.invert_yaxis()
    axes.set_xlabel(f"change of the output for one standard deviation of the input{f', {unit}' if unit else ''}")
    axes.set_title(title, fontsize=11)
    axes.legend(frameon=False)
    save_figure(figure, path)


def short_names(features: Sequence[str], units: Sequence[str]) -> list[str]:
    """Return feature names with their units, for an axis."""
    return [f"{name}, {unit}" if unit else name for name, unit in zip(features, units, strict=True)]
