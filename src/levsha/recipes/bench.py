"""Rows that a model is captured with: those that calibrate, that measure, that are learned from; and what is kept of them in a run's folder."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from levsha.conversion.rows import measured_rows, split_rows
from levsha.data.samples import Samples, read_samples
from levsha.files import write_file

KEPT = "data.npz"
KEPT_ROWS = 2000  # of those that measure: enough to draw vectors from, and to measure again


class Parts(NamedTuple):
    """Rows that calibrate, rows that measure, rows that are learned from."""

    calibration: Samples
    test: Samples
    learned: Samples


@dataclass(frozen=True, eq=False)
class Bench:
    """samples: all rows to work with. test: those to measure on, if they are given; else rows of `samples` that do not calibrate measure."""

    samples: Samples
    test: Samples | None
    name: str

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256((self.samples.digest + (self.test.digest if self.test else "")).encode()).hexdigest()

    def parts(self, calibration_rows: int, fine_tune: bool, seed: int) -> Parts:
        """Return the rows that calibrate, those that measure, and those that fine-tuning learns from, where there is any."""
        x, given = self.samples.x, self.test is not None
        if fine_tune:
            learned, rest = measured_rows(len(x), seed, given)
            chosen = learned[:calibration_rows]
        else:
            chosen, rest = split_rows(len(x), calibration_rows, seed, given)
            learned = chosen
        test = self.test if self.test is not None else self.samples.rows(rest)
        return Parts(self.samples.rows(chosen), test, self.samples.rows(learned))


def keep_bench(bench: Bench, folder: Path) -> None:
    """Write rows of the data into a run's folder, so that its nets can be checked without the file they came from."""
    kept = bench.test if bench.test is not None else bench.samples
    rows = np.sort(np.random.default_rng(0).permutation(len(kept.x))[:KEPT_ROWS])
    arrays = {"x": kept.x[rows]} | ({} if kept.y is None else {"y": kept.y[rows]})
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    write_file(folder / KEPT, file.getvalue())


def kept_bench(folder: Path) -> Bench:
    """Return what was kept."""
    samples = read_samples(folder / KEPT)
    return Bench(replace(samples, notices=()), None, KEPT)
