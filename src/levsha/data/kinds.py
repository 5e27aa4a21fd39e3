"""Kinds of numpy types: which hold real numbers, and what to do with the others."""

from __future__ import annotations

import numpy as np

from levsha.errors import LevshaError

NO_NUMBERS = {  # numpy's letter for a kind of type: what it is and what to do
    "U": ("text", "convert it with .astype('float32'); classes: numpy.unique(y, return_inverse=True)[1]"),
    "T": ("text", "convert it with .astype('float32'); classes: numpy.unique(y, return_inverse=True)[1]"),
    "S": ("bytes of text", "convert it with .astype('float32'); classes: numpy.unique(y, return_inverse=True)[1]"),
    "M": ("dates", "give numbers, such as the seconds since a first date"),
    "m": ("spans of time", "give numbers: divide by a unit, such as numpy.timedelta64(1, 's')"),
    "c": ("complex numbers", "give the real and the imaginary parts as columns of their own"),
    "V": ("records of fields", "give one plain array of floats or integers"),
}


def check_kind(dtype: np.dtype, name: str, first: str = "") -> None:
    """Raise LevshaError where an array of this type holds no real numbers."""
    if dtype.kind not in "fiub":
        what, remedy = NO_NUMBERS.get(dtype.kind, (str(dtype), "give floats or integers"))
        raise LevshaError(f"{name}: hold {what}{first}; {remedy}.")
