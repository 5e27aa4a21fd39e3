"""Pictures of nets that decide between classes of images, as PNG and SVG: confusion, images with decisions, saliency, size against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from levsha.evidence.plots import COLOURS, new_figure, save_figure

INK, ACCENT, GOOD = COLOURS[0], COLOURS[2], COLOURS[4]
ACROSS = 10  # images side by side
WIDE = 16  # characters of a title, from which it takes two lines
MANY = 14  # classes from which their names stand upright


def draw_confusion(
    label_N: np.ndarray, chosen: Mapping[str, np.ndarray], captions: Mapping[str, str], classes: Sequence[str], stem: Path
) -> None:  # fmt: skip
    """Draw how often each class was taken for each, a panel a net, as STEM.png and .svg."""
    size = max(4.6, 0.36 * len(classes) + 1.4)
    figure, panels = new_figure(1, len(chosen), (size * len(chosen), size + 0.2))
    long = len(classes) > MANY or max(map(len, classes)) > 3
    for axes, (name, chosen_N) in zip(panels.flat, chosen.items(), strict=True):
        counts = np.zeros((len(classes), len(classes)), int)
        np.add.at(counts, (label_N, chosen_N), 1)
        axes.imshow(np.sqrt(counts), cmap="Blues")
        for row, column in np.argwhere(counts):
            colour = "white" if counts[row, column] > counts.max() / 3 else "black"
            axes.text(
                column, row, counts[row, column], ha="center", va="center", fontsize=7 if long else 8, color=colour
            )
        axes.set(xticks=range(len(classes)), yticks=range(len(classes)), yticklabels=classes)
        axes.set_xticklabels(classes, rotation=90 if long else 0)
        axes.set_title(f"{name}\n{captions[name]}", fontsize=10)
        axes.set_xlabel("taken for")
        axes.grid(False)
    panels.flat[0].set_ylabel("is")
    save_figure(figure, stem)


def draw_maps(images: Sequence[np.ndarray], maps: Sequence[np.ndarray], titles: Sequence[str], path: Path) -> None:
    """Draw each image above the map of the gradient by its pixels: red raises the output, blue lowers it."""
    figure, panels = new_figure(2, len(images), (1.75 * len(images) + 0.8, 4.0))
    largest = max(float(np.abs(m).max()) for m in maps) or 1.0
    shown = None
    for column, (image, gradient, title) in enumerate(zip(images, maps, titles, strict=True)):
        show_image(panels[0, column], image)
        shown = panels[1, column].imshow(gradient, cmap="RdBu_r", vmin=-largest, vmax=largest)
        panels[0, column].set_title(title, fontsize=9)
        for axes in panels[:, column]:
            axes.set_axis_off()
    bar = figure.colorbar(shown, ax=panels[1, :].tolist(), fraction=0.02, pad=0.01)
    bar.set_label("gradient of the logit", fontsize=8)
    save_figure(figure, path)


def show_of(image: np.ndarray) -> np.ndarray:
    """Return an image (channels, rows, columns) as it is shown: (rows, columns), or (rows, columns, 3) of colours."""
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)


def show_image(axes: Any, image: np.ndarray) -> None:
    """Show an image (rows, columns), dark where it is large, or (rows, columns, 3) in colour."""
    axes.imshow(image, **({"cmap": "Greys"} if image.ndim == 2 else {}), interpolation="nearest")


def draw_page(wrong: Sequence[tuple[np.ndarray, str]], right: Sequence[tuple[np.ndarray, str]], stem: Path) -> None:
    """Draw a page of images with what a net took them for, the wrong ones above, as STEM.png and .svg; each with its title."""
    blocks = [
        (images, colour, name) for images, colour, name in ((wrong, ACCENT, "wrong"), (right, GOOD, "right")) if images
    ]
    heights = [-(-len(images) // ACROSS) for images, _, _ in blocks]
    figure, panels = new_figure(sum(heights), ACROSS, (1.15 * ACROSS, 1.6 * sum(heights)))
    for axes in panels.flat:
        axes.set_axis_off()
    row = 0
    for (images, colour, name), height in zip(blocks, heights, strict=True):
        for k, (image, title) in enumerate(images):
            axes = panels[row + k // ACROSS, k % ACROSS]
            show_image(axes, image)
            axes.set_title(title if len(title) < WIDE else title.replace(" as ", "\nas "), fontsize=7.5, color=colour)
        panels[row, 0].text(-0.3, 0.5, name, transform=panels[row, 0].transAxes, rotation=90, va="center", color=colour)
        row += height
    save_figure(figure, stem)


def draw_bits(variants: Sequence[Mapping[str, Any]], stem: Path) -> None:
    """Draw accuracy with its interval, and the size of the packed file, against bits a weight, as STEM.png and .svg."""
    figure, panels = new_figure(1, 2, (10, 4.4))
    source = next(v for v in variants if v["format"] == "float32")
    made = sorted((v for v in variants if v["format"] != "float32"), key=lambda v: v["bits"])
    bits = [v["bits"] for v in made]
    middle = [v["accuracy"] for v in made]
    reach = [
        [v["accuracy"] - v["accuracy_interval"][0] for v in made],
        [v["accuracy_interval"][1] - v["accuracy"] for v in made],
    ]
    left, right = panels.flat
    left.axhspan(*source["accuracy_interval"], color=INK, alpha=0.1, linewidth=0)
    left.axhline(
        source["accuracy"], color=INK, linestyle="--", linewidth=1, label=f"float32, {source['accuracy']:.2f} %"
    )
    left.errorbar(bits, middle, reach, fmt="o-", color=ACCENT, capsize=4, label="integers, 95 % interval")
    left.set_ylabel("right of the test images, %")
    right.axhline(source["kb"], color=INK, linestyle="--", linewidth=1, label=f"float32, {source['kb']:.2f} KB")
    right.plot(bits, [v["kb"] for v in made], "o-", color=ACCENT, label="packed file")
    right.set_ylabel("file, KB")
    right.set_ylim(bottom=0)
    for axes, key, form in ((left, "accuracy", ".2f"), (right, "kb", ".2f")):
        axes.set_xlabel("bits a weight")
        axes.set_xscale("log", base=2)
        axes.set_xticks(bits, [f"{b:.2g}" for b in bits])
        axes.margins(0.15)
        axes.legend(frameon=False)
        for v in made:
            label = f"{v['format']} {v[key]:{form}}"
            axes.annotate(
                label, (v["bits"], v[key]), textcoords="offset points", xytext=(4, 5), fontsize=8, rotation=35, rotation_mode="anchor",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
    save_figure(figure, stem)
