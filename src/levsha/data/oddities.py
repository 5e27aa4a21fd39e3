"""What looks odd in columns of numbers, in words: values that stand for none, constants, counters; legend: N rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from levsha.data.columns import Column

# What loggers, converters and file formats write where there is no value.
STAND_INS = np.array(
    [sign * value for value in (99, 999, 9999, 99999, 999999, 1e20, 1e30) for sign in (1, -1)]
    + [65535, 32767, -32768, 4294967295, 2147483647, -2147483648]
)
FAR = 3  # times the range of the other values
FEW_CLASSES, MANY_VALUES = 12, 10


def drop_flag(header: str) -> str:
    """Return the flag that leaves a column out, as a shell wants it.

    >>> drop_flag("my time")
    "--drop 'my time'"
    """
    return f"--drop {shlex.quote(header)}"


def notice_inputs(columns: Sequence[Column], names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each oddity of the inputs."""
    for column, name in zip(columns, names, strict=True):
        if column.value_N.min() == column.value_N.max():
            yield f"{name} is {column.value_N[0]:g} in every row: it has no influence."
        elif column.counts_up:
            yield f"{name} grows by one from row to row, as an index does: if it only numbers the rows, {drop_flag(column.header)}."
        else:
            yield from notice_stand_ins(name, column.value_N)


def notice_stand_ins(name: str, value_N: np.ndarray) -> Iterator[str]:
    """Yield a sentence for each value that may stand for a missing one: it is far from all the others.

    Far is FAR times the range of the others; a value nobody is known to write so must also come twice, and the others
    be more than a few.

    >>> list(notice_stand_ins("t", np.array([1.0, 2, 3, -9999])))[0][:45]
    't is -9999 in 1 of 4 rows, far from its other'
    """
    for value, other_N in [*_known(value_N), *_unknown(value_N)]:
        low, high = other_N.min(), other_N.max()
        count = int((value_N == value).sum())
        yield (
            f"{name} is {value:g} in {count} of {len(value_N)} rows, far from its other values, {low:g} to {high:g}: "
            "if that stands for no value, empty those cells, and their rows are left out."
        )


def _known(value_N: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    other_N = value_N[~np.isin(value_N, STAND_INS)]
    for value in STAND_INS[np.isin(STAND_INS, value_N)].tolist():
        if _is_far(value, other_N):
            yield value, other_N


def _unknown(value_N: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    rest_N = value_N[~np.isin(value_N, STAND_INS)]
    for value in (rest_N.min(), rest_N.max()) if len(rest_N) else ():
        other_N = rest_N[rest_N != value]
        repeated = len(rest_N) - len(other_N) > 1
        if repeated and _is_far(value, other_N) and len(np.unique(other_N)) >= MANY_VALUES:
            yield float(value), other_N


def _is_far(value: float, other_N: np.ndarray) -> bool:
    if not len(other_N):
        return False
    low, high = other_N.min(), other_N.max()
    return max(low - value, value - high) > FAR * (high - low)


def notice_target(name: str, value_N: np.ndarray) -> Iterator[str]:
    """Yield a sentence for each oddity of a target that is learnt as a number."""
    found = np.unique(value_N)
    if len(found) <= FEW_CLASSES and (found == np.rint(found)).all():
        values = ", ".join(f"{value:g}" for value in found)
        yield f"{name}, the target, is learnt as a number and holds just {values}: if they stand for classes, add --classes."
    else:
        yield from notice_stand_ins(f"{name}, the target,", value_N)
