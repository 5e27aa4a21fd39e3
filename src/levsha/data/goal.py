"""The column of a CSV file that is learnt, as a number or as classes; legend: N rows."""

from __future__ import annotations

from collections import Counter

import numpy as np

from levsha.data.columns import Column, check_numbers, check_scale
from levsha.data.oddities import notice_target
from levsha.errors import LevshaError

FEWEST_OF_A_CLASS, SHOWN_CLASSES = 3, 12


def read_goal(goal: Column, name: str, classes: bool, notices: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a target as numbers (N, 1) and its name, or as labels (N,) and the names of the classes, in order.

    Words are classes; so are whole numbers with `classes`. What is to be said of it is added to `notices`. LevshaError
    where there is nothing to learn.
    """
    if goal.is_text or classes:
        return _read_classes(goal, name, notices)
    check_numbers(goal)
    if goal.value_N.min() == goal.value_N.max():
        raise _constant(goal, f"{goal.value_N[0]:g}")
    check_scale(goal)
    notices += notice_target(name, goal.value_N)
    return goal.value_N[:, None].copy(), (name,)


def _read_classes(goal: Column, name: str, notices: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    words = _words(goal)
    count_of = Counter(words)
    if len(count_of) == 1:
        raise _constant(goal, repr(words[0]))
    if 2 * len(count_of) > len(words):
        kind = "looks like a time" if goal.looks_like_time else "is to be classes"
        found = f"{kind}, with {len(count_of)} different values in {len(words)} rows"
        raise LevshaError(f"{_target(goal)}, {found}: name another column with --target-column.")
    names = sorted(count_of, key=lambda word: (0, int(word), word) if not goal.bad_N.any() else (1, 0, word))
    for word in names:
        if not word.isprintable():
            raise LevshaError(f"{_target(goal)}: the class {word!r} has no printable name; rename it.")
        if count_of[word] < FEWEST_OF_A_CLASS:
            found = f"{goal.place(words.index(word))}: the class {word!r} has {count_of[word]} rows"
            raise LevshaError(f"{found}; at least {FEWEST_OF_A_CLASS} are needed; rename it or delete them.")
    notices.append(_describe(name, names, count_of))
    label_of = {word: label for label, word in enumerate(names)}
    return np.array([label_of[word] for word in words], dtype=np.int64), tuple(names)


def _words(goal: Column) -> list[str]:
    """Return a row's class, in words; whole numbers as such, true and false in small letters."""
    if goal.is_truth:
        return [cell.lower() for cell in goal.cells]
    if goal.bad_N.any():
        return list(goal.cells)
    for n in np.flatnonzero(goal.value_N != np.rint(goal.value_N))[:1]:
        raise LevshaError(
            f"{goal.place(n)}: is {goal.cells[n]!r}; classes are words or whole numbers; correct it, or leave --classes out."
        )
    return [f"{value:.0f}" for value in goal.value_N]


def _describe(name: str, names: list[str], count_of: Counter[str]) -> str:
    shown = ", ".join(f"{word} ({count_of[word]} rows)" for word in names[:SHOWN_CLASSES])
    more = f" and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    alike = Counter(word.lower() for word in names)
    same = [word for word in names if alike[word.lower()] > 1]
    hint = f" Just capitals tell apart {', '.join(same[:4])}." if same else ""
    return f"{name}, the target, is learnt as {len(names)} classes: {shown}{more}.{hint}"


def _target(goal: Column) -> str:
    return f"{goal.where}, the target"


def _constant(goal: Column, value: str) -> LevshaError:
    return LevshaError(
        f"{_target(goal)}, is {value} in every row: nothing to learn; name another column with --target-column."
    )
