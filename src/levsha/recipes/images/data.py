"""Images as the recipe takes them: raw pixels 0..255 with classes; which train, validate, calibrate and measure.  Legend: N images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from levsha.data.images import load_images
from levsha.data.samples import Samples
from levsha.errors import LevshaError
from levsha.recipes.bench import Bench
from levsha.recipes.images.settings import Images

VALIDATED, MOST_VALIDATED = 8, 5000  # one training image in so many is held out to choose by, at most so many
TOP = 255  # of a pixel


class Cut(NamedTuple):
    """Images to learn from, and those held out of them by which everything is chosen."""

    learned: Samples
    validation: Samples


def read_images(settings: Images) -> Bench:
    """Return the images to train and to test on; LevshaError where they cannot be read, or are no pixels with classes."""
    train, test = (_pixels(part, settings.data) for part in load_images(settings.data, settings.size))
    for part, what in ((train, "train"), (test, "test")):
        if part.y is None or not part.is_classes:
            raise LevshaError(
                f"--data: {settings.data} has no classes to {what} on; give a folder for each class, IDX files with labels, or .npz with x and y."
            )
    assert train.y is not None and test.y is not None
    _check_counts(train, test, settings.data)
    if train.x.min() == train.x.max():
        raise LevshaError(
            f"--data: every pixel of {settings.data} is {train.x.min()}, so there is nothing to see; give other images."
        )
    return Bench(train, test, settings.data)


def _pixels(samples: Samples, where: str) -> Samples:
    """Images as uint8 (N, channels, rows, columns)."""
    x = samples.x[:, None] if samples.x.ndim == 3 else samples.x
    if x.ndim != 4:
        raise LevshaError(
            f"--data: {where} holds samples of shape {samples.x.shape[1:]}; images are (rows, columns) or (channels, rows, columns)."
        )
    if x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)  # the channels last, as most programs keep pictures
    if x.shape[1] not in (1, 3):
        raise LevshaError(
            f"--data: {where} holds images of {x.shape[1]} channels; allowed are 1, grey, and 3, RGB: leave the others out."
        )
    if x.min() < 0 or x.max() > TOP or (x.dtype.kind == "f" and (x != np.rint(x)).any()):
        raise LevshaError(
            f"--data: {where} holds {x.dtype} from {x.min():g} to {x.max():g}; pixels are whole numbers 0..{TOP}: "
            f"numpy.rint({TOP} * x).astype('uint8') makes them of 0..1."
        )
    return replace(samples, x=np.ascontiguousarray(x.astype(np.uint8)))


def _check_counts(train: Samples, test: Samples, where: str) -> None:
    assert train.y is not None and test.y is not None
    labels, counts = np.unique(np.concatenate([train.y, test.y]), return_counts=True)
    if len(labels) < 2:
        raise LevshaError(f"--data: {where} has images of one class alone; give two classes or more.")
    for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
        if count < 2:
            name = train.classes[label] if train.classes else str(label)
            raise LevshaError(
                f"--data: {where} has 1 image of class {name!r}; give two or more of each, one to train and one to test on."
            )
    unseen = sorted(set(test.y.tolist()) - set(train.y.tolist()))
    if unseen:
        raise LevshaError(f"--data: {where} has class {unseen[0]} among the test images alone; train on it too.")


def cut(data: Bench, seed: int) -> Cut:
    """Return the training images in two, by a seed."""
    count = len(data.samples)
    held_out = max(1, min(MOST_VALIDATED, count // VALIDATED))
    order_N = np.random.default_rng([9300, seed]).permutation(count)
    return Cut(data.samples.rows(np.sort(order_N[held_out:])), data.samples.rows(np.sort(order_N[:held_out])))


def batches_of(samples: Samples, size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield images (N, ...) in batches, in a random order without end."""
    rng = np.random.default_rng([9400, seed])
    while True:
        order_N = rng.permutation(len(samples))
        for start in range(0, len(samples), size):
            yield samples.x[order_N[start : start + size]]


def calibration_rows(loader: Iterator[Any], count: int, tell: Callable[[int], None]) -> np.ndarray:
    """Return the images of so many batches of a loader; LevshaError where it has none, or fails on the way.

    tell: is told after every batch how many there are.
    """
    found: list[np.ndarray] = []
    for k in range(1, count + 1):
        try:
            found.append(np.asarray(next(loader)))
        except StopIteration:
            break
        except Exception as error:  # a loader of the user's own may raise any
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise LevshaError(
                f"calibration: batch {k} of {count} cannot be read ({type(error).__name__}: {reason}); mend the data, and repeat the command."
            ) from None
        tell(k)
    if not found or not sum(map(len, found)):
        raise LevshaError("calibration: there is no data, so nothing says what the integers stand for; give images.")
    return np.concatenate(found)
