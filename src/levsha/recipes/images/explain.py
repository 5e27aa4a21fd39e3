"""levsha explain of a run of images: the gradient of a class's logit by each pixel (Simonyan et al. 2014).  Imports torch."""

from __future__ import annotations

import numpy as np
import torch

from levsha.errors import LevshaError, check_range
from levsha.evidence.plots_images import draw_maps, show_of
from levsha.photos import Eye
from levsha.recipes.bench import kept_bench
from levsha.recipes.explain import Explain
from levsha.recipes.images.weigh import read_float_net
from levsha.run import Run

SHOWN = 10  # images, at most


def explain_run(asked: Explain) -> int:
    """Draw images above their maps, for the float net that all variants come from, and say what it takes them for."""
    if asked.variant not in (None, "float"):
        raise LevshaError(
            f"--variant: is {asked.variant}; a gradient is of the float net alone, which all variants come from: leave it out."
        )
    run = Run(asked.run)
    classes = run.results()["net"]["classes"]
    check_range("output", asked.output or 0, 0, len(classes) - 1)
    x, names = _pictures(run, asked) if asked.image else _of_each_class(run, classes)
    gradient, chosen_N = gradients(run, x, asked.output)
    titles = [f"{name} as {classes[chosen]}" for name, chosen in zip(names, chosen_N.tolist(), strict=True)]
    draw_maps([show_of(image) for image in x], list(gradient.sum(1)), titles, asked.stem)
    logit = "the chosen class's logit" if asked.output is None else f"the logit of class {classes[asked.output]}"
    print(f"The gradient of {logit} by each pixel: {', '.join(titles)}\nDrawn: {asked.stem}.png and .svg")
    return 0


def gradients(run: Run, x: np.ndarray, output: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient (N, C, rows, columns) of an output (None: of the largest one) by raw pixels x, and the largest output's number (N,)."""
    pixels = torch.from_numpy(np.ascontiguousarray(x, np.float32)).requires_grad_()
    said_NO = read_float_net(run)(pixels)
    chosen_N = said_NO.argmax(1)
    column_N = chosen_N if output is None else torch.full_like(chosen_N, output)
    said_NO.gather(1, column_N[:, None]).sum().backward()
    assert pixels.grad is not None
    return pixels.grad.double().numpy(), chosen_N.numpy()


def _of_each_class(run: Run, classes: list[str]) -> tuple[np.ndarray, list[str]]:
    """The first test image of each class that was kept."""
    kept = kept_bench(run.folder).samples
    assert kept.y is not None
    labels, first = np.unique(kept.y, return_index=True)
    return kept.x[first[:SHOWN]], [classes[label] for label in labels[:SHOWN].tolist()]


def _pictures(run: Run, asked: Explain) -> tuple[np.ndarray, list[str]]:
    if len(asked.image) > SHOWN:
        raise LevshaError(f"--image: are {len(asked.image)} pictures; give {SHOWN} or fewer.")
    eye = Eye.of(run.net(run.pick(None)), kept_bench(run.folder).samples.x, str(run.folder))
    seen = [eye.see(path, "auto") for path in asked.image]
    for path, (_, done) in zip(asked.image, seen, strict=True):
        print(f"{path}: {done}")
    return np.stack([pixels.transpose(2, 0, 1) for pixels, _ in seen]), [path.stem for path in asked.image]
