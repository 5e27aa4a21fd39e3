"""Samples: inputs, and the right answers where they are known; checked once, whatever file they came from.  Legend: N samples, O outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from levsha.data.kinds import check_kind
from levsha.errors import LevshaError

MOST_CLASSES = 1 << 16  # a larger class number is a mistake: an id, a time, a measured value


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and what is known of the right answers, in the order of the file; legend: N samples."""

    x: np.ndarray  # (N, ...): integers as given, uint8 for bytes and images; float32 or float64; finite
    y: np.ndarray | None  # (N,) int64: classes from 0; (N,) or (N, O) float: numbers to predict; None: nothing is known
    names: tuple[str, ...] = ()  # of the inputs' columns
    units: tuple[str, ...] = ()  # likewise, "" where unknown
    classes: tuple[str, ...] = ()  # names of the classes by number, where the file has them
    notices: tuple[str, ...] = ()  # what was read, cut or left out, a sentence each
    about: str = ""  # what it is and where it is from, in a sentence

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.x)

    @property
    def is_classes(self) -> bool:
        """Whether y holds numbers of classes."""
        return self.y is not None and self.y.dtype.kind == "i"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of inputs, answers and names; neither of the notices nor of where they are from."""
        sha = hashlib.sha256(repr((self.names, self.units, self.classes)).encode())
        for array in (self.x, self.y):
            if array is not None:
                plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
                sha.update(f"{plain.dtype.str} {plain.shape}".encode())
                sha.update(plain.data if plain.size else b"")
        return sha.hexdigest()

    def rows(self, index_N: np.ndarray) -> Samples:
        """Return the chosen samples, in that order; index_N: integers or booleans."""
        return replace(self, x=self.x[index_N], y=None if self.y is None else self.y[index_N])


def check_inputs(x: np.ndarray, where: str) -> np.ndarray:
    """Return inputs (N, ...) in this machine's byte order: integers as they are, float16 as float32, bool as uint8.

    where: what an error calls them. LevshaError for what holds no real numbers, no sample, or one that is not finite.
    """
    x = _check_plain(x, where, "one sample or more, (N, ...)")
    if x.ndim == 1:
        raise LevshaError(
            f"{where}: is one row of {len(x)} numbers; wanted is (samples, ...): write x[None] for one sample, "
            "x[:, None] for samples of one number."
        )
    if not x.size:
        raise LevshaError(
            f"{where}: is empty, of shape {x.shape}; give one sample or more, each of one number or more."
        )
    x = x.astype(np.uint8) if x.dtype.kind == "b" else x
    check_finite(x, where)
    return np.ascontiguousarray(x)


def check_answers(
    y: np.ndarray, where: str, as_classes: bool | None, notices: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return answers as Samples.y has them, and the names of their classes where they are text.

    y: (N,) or (N, O). Integers, bool and text are classes, text in sorted order; rows of a single 1 are classes one-hot. Floats are numbers.
    as_classes: False takes integers as numbers too, True whole floats as classes. What was decided is added to `notices`. LevshaError
    for what is none of these.
    """
    if y.dtype.kind in "UST":
        return name_classes(_texts(y, where), where, notices)
    y = _check_plain(y, where, "an answer for each sample, (N,) or (N, O)")
    check_finite(y, where)
    if y.ndim > 2 or (y.ndim == 2 and not y.shape[1]):
        raise LevshaError(f"{where}: is of shape {y.shape}; allowed are (N,) and (N, outputs).")
    whole = y.dtype.kind in "iub"
    if not whole and as_classes:
        for at in np.argwhere(y != np.rint(y))[:1]:
            raise LevshaError(f"{where}: row {at[0]} holds {y[tuple(at)]:g}; classes are whole numbers from 0.")
        y, whole = np.rint(y).astype(np.int64), True
    if not whole or as_classes is False:
        return y.astype(np.float64) if whole else y, ()
    if y.ndim == 2 and y.shape[1] > 1:
        return _from_columns(y, where, notices), ()
    return check_classes(y.reshape(len(y)), where), ()


def check_classes(y_N: np.ndarray, where: str) -> np.ndarray:
    """Return numbers of classes (N,) as int64; LevshaError for one that is negative or not below MOST_CLASSES."""
    for n in np.flatnonzero((y_N < 0) | (y_N >= MOST_CLASSES))[:1]:
        raise LevshaError(
            f"{where}: row {n} holds {y_N[n]}; integers are classes, 0 to {MOST_CLASSES - 1}; write numbers to predict as floats: "
            "y.astype('float32')."
        )
    return y_N.astype(np.int64)


def name_classes(words: Sequence[str], where: str, notices: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return numbers of classes (N,) for words, and the words by number: sorted."""
    names = tuple(sorted(set(words)))
    for name in names:
        if not name.strip() or not name.isprintable():
            raise LevshaError(
                f"{where}: row {list(words).index(name)} holds {name!r}; give every class a printable name."
            )
    number_of = {name: number for number, name in enumerate(names)}
    shown = ", ".join(f"{number} {name}" for number, name in enumerate(names[:12]))
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    notices.append(f"Classes are numbered in sorted order: {shown}{more}.")
    return np.array([number_of[word] for word in words], dtype=np.int64), names


def check_lengths(x: np.ndarray, y: np.ndarray | None, where: str) -> None:
    """Raise LevshaError where there is not one answer for each sample."""
    if y is not None and len(y) != len(x):
        raise LevshaError(f"{where}: has {len(x)} samples and {len(y)} answers; give one answer for each sample.")


def check_finite(array: np.ndarray, where: str) -> None:
    """Raise LevshaError where a float is infinite or no number: the first place, and how many."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    bad = ~np.isfinite(array)
    first = np.unravel_index(int(bad.argmax()), array.shape)
    rows = int(bad.reshape(len(array), -1).any(1).sum())
    raise LevshaError(
        f"{where}: row {first[0]} (from 0) holds {array[first]}; in all {int(bad.sum())} values in {rows} of {len(array)} rows are not "
        "finite; remove those rows, or give measured values."
    )


def _check_plain(array: np.ndarray, where: str, wanted: str) -> np.ndarray:
    if array.dtype.kind == "O":
        raise LevshaError(
            f"{where}: holds Python objects, which are never unpickled; write an array of floats or integers, such as x.astype('float32')."
        )
    check_kind(array.dtype, where)
    if not array.ndim:
        raise LevshaError(f"{where}: is a single number; wanted is {wanted}.")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        return array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _texts(y: np.ndarray, where: str) -> list[str]:
    if y.ndim != 1:
        raise LevshaError(f"{where}: is text of shape {y.shape}; give the name of a class for each sample, (N,).")
    try:
        return [word.decode() if isinstance(word, bytes) else str(word) for word in y.tolist()]
    except UnicodeDecodeError as error:
        raise LevshaError(
            f"{where}: holds text that is not UTF-8 ({error.reason}); give names of classes as str."
        ) from None


def _from_columns(y_NO: np.ndarray, where: str, notices: list[str]) -> np.ndarray:
    """Integers in several columns: classes where each row has one 1 and else 0, and numbers to predict elsewhere."""
    if ((y_NO == 0) | (y_NO == 1)).all() and (y_NO.sum(1) == 1).all():
        notices.append(f"{where}: rows of a single 1 were read as {y_NO.shape[1]} classes, one-hot.")
        return y_NO.argmax(1).astype(np.int64)
    notices.append(f"{where}: integers in {y_NO.shape[1]} columns were read as numbers to predict.")
    return y_NO.astype(np.float64)
