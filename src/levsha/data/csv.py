"""A user's CSV file as a table to learn from, or as inputs to predict from; legend: N rows, I inputs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from levsha.data.columns import (
    Column,
    check_numbers,
    check_scale,
    find_decimal_commas,
    read_column,
    split_unit,
    split_units,
)
from levsha.data.goal import read_goal
from levsha.data.oddities import drop_flag, notice_inputs
from levsha.data.sheet import Sheet, read_sheet
from levsha.data.table import FEWEST_ROWS, Table
from levsha.errors import LevshaError, warn

SHOWN_NAMES = 20


def read_table(path: Path, target: str | None = None, drop: Sequence[str] = (), classes: bool = False) -> Table:
    """Return a file's table; `target` (by default the last column) is learnt, the columns named in `drop` are left out.

    A target of words, or of true and false, is classes, and so is one of whole numbers with `classes`. Rows with a
    missing cell are left out. The table's notices say and count what was read, left out or looks odd. LevshaError says
    what is wrong, in which line and column.
    """
    sheet = read_sheet(path)
    notices = list(sheet.notices)
    chosen = _choose(sheet, target, drop, notices)
    columns, commas = read_columns(sheet, chosen)
    *inputs, goal = full_rows(columns, notices)
    pairs = split_units([column.header for column in columns])
    features, units = tuple(name for name, _ in pairs[:-1]), tuple(unit for _, unit in pairs[:-1])
    if any(column.bad_N.any() for column in columns):
        sheet.check_quotes()
    for column in inputs:
        check_text(column)
    inputs = [as_numbers(sheet, column, notices) for column in inputs]
    for column in inputs:
        check_scale(column)
    notices += notice_inputs(inputs, features)
    y_NO, outputs = read_goal(goal, pairs[-1][0], classes, notices)
    notices.insert(0, describe_use(sheet, len(y_NO), len(columns), commas))
    return Table(
        path.name, f"The file {path.name}: {len(y_NO)} rows of {len(features)} inputs and the target {pairs[-1][0]}.",
        np.column_stack([column.value_N for column in inputs]), y_NO, features, units, outputs,
        pairs[-1][1] if y_NO.ndim > 1 else "", notices=tuple(notices),
    )  # fmt: skip


def read_inputs(path: Path, features: Sequence[str], units: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Return a file's values (N, I) of the columns named `features`, with or without their unit, and each row's line.

    units: those the features have, "" where unknown; a header with another one is refused. Other columns are ignored,
    and counted in a warning. LevshaError where a column or a cell is missing, in which line and column.
    """
    sheet = read_sheet(path)
    if not len(sheet.line_N):
        raise LevshaError(f"{path}: has no rows below the header; write one for each answer.")
    chosen = [_find_feature(sheet, name) for name in features]
    for name, unit, at in zip(features, units, chosen, strict=False):
        found = split_unit(sheet.headers[at])[1]
        if found and unit and found != unit and sheet.headers[at] != name:
            raise LevshaError(
                f"{path}: column {at + 1} {sheet.headers[at]!r}: is in {found}; {name} is wanted in {unit}."
            )
    columns, commas = read_columns(sheet, chosen)
    for column in columns:
        for n in np.flatnonzero(column.missing_N)[:1]:
            raise LevshaError(f"{column.place(n)}: is {column.cells[n] or 'empty'}; fill it in or delete the line.")
    notices = list(sheet.notices)
    values = [as_numbers(sheet, column, notices).value_N for column in columns]
    others = [name for at, name in enumerate(sheet.headers) if at not in chosen]
    if others:
        counted = "1 column is" if len(others) == 1 else f"{len(others)} columns are"
        notices.append(f"{counted} not used: {listed(others)}.")
    if notices or commas:
        warn(" ".join([describe_use(sheet, len(sheet.line_N), len(columns), commas), *notices]))
    return np.column_stack(values), sheet.line_N


def describe_use(sheet: Sheet, rows: int, columns: int, commas: bool) -> str:
    """Return how much of a file is used, and how it is written."""
    used = f"{rows} of {len(sheet.line_N)} rows and {columns} of {len(sheet.headers)} columns are used"
    return f"{sheet.path.name}: {used}, {sheet.describe_dialect()}{', with decimal commas' if commas else ''}."


def _choose(sheet: Sheet, target: str | None, drop: Sequence[str], notices: list[str]) -> list[int]:
    """Return the columns to use, the target last; an index without a name is left out."""
    if len(sheet.headers) == 1:
        found = f"line {sheet.header_line}: has 1 column, {sheet.headers[0]!r}"
        raise LevshaError(f"{sheet.path}: {found}; write 2 or more, cut by comma, semicolon or tab.")
    dropped = {find_column(sheet, name, "--drop") for name in drop}
    kept = [at for at in range(len(sheet.headers)) if at not in dropped]
    if 0 in kept and is_index(sheet):
        kept.remove(0)
        notices.append(f"Column 1, {sheet.headers[0]!r}, is an index, as pandas writes it: it is left out.")
    if dropped:
        notices.append(f"Left out by --drop: {listed([sheet.headers[at] for at in sorted(dropped)])}.")
    goal = kept[-1] if target is None and kept else find_column(sheet, target or "", "--target-column")
    if goal in dropped:
        raise LevshaError(f"{sheet.path}: {sheet.headers[goal]!r} is the target and in --drop; leave it out of one.")
    inputs = [at for at in kept if at != goal]
    if not inputs:
        raise LevshaError(f"{sheet.path}: no column is left to learn from beside the target {sheet.headers[goal]!r}.")
    if len(sheet.line_N) < FEWEST_ROWS:
        raise LevshaError(
            f"{sheet.path}: has {len(sheet.line_N)} rows below the header; at least {FEWEST_ROWS} are needed."
        )
    return [*inputs, goal]


