"""What the nets of a split learn from: its images, or these beside warped versions of them and with a teacher's answers.  Imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from levsha.data.samples import Samples
from levsha.data.warp import Warp
from levsha.recipes.bench import Bench
from levsha.recipes.images.data import Cut
from levsha.recipes.images.net import Pixels, build_net, on_raw_pixels
from levsha.recipes.images.settings import Images
from levsha.recipes.images.shape import shape_of
from levsha.recipes.integers import Taught
from levsha.recipes.pipeline import folder_of
from levsha.train.batch import Stream
from levsha.train.fit import fit
from levsha.train.pool import Pool, make_pool
from levsha.train.surroundings import Progress

SHARE, TEMPERATURE = 0.5, 2.0  # of the teacher
BATCH = 64  # images of a step of fine-tuning

Draw = Callable[[torch.Generator, int], tuple[Tensor, Tensor]]


class Lesson(NamedTuple):
    """stream: of standardised images, for the float net. taught: for what is trained on in its rounding; None: the images as they are.
    folder: where the pool lies, None where there is none."""

    stream: Stream
    pixels: Pixels
    taught: Taught | None = None
    folder: Path | None = None

    def forget(self) -> None:
        """Remove the pool, which is large, from the disk."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def lesson_of(settings: Images, data: Bench, part: Cut, seed: int, report: Callable[[str, str, bool], None]) -> Lesson:
    """Return what the nets of a split learn from; a pool and its teacher are made first where they are asked for."""
    x, y, pixels = part.learned.x, classes_of(part.learned), Pixels.of(part.learned.x)
    if settings.plain:
        return Lesson(Stream(_plain(x, y, pixels), settings.steps_an_epoch), pixels)
    folder = folder_of(settings.out, "split", seed, "training") / "pool"
    report("train", f"{settings.warped} warped versions of {len(x)} images", False)
    pool = make_pool(x, y, None, 1 + settings.warped, Warp(), seed, folder)
    if settings.teacher:
        pool = _taught(settings, data, part, pool, pixels, seed, report)
    share = SHARE * bool(settings.teacher)
    stream = Stream(_standard(pool.stream(BATCH, share, TEMPERATURE).draw, pixels), settings.steps_an_epoch)
    return Lesson(stream, pixels, Taught(pool.stream(BATCH, share, TEMPERATURE), part.validation), folder)


def _taught(
    settings: Images, data: Bench, part: Cut, pool: Pool, pixels: Pixels, seed: int, report: Callable[[str, str, bool], None]
) -> Pool:  # fmt: skip
    """The pool with the answers of a larger net, which learns from it first."""
    shape = settings.shape(data)
    large = shape_of("cnn", shape.image, shape.widths[-1], settings.teacher, (), ())
    training, room = replace(settings.training, seed=seed), folder_of(settings.out, "split", seed, "training")

    def tell(progress: Progress) -> None:
        done = int(progress.line["epoch"]) * settings.steps_an_epoch
        report("train", f"teacher  {done}/{settings.batches} batches  loss {progress.line['loss']:.3f}", False)

    stream = Stream(_standard(pool.stream(training.batch).draw, pixels), settings.steps_an_epoch)
    held_out = (pixels.standard(part.validation.x), classes_of(part.validation))
    key = f"teacher {data.digest} {seed} {large.describe()}"
    net = build_net(large, seed)
    fit(net, stream, held_out, training, folder=room / "teacher", report=tell, key=key, replace=True)
    report("train", f"teacher of {large.describe()}", True)
    return pool.taught(on_raw_pixels(net, large, pixels, seed), room / "pool")


def _plain(x: np.ndarray, y: np.ndarray, pixels: Pixels) -> Draw:
    """Draw images as they are, and their classes."""
    class_N = torch.from_numpy(y)

    def draw(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(class_N), (count,), generator=generator)
        return pixels.standard(x[rows.numpy()]), class_N[rows]

    return draw


def _standard(raw: Draw, pixels: Pixels) -> Draw:
    """Draw what `raw` draws, with standardised images."""

    def draw(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        x, target = raw(generator, count)
        return pixels.standard(x), target

    return draw


def classes_of(samples: Samples) -> np.ndarray:
    """Return the classes of images that have them."""
    assert samples.y is not None
    return samples.y
