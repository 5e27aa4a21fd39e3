"""The data of a conversion: rows that calibrate, rows that measure, and what is kept of them in the run's folder."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from levsha.conversion.rows import measured_rows, split_rows
from levsha.data.images import IMAGES, load_images
from levsha.data.samples import Samples, read_samples
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.recipes.convert.settings import Convert

KEPT = "data.npz"
KEPT_ROWS = 2000  # of those that measure: enough to draw vectors from, and to measure again


class Parts(NamedTuple):
    """Rows that calibrate, rows that measure, rows that are learned from."""

    calibration: Samples
    test: Samples
    learned: Samples


@dataclass(frozen=True, eq=False)
class Bench:
    """samples: all rows of --data. test: those of --test, if they are given; else rows of --data that do not calibrate measure."""

    samples: Samples
    test: Samples | None
    name: str

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256((self.samples.digest + (self.test.digest if self.test else "")).encode()).hexdigest()

    def parts(self, settings: Convert, seed: int) -> Parts:
        """Return the rows that calibrate, those that measure, and those that fine-tuning learns from."""
        x, given = self.samples.x, self.test is not None
        if settings.fine_tune:
            learned, rest = measured_rows(len(x), seed, given)
            chosen = learned[: settings.calibration_rows]
        else:
            chosen, rest = split_rows(len(x), settings.calibration_rows, seed, given)
            learned = chosen
        test = self.test if self.test is not None else self.samples.rows(rest)
        return Parts(self.samples.rows(chosen), test, self.samples.rows(learned))


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


def keep_bench(bench: Bench, folder: Path) -> None:
    """Write rows of the data into a run's folder, so that its nets can be checked without the file they came from."""
    kept = bench.test if bench.test is not None else bench.samples
    rows = np.random.default_rng(0).permutation(len(kept.x))[:KEPT_ROWS]
    file = io.BytesIO()
    np.savez_compressed(file, x=kept.x[np.sort(rows)])
    write_file(folder / KEPT, file.getvalue())


def kept_bench(folder: Path) -> Bench:
    """Return what was kept."""
    samples = read_samples(folder / KEPT)
    return Bench(replace(samples, notices=()), None, KEPT)