def is_index(sheet: Sheet) -> bool:
    """Whether the first column is an index that pandas wrote, without a name; LevshaError for another without one."""
    header, cells = sheet.headers[0], [cell.strip() for cell in sheet.cell_NC[:, 0]]
    if not header and len(set(cells)) < len(cells):
        where = f"{sheet.path}: line {sheet.header_line}, column 1"
        raise LevshaError(f"{where}: the name is ''; give every column a printable name.")
    return not header or (header == "Unnamed: 0" and len(set(cells)) == len(cells))


def find_column(sheet: Sheet, name: str, flag: str) -> int:
    """Return the column a flag names, by its header or by that without its unit."""
    found = [at for at, header in enumerate(sheet.headers) if header == name]
    found = found or [at for at, header in enumerate(sheet.headers) if split_unit(header)[0] == name]
    if len(found) > 1:
        raise LevshaError(
            f"{sheet.path}: {flag} {name!r} may be {listed([sheet.headers[at] for at in found])}; write it whole."
        )
    if not found:
        near = _near(name, sheet.headers)
        raise LevshaError(
            f"{sheet.path}: has no column {name!r} for {flag}; {near}its columns are {listed(sheet.headers)}."
        )
    return found[0]


def _find_feature(sheet: Sheet, feature: str) -> int:
    wanted, plain = split_unit(feature)[0], [split_unit(header)[0] for header in sheet.headers]
    for names, name in ((sheet.headers, feature), (plain, feature), (sheet.headers, wanted), (plain, wanted)):
        found = [at for at, other in enumerate(names) if other == name]
        if len(found) == 1:
            return found[0]
    near = _near(feature, sheet.headers)
    raise LevshaError(f"{sheet.path}: has no column {feature!r}; {near}its columns are {listed(sheet.headers)}.")


def _near(name: str, headers: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, headers, 2, 0.6)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


def listed(names: Sequence[str]) -> str:
    """Return names for a sentence, the first SHOWN_NAMES of them."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(name or "(no name)" for name in names[:SHOWN_NAMES]) + more


def read_columns(sheet: Sheet, chosen: Sequence[int]) -> tuple[list[Column], bool]:
    """Return the chosen columns, and whether their numbers have decimal commas."""
    columns = [
        read_column(sheet.path, sheet.headers[at], at + 1, sheet.line_N, sheet.cell_NC[:, at].tolist()) for at in chosen
    ]
    commas = sheet.written.delimiter != "," and find_decimal_commas(columns)
    return [column.with_decimal_commas() for column in columns] if commas else columns, commas


def full_rows(columns: Sequence[Column], notices: list[str], fewest: int = FEWEST_ROWS) -> list[Column]:
    """Return the columns without the rows in which a cell is missing; LevshaError where less than half or `fewest` are left."""
    missing_CN = np.array([column.missing_N for column in columns])
    gone_N = np.logical_or.reduce(missing_CN)
    gone, rows = int(gone_N.sum()), len(gone_N)
    if not gone:
        return list(columns)
    worst = columns[int(missing_CN.sum(1).argmax())]
    first = int(gone_N.argmax())
    place = columns[int(missing_CN[:, first].argmax())].place(first).removeprefix(f"{worst.path}: ")
    found = f"{gone} of {rows} rows are left out: a cell is empty or stands for no value; first {place}"
    if 2 * gone > rows or rows - gone < fewest:
        most = f"most in column {worst.at} {worst.header!r}, {int(worst.missing_N.sum())} rows"
        raise LevshaError(
            f"{worst.path}: too many, {found}, {most}: fill them in, or leave it out: {drop_flag(worst.header)}."
        )
    notices.append(f"{found}.")
    return [column.kept(~gone_N) for column in columns]


def as_numbers(sheet: Sheet, column: Column, notices: list[str]) -> Column:
    """Return a column that is numbers; true and false are 1 and 0. LevshaError for words."""
    if column.is_truth:
        notices.append(f"{column.header}: true was read as 1, false as 0.")
        return column.as_truth()
    if column.bad_N.any():
        sheet.check_quotes()
    check_numbers(column)
    return column


def check_text(column: Column) -> None:
    """Raise LevshaError for a column of words, which can only be left out."""
    if not column.is_text or column.is_truth:
        return
    first = int(column.bad_N.argmax())
    looks = "looks like a time" if column.looks_like_time else "is text"
    found = f"{looks} ({column.cells[first][:40]!r} in line {column.line_N[first]})"
    raise LevshaError(f"{column.where}: {found}; a net learns from numbers; leave it out: {drop_flag(column.header)}.")
