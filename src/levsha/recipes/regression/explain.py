"""levsha explain: what the outputs of a net depend on, drawn as the gradient by the inputs (Simonyan et al. 2014)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from levsha.data.table import Table
from levsha.data.table_file import kept_table
from levsha.errors import LevshaError, check_range
from levsha.evidence.plots_images import draw_maps
from levsha.evidence.plots_regression import draw_bars, short_names
from levsha.recipes.explain import Explain
from levsha.recipes.regression.settings import settings_of
from levsha.run import Run

SHOWN = 8  # images beside their maps
VARIANTS = ("baseline", "sensor")


def explain_run(asked: Explain) -> int:
    """Draw the picture and print the inputs that matter most."""
    run = Run(asked.run)
    settings, table = settings_of(run), kept_table(run.folder)
    variant = asked.variant or VARIANTS[0]
    if variant not in VARIANTS:
        raise LevshaError(f"--variant: is {variant}; a gradient is of a float net: {' or '.join(VARIANTS)}.")
    if asked.image:
        raise LevshaError("--image: is for runs of the recipe images; leave it out.")
    output = asked.output if asked.output is not None or table.image else 0
    check_range("output", output or 0, 0, len(table.outputs) - 1)
    from levsha.recipes.regression.saliency import gradients  # imports torch

    path = asked.stem
    index, by_input_NI, chosen_N = gradients(settings, table, variant, output)
    if output is None or table.image:
        _draw_images(table, index, by_input_NI, chosen_N, output, path)
    else:
        _draw_inputs(table, by_input_NI, variant, output, path)
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
