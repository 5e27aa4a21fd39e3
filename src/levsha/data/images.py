"""Sets of images by name, to train and to test on: digits, MNIST, Fashion-MNIST; or the user's own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from levsha.data.digits import ABOUT, load_digits
from levsha.data.idx import idx_images, read_idx_samples
from levsha.data.mnist import mnist_folder
from levsha.data.pictures import Folder, read_pictures
from levsha.data.reduce import reduced
from levsha.data.sample_set import Samples
from levsha.data.samples import read_samples
from levsha.errors import LevshaError

Split = tuple[Samples, Samples]
TRAIN, TEST = ("train", "training"), ("test", "t10k", "val", "valid", "validation")
TEST_PART = 5  # one sample in so many is to test on, where nobody has cut the samples in two
FASHION = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def load_images(source: str, size: int | None = None) -> Split:
    """Return samples to train and to test on: uint8 (N, C, rows, columns), by a name in IMAGES or from a path.

    A path: a folder with IDX files of both parts, or with folders train and test, each with a folder for each class; of any other
    samples every fifth of each class, chosen by a fixed seed, is to test on. size: reduces images to so many pixels each way, each the mean
    of the area it covers. LevshaError says what is wrong.
    """
    if source in IMAGES:
        train, test = IMAGES[source]()
        return reduced(train, size, source), reduced(test, size, source)
    path = Path(source)
    if not path.exists() and not any(mark in source for mark in "./\\"):
        raise LevshaError(
            f"{source!r}: is no set of images; there are {', '.join(IMAGES)}, or give the path of a folder."
        )
    parts = _parts(path) if path.is_dir() else {}
    if not parts:
        return _split(read_samples(path, size=size))
    train, test = (parts[kind] for kind in ("train", "test"))
    if train.is_dir():
        found = read_pictures(train, size), read_pictures(test, size)
    else:
        found = (reduced(read_idx_samples(train), size, str(train)), reduced(read_idx_samples(test), size, str(test)))
    if found[0].x.shape[1:] != found[1].x.shape[1:] or found[0].classes != found[1].classes:
        shapes = [f"shape {part.x.shape[1:]} in {len(part.classes)} named classes" for part in found]
        raise LevshaError(f"{path}: {train.name} holds {shapes[0]}, {test.name} {shapes[1]}; make both alike.")
    return found


def _parts(path: Path) -> dict[str, Path]:
    """Return what to train and to test on in a folder that has both, by train and test."""
    folders = {folder.name: folder for folder in Folder.of(path).folders}
    for parts in (idx_images(path), folders):
        by_name = {name.lower(): part for name, part in parts.items()}
        train, test = ([by_name[name] for name in names if name in by_name] for names in (TRAIN, TEST))
        if train and test:
            return {"train": train[0], "test": test[0]}
    return {}


def _split(samples: Samples) -> Split:
    """Cut samples in two by a fixed seed; of each class that has two or more, one at least goes to either part."""
    count = len(samples)
    if count < 2:
        raise LevshaError("a single sample cannot be cut into one part to train and one to test on; give two or more.")
    order_N = np.random.default_rng([1002, 0]).permutation(count)
    label_N = samples.y if samples.y is not None and samples.is_classes else np.zeros(count, np.int64)
    groups = [order_N[label_N[order_N] == label] for label in np.unique(label_N)]
    test = np.sort(np.concatenate([group[: _held_out(len(group))] for group in groups]))
    train = np.setdiff1d(np.arange(count), test)
    if not len(test):
        test, train = order_N[:1], np.sort(order_N[1:])
    notice = f"{len(train)} samples are to train on and {len(test)} to test on, chosen by a fixed seed."
    samples = replace(samples, notices=(*samples.notices, notice))
    return samples.rows(train), samples.rows(test)


def _held_out(count: int) -> int:
    """How many of a class are to test on.

    >>> [_held_out(count) for count in (1, 2, 7, 8, 100)]
    [0, 1, 1, 2, 20]
    """
    return max(int(count > 1), (count + TEST_PART // 2) // TEST_PART)


def _load_digits() -> Split:
    images, labels = load_digits()
    order_N = np.random.default_rng([1002, 0]).permutation(len(images))
    samples = Samples(images[:, None], labels, classes=tuple("0123456789"), about=ABOUT)
    return samples.rows(order_N[360:]), samples.rows(order_N[:360])


def _load_fashion() -> Split:
    if not FASHION.is_dir():
        raise LevshaError(
            f"fashion-mnist: {FASHION} does not exist; run: sudo apt-get install dataset-fashion-mnist, or give the path of a folder with "
            "its four IDX files."
        )
    about = (
        "Fashion-MNIST: 60000 + 10000 grey images of 28 x 28 pixels of ten kinds of clothes (Xiao, Rasul, Vollgraf, 2017; Zalando SE, MIT licence; Debian's "
        "package dataset-fashion-mnist)."
    )
    return _named(FASHION, "fashion-mnist", CLOTHES, about)


def _load_mnist() -> Split:
    about = (
        "MNIST: 60000 + 10000 handwritten digits, grey images of 28 x 28 pixels (LeCun, Cortes, Burges, 1998; "
        "the files published with it, known by their SHA-256)."
    )
    return _named(mnist_folder(), "mnist", tuple("0123456789"), about)


def _named(folder: Path, name: str, classes: tuple[str, ...], about: str) -> Split:
    """Return both parts of a folder of IDX files, with the names of the classes."""
    parts = _parts(folder)
    if not parts:
        raise LevshaError(
            f"{name}: {folder} has not the IDX files train-images, t10k-images; install or fetch it again."
        )
    found = [replace(read_idx_samples(parts[kind]), classes=classes, about=about) for kind in ("train", "test")]
    for kind, samples in zip(parts, found, strict=True):
        if samples.y is None or samples.y.max() >= len(classes):
            raise LevshaError(
                f"{name}: {parts[kind]} has no labels from 0 to {len(classes) - 1}; install or fetch it again."
            )
    return found[0], found[1]


IMAGES: dict[str, Callable[[], Split]] = {"digits": _load_digits, "mnist": _load_mnist, "fashion-mnist": _load_fashion}
