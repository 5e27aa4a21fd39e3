"""levsha explain: what the outputs of a net depend on, drawn as the gradient by the inputs (Simonyan et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tyro.conf import Positional

from levsha.data.table import Table
from levsha.data.table_file import kept_table
from levsha.errors import check_range
from levsha.evidence.plots_images import draw_maps
from levsha.evidence.plots_regression import draw_bars, short_names
from levsha.recipes.regression.settings import settings_of
from levsha.run import Run

SHOWN = 8  # images beside their maps


@dataclass(frozen=True)
class Explain:
    """Draw what a net's output depends on: bars for a table's inputs, a map for the pixels of an image."""

    run: Positional[Path]
    """The folder of a run of the recipe regression."""
    variant: Literal["baseline", "sensor"] = "baseline"
    """The large float net, or the small one that the chip's integers come from."""
    output: int | None = None
    """Which output to explain, from 0; without it the first, of images the class that the net chooses."""
    file: Path | None = None
    """Where to draw, without a suffix; without it, RUN/saliency."""


def explain_run(asked: Explain) -> int:
    """Draw the picture and print the inputs that matter most."""
    run = Run(asked.run)
    settings, table = settings_of(run), kept_table(run.folder)
    output = asked.output if asked.output is not None or table.image else 0
    check_range("output", output or 0, 0, len(table.outputs) - 1)
    from levsha.recipes.regression.saliency import gradients  # imports torch

    path = (asked.file or asked.run / "saliency").with_suffix("")
    index, by_input_NI, chosen_N = gradients(settings, table, asked.variant, output)
    if output is None or table.image:
        _draw_images(table, index, by_input_NI, chosen_N, output, path)
    else:
        _draw_inputs(table, by_input_NI, asked.variant, output, path)
    print(f"Drawn: {path}.png and .svg")
    return 0


def _draw_inputs(table: Table, by_input_NI: np.ndarray, variant: str, output: int, path: Path) -> None:
    mean_I, size_I = by_input_NI.mean(0), np.abs(by_input_NI).mean(0)
    unit = "" if table.is_classes else table.output_unit
    draw_bars(
        short_names(table.features, table.units),
        mean_I,
        size_I,
        f"{table.outputs[output]}: gradient of the net {variant} over the test samples",
        unit,
        path,
    )
    for k in np.argsort(-size_I)[:5]:
        print(
            f"{table.features[k]:<32} mean gradient {mean_I[k]:+.3g}, mean size {size_I[k]:.3g} {unit} a standard deviation"
        )


def _draw_images(
    table: Table, index: np.ndarray, by_input_NI: np.ndarray, chosen_N: np.ndarray, output: int | None, path: Path
) -> None:
    assert table.image
    label_N = table.y_NO[index]
    first = [int(np.flatnonzero(label_N == c)[0]) for c in np.unique(label_N)][:SHOWN]
    images = [table.x_NI[index[n]].reshape(table.image) for n in first]
    titles = [f"{table.outputs[label_N[n]]} taken for {table.outputs[chosen_N[n]]}" for n in first]
    draw_maps(images, [by_input_NI[n].reshape(table.image) for n in first], titles, path)
    logit = "the chosen class's logit" if output is None else f"the logit of class {table.outputs[output]}"
    print(f"Test images with the gradient of {logit} by each pixel: {', '.join(titles)}")
