"""What the integers of a sensor model mean: readings and results in round units; legend: N examples, I inputs, O outputs.

A reading is an integer count of a step that is a power of ten of the input's unit, so that a person can type it and a sensor's
driver can make it: 10 ^ -2 m, 1 mmHg.  Each input has its own step, zero and range: they mean different things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from levsha.arith import INT16_MAX
from levsha.data.standard import Standard
from levsha.ir import Value
from levsha.meaning import Quantity

FINE = 100  # at least so many steps to a standard deviation of an input, ten times as many of the target
FAR = 300  # standard deviations from zero: from there on readings count from their mean
MARGIN = 0.25  # of the span seen in training, on both sides, is still a valid reading
CONSTANT_MARGIN = 0.1  # of its magnitude, where an input was constant


def readings_of(
    x_NI: np.ndarray, standard: Standard, names: Sequence[str], units: Sequence[str]
) -> tuple[tuple[Quantity, ...], Value]:
    """Return what each reading means, and the range in which each is taken, from the training inputs and their spread."""
    columns = [
        _reading(x_N, std, constant)
        for x_N, std, constant in zip(x_NI.T, standard.std_C, standard.constant_C, strict=True)
    ]
    quantities = tuple(
        Quantity(name, unit, step, zero) for name, unit, (step, zero, _) in zip(names, units, columns, strict=True)
    )
    return quantities, Value.of_ranges([ends for *_, ends in columns])


def results_of(y_NO: np.ndarray, standard: Standard, names: Sequence[str], unit: str) -> tuple[Quantity, ...]:
    """Return what each result means, from the training targets and their spread: one step and one zero for all."""
    std_O = standard.std_C
    step = 10.0 ** math.floor(math.log10(float(std_O.min()) / FINE / 10))
    zero, spread = 0.0, 3 * float(std_O.max())
    if np.abs(y_NO).max() + spread > 100 * step * INT16_MAX / 10:
        zero = float(np.rint(y_NO.mean() / (1000 * step)) * 1000 * step)
    while np.abs(y_NO - zero).max() + spread > step * INT16_MAX:
        step *= 10
    return tuple(Quantity(name, unit, _tidy(step), zero) for name in names)


def _reading(x_N: np.ndarray, std: float, constant: bool) -> tuple[float, float, tuple[int, int]]:
    """Step, zero and (lo, hi) of one input's readings."""
    largest = float(np.abs(x_N).max())
    whole = bool((x_N == np.rint(x_N)).all() and largest < INT16_MAX)
    spread = (largest or 1.0) if constant else std
    step = 1.0 if whole else 10.0 ** math.floor(math.log10(spread / FINE))
    zero = 0.0
    if largest > min(
        INT16_MAX * step, FAR * spread
    ):  # offsets so large would be coarse, counts beyond int16 impossible
        zero = float(np.rint(x_N.mean() / (FINE * step)) * FINE * step)
    while np.abs(x_N - zero).max() > INT16_MAX * step:  # an outlier
        step *= 10
    return _tidy(step), zero, _ends(x_N, zero, step, whole, constant)


def _ends(x_N: np.ndarray, zero: float, step: float, whole: bool, constant: bool) -> tuple[int, int]:
    """What was seen and a margin, within int16, and not below zero where that never was."""
    low, high = float((x_N.min() - zero) / step), float((x_N.max() - zero) / step)
    room = CONSTANT_MARGIN * abs(float(x_N.max())) / step if constant else MARGIN * (high - low)
    room = round(room) if whole else room
    floor = max(-INT16_MAX, math.ceil(-zero / step)) if x_N.min() >= 0 else -INT16_MAX
    lo, hi = math.floor(round(low - room, 6)), math.ceil(round(high + room, 6))
    return max(floor, lo), min(INT16_MAX, hi)


def _tidy(step: float) -> float:
    return float(f"{step:.6g}")
