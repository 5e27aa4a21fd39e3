"""The data of a conversion, from wherever the user keeps it."""

from __future__ import annotations

from pathlib import Path

from levsha.data.images import IMAGES, load_images
from levsha.data.samples import Samples, read_samples
from levsha.errors import LevshaError
from levsha.recipes.bench import Bench
from levsha.recipes.convert.settings import Convert


def read_bench(settings: Convert) -> Bench:
    """Return the data of a conversion; LevshaError where it cannot be read."""
    if settings.data in IMAGES:
        if settings.test:
            raise LevshaError(f"--test: {settings.data} has test samples of its own; leave --test out.")
        train, test = load_images(settings.data, settings.size)
        return Bench(train, test, settings.data)
    samples = _read(Path(settings.data), settings)
    test = _read(settings.test, settings) if settings.test else None
    if test is not None and (test.x.shape[1:] != samples.x.shape[1:] or (test.y is None) != (samples.y is None)):
        raise LevshaError(
            f"--test: rows of shape {test.x.shape[1:]}, {'no ' * (test.y is None)}answers; --data has {samples.x.shape[1:]}. Give rows alike."
        )
    return Bench(samples, test, Path(settings.data).name)


def _read(path: Path, settings: Convert) -> Samples:
    return read_samples(path, settings.target_column or None, settings.size, settings.drop, settings.classes)
