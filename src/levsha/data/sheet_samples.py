"""Samples in a CSV file: columns of numbers in, the columns that are called y, target, label or class, or those named, as answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from levsha.data.columns import Column, split_unit, split_units
from levsha.data.csv import as_numbers, check_text, describe_use, find_column, full_rows, is_index, listed, read_columns
from levsha.data.sample_set import MOST_CLASSES, Samples, check_classes, name_classes
from levsha.data.sheet import Sheet, read_sheet
from levsha.errors import LevshaError

ANSWER = re.compile(r"(y|targets?|labels?|class(es)?)[ _.-]?\d*", re.IGNORECASE)
CLASS = re.compile(r"(labels?|class(es)?)[ _.-]?\d*", re.IGNORECASE)


def read_sheet_samples(
    path: Path, target: Sequence[str] = (), drop: Sequence[str] = (), as_classes: bool | None = None
) -> Samples:
    """Return the samples of a CSV file, plain or .gz, as float64; rows with an empty cell are left out, and counted.

    target: the columns of the answers; without them those at the end that are called y, target, label or class. drop: columns
    that are left out. Words, and true and false, are classes; so are whole numbers from 0 without a decimal point; as_classes: True or
    False decides it for numbers. Several columns are numbers. LevshaError says what is wrong, in which line and column.
    """
    sheet = read_sheet(path)
    if not len(sheet.line_N):
        raise LevshaError(f"{path}: has no rows below the header; write one for each sample.")
    notices = list(sheet.notices)
    inputs, answers = _choose(sheet, target, drop, notices)
    columns, commas = read_columns(sheet, [*inputs, *answers])
    columns = full_rows(columns, notices, fewest=1)
    for column in columns[: len(inputs)]:
        check_text(column)
    x = [as_numbers(sheet, column, notices).value_N for column in columns[: len(inputs)]]
    y, classes = _read_answers(sheet, columns[len(inputs) :], as_classes, notices)
    pairs = split_units([column.header for column in columns[: len(inputs)]])
    notices.insert(0, describe_use(sheet, len(x[0]), len(columns), commas))
    return Samples(
        np.column_stack(x), y, tuple(name for name, _ in pairs), tuple(unit for _, unit in pairs), classes, tuple(notices),
        f"The file {path.name}: {len(x[0])} rows of {len(x)} inputs.",
    )  # fmt: skip


def _choose(
    sheet: Sheet, target: Sequence[str], drop: Sequence[str], notices: list[str]
) -> tuple[list[int], list[int]]:
    """Return the columns of the inputs and those of the answers."""
    dropped = {find_column(sheet, name, "--drop") for name in drop}
    kept = [at for at in range(len(sheet.headers)) if at not in dropped]
    if len(kept) > 1 and kept[0] == 0 and is_index(sheet):
        kept.remove(0)
        notices.append(f"Column 1, {sheet.headers[0]!r}, is an index, as pandas writes it: it is left out.")
    if dropped:
        notices.append(f"Left out by --drop: {listed([sheet.headers[at] for at in sorted(dropped)])}.")
    if not target:
        first = len(kept)
        while first and ANSWER.fullmatch(split_unit(sheet.headers[kept[first - 1]])[0]):
            first -= 1
        answers = kept[first:]
    else:
        answers = list(dict.fromkeys(find_column(sheet, name, "--target-column") for name in target))
    for at in dropped.intersection(answers):
        raise LevshaError(f"{sheet.path}: {sheet.headers[at]!r} is the target and in --drop; leave it out of one.")
    inputs = [at for at in kept if at not in answers]
    if not inputs:
        raise LevshaError(
            f"{sheet.path}: no column of inputs is left beside {listed([sheet.headers[at] for at in answers])}; add some."
        )
    shown = listed([sheet.headers[at] for at in answers])
    notices.append(
        f"Right answers: {shown}."
        if answers
        else "Nothing is known of the right answers: no column is called y, target, label or class."
    )
    return inputs, answers


def _read_answers(
    sheet: Sheet, columns: Sequence[Column], as_classes: bool | None, notices: list[str]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if not columns:
        return None, ()
    if len(columns) > 1:
        return np.column_stack([as_numbers(sheet, column, notices).value_N for column in columns]), ()
    (column,) = columns
    named_class = CLASS.fullmatch(split_unit(column.header)[0]) is not None
    if column.is_text or column.is_truth or (column.bad_N.any() and (named_class or as_classes)):
        words = [cell.lower() for cell in column.cells] if column.is_truth else column.cells
        return name_classes(words, column.where, notices)
    y_N = as_numbers(sheet, column, notices).value_N
    if as_classes is None:
        as_classes = named_class or _look_like_classes(column, y_N)
        taken = "numbers of classes" if as_classes else "a number to predict"
        notices.append(f"{column.header}, {y_N.min():g} to {y_N.max():g}, is read as {taken}.")
    return _as_classes(y_N, column) if as_classes else y_N, ()


def _look_like_classes(column: Column, y_N: np.ndarray) -> bool:
    """Whether every cell is a whole number from 0, written as such."""
    return all(cell.isdecimal() for cell in column.cells) and bool((y_N < MOST_CLASSES).all())


def _as_classes(y_N: np.ndarray, column: Column) -> np.ndarray:
    for n in np.flatnonzero((y_N != np.rint(y_N)) | (y_N < 0))[:1]:
        raise LevshaError(
            f"{column.place(n)}: is {column.cells[n]!r}; classes are words or whole numbers from 0; correct it."
        )
    return check_classes(y_N.astype(np.int64), column.where)
