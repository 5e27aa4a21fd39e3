"""Sets of images by name, to train and to test on: digits, MNIST, Fashion-MNIST; or the user's own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.idx import idx_images, read_idx_samples
from levsha.data.mnist import PACKAGE, mnist_folder
from levsha.data.pictures import Folder, read_pictures
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
    samples every fifth, chosen by a fixed seed, is to test on. size: resizes the images of a folder. LevshaError says what is wrong.
    """
    if source in IMAGES:
        if size is not None:
            raise LevshaError(f"--size: is {size}, but the images of {source} are of one size; leave it out.")
        return IMAGES[source]()
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
        found = read_idx_samples(train), read_idx_samples(test)
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
    """Cut samples in two by a fixed seed."""
    count = len(samples)
    if count < 2:
        raise LevshaError("a single sample cannot be cut into one part to train and one to test on; give two or more.")
    order_N = np.random.default_rng([1002, 0]).permutation(count)
    held_out = max(1, (count + TEST_PART // 2) // TEST_PART)
    notice = f"{count - held_out} samples are to train on and {held_out} to test on, chosen by a fixed seed."
    samples = replace(samples, notices=(*samples.notices, notice))
    return samples.rows(np.sort(order_N[held_out:])), samples.rows(np.sort(order_N[:held_out]))


def _load_digits() -> Split:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise LevshaError(f"digits: comes with scikit-learn ({error}); run: pip install scikit-learn") from None
    found: Any = load_digits()
    about = (
        "1797 handwritten digits of 8 x 8 pixels, 0 to 16 (Alpaydin, Kaynak, Optical Recognition of Handwritten "
        "Digits, UCI Machine Learning Repository, CC BY 4.0: its test set, as it ships with scikit-learn)."
    )
    x = found.images.astype(np.uint8)[:, None]
    order_N = np.random.default_rng([1002, 0]).permutation(len(x))
    samples = Samples(x, found.target.astype(np.int64), classes=tuple("0123456789"), about=about)
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
        f"as in the npm package {PACKAGE}, ISC licence)."
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
