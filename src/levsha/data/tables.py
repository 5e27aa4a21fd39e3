"""Tables of numbers to learn from: buried spheres, diabetes, digits, or the user's own CSV file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.csv import read_table
from levsha.data.digits import ABOUT, load_digits
from levsha.data.table import FEWEST_ROWS, Table
from levsha.errors import LevshaError, check_range

MOST_ROWS = 1_000_000
GRAVITATION, MICROGAL = 6.67430e-11, 1e8  # m^3 / (kg s^2), CODATA 2018; microgal in 1 m/s^2
STATIONS_M = np.linspace(-110, 110, 12)
# Wide enough that least squares fails, big enough that the noise of a field gravimeter, 2 uGal, hides no sphere.
CENTRE_M, DEPTH_M, RADIUS_M, CONTRAST_KG_M3 = (-40, 40), (20, 60), (10, 20), (300, 800)


def sphere_gravity(mass_N: np.ndarray, centre_N: np.ndarray, depth_N: np.ndarray, station_S: np.ndarray) -> np.ndarray:
    """Return the vertical gravity anomaly (N, S) in microgal of spheres of excess mass (kg) at stations on a line (m).

    A sphere pulls like a point mass at its centre: Telford, Geldart, Sheriff, Applied Geophysics, 2nd ed., chapter 2.

    >>> sphere_gravity(np.array([2e6]), np.array([0.0]), np.array([20.0]), np.array([0.0, 20.0])).round(2)
    array([[33.37, 11.8 ]])
    """
    square_NS = (station_S - centre_N[:, None]) ** 2 + depth_N[:, None] ** 2
    return MICROGAL * GRAVITATION * (mass_N * depth_N)[:, None] / (square_NS * np.sqrt(square_NS))


def _make_gravity(samples: int, noise: float, seed: int) -> Table:
    check_range("samples", samples, FEWEST_ROWS, MOST_ROWS)
    check_range("noise", noise, 0, 1000)
    check_range("seed", seed, 0, 2**32 - 1)
    # Drawn sphere by sphere, the noise apart: more samples begin with the fewer, other noise keeps the spheres.
    low, high = zip(CENTRE_M, DEPTH_M, (0, 1), CONTRAST_KG_M3, strict=True)
    centre_N, depth_N, share_N, contrast_N = np.random.default_rng([2000, seed]).uniform(low, high, (samples, 4)).T
    radius_N = RADIUS_M[0] + share_N * (np.minimum(RADIUS_M[1], 0.8 * depth_N) - RADIUS_M[0])  # it stays underground
    mass_N = 4 / 3 * np.pi * radius_N * radius_N * radius_N * contrast_N
    x_NI = sphere_gravity(mass_N, centre_N, depth_N, STATIONS_M)
    x_NI += noise * np.random.default_rng([2001, seed]).standard_normal(x_NI.shape)
    about = (
        f"Synthetic gravity surveys of one buried sphere each: 12 readings on a line, with {noise:g} uGal of Gaussian "
        "noise, and the depth of the sphere's centre (formula: Telford, Geldart, Sheriff, Applied Geophysics, 1990)."
    )
    features = tuple(f"g({station:g} m)" for station in STATIONS_M)
    return Table("gravity", about, x_NI, depth_N[:, None].copy(), features, ("uGal",) * 12, ("depth",), "m")


def _make_diabetes(samples: int, noise: float, seed: int) -> Table:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise LevshaError(f"diabetes: comes with scikit-learn ({error}); run: pip install scikit-learn") from None
    found: Any = datasets.load_diabetes(scaled=False)
    about = (
        "442 people with diabetes, ten measurements each, and its progress a year later (Efron, Hastie, Johnstone "
        "and Tibshirani, Least Angle Regression, 2004); ships with scikit-learn, which states no licence of the data."
    )
    serum = ("total cholesterol", "low-density lipoproteins", "high-density lipoproteins", "total cholesterol / HDL")
    serum += ("log of triglycerides", "blood sugar")  # the source gives no units for them, and calls s5 a "possibly"
    features = ("age", "sex", "bmi", "bp", *(f"s{number} {what}" for number, what in enumerate(serum, 1)))
    units = ("years", "", "kg/m^2", "mmHg", *("",) * len(serum))
    x_NI, y_NO = found.data.astype(np.float64), found.target.astype(np.float64)[:, None]
    return Table("diabetes", about, x_NI, y_NO, features, units, ("disease progression after a year",), "")


def _make_digits(samples: int, noise: float, seed: int) -> Table:
    images, labels = load_digits()
    features = tuple(f"pixel ({row}, {column})" for row in range(8) for column in range(8))
    x_NI = images.reshape(len(images), -1).astype(np.float64)
    return Table("digits", ABOUT, x_NI, labels, features, ("",) * 64, tuple("0123456789"), "", (8, 8))


Make = Callable[[int, float, int], Table]
TABLES: dict[str, Make] = {"gravity": _make_gravity, "diabetes": _make_diabetes, "digits": _make_digits}


def load_table(
    source: str,
    samples: int = 4000,
    noise: float = 2.0,
    seed: int = 0,
    target: str | None = None,
    drop: tuple[str, ...] = (),
    classes: bool = False,
) -> Table:
    """Return a table by its name in TABLES, or from a CSV file: any source with a dot or a slash in it.

    samples (20 to 1 000 000), noise (uGal, 0 to 1000) and seed make gravity what it is; real tables come whole.
    Of a CSV file, target is the column to learn, by default the last; those named in drop are left out; with classes, a
    target of whole numbers is classes, as one of words always is. LevshaError says what is wrong, in which line and column.
    """
    if any(mark in source for mark in "./\\"):
        return read_table(Path(source), target, drop, classes)
    if source not in TABLES:
        raise LevshaError(f"{source!r}: is no table; there are {', '.join(TABLES)}, or give the path of a .csv file.")
    for flag, given in (("--target-column", target), ("--drop", " ".join(drop)), ("--classes", classes)):
        if given not in (None, "", False):
            found = f"is {given!r}, but {source} has columns and a target of its own"
            raise LevshaError(f"{flag}: {found}; leave {flag} out, or give the path of a .csv file.")
    return TABLES[source](samples, noise, seed)
