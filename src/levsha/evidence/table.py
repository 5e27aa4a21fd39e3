"""The table of a run, from results.json alone: one list of columns for the terminal, for Markdown and for the README."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

UNKNOWN = "–"
GAP = 2  # columns of text between two of a table
LABELS = {
    "end_mark": "always the end mark",
    "nearest_15": "15 nearest",
    "linear": "least squares",
}  # of trivial predictors
Cells = Mapping[str, Any]


def label_of(name: str) -> str:
    """Return what a trivial predictor is called.

    >>> label_of("nearest_15"), label_of("mean")
    ('15 nearest', 'mean')
    """
    return LABELS.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Column:
    """title: broken where a narrow head may break; cell: of a row of results.json; empty where the row says nothing of it."""

    title: str
    cell: Callable[[Cells], str]

    @property
    def flat_title(self) -> str:
        """The title in one line.

        >>> Column("para-\\nmeters", str).flat_title, Column("flash\\nbytes", str).flat_title
        ('parameters', 'flash bytes')
        """
        return self.title.replace("-\n", "").replace("\n", " ")


def number(title: str, key: str, form: str) -> Column:
    """Return a column of real numbers; form: as in format()."""
    return Column(title, lambda row: "" if row.get(key) is None else format(row[key], form))


def count(title: str, key: str) -> Column:
    """Return a column of counts, thousands apart; a dash where it was not measured."""
    return Column(title, lambda row: "" if key not in row else grouped(row[key]))


def grouped(value: int | None) -> str:
    """Return a count with its thousands apart.

    >>> grouped(175041), grouped(None)
    ('175 041', '–')
    """
    return UNKNOWN if value is None else f"{value:,}".replace(",", " ")


def _times(row: Cells) -> str:
    if "ms" not in row:
        return ""
    return (
        " ".join(f"{row['ms'][key]:.{1 if row['ms']['mean'] >= 10 else 2}f}" for key in ("min", "mean", "max"))
        if row["ms"]
        else UNKNOWN
    )


def _fits(row: Cells) -> str:
    return {True: "yes", False: "no", None: UNKNOWN}[row["fits"]] if "fits" in row else ""


def _mismatches(row: Cells) -> str:
    if "mismatches" not in row:
        return ""
    return UNKNOWN if row["mismatches"] is None else f"{row['mismatches']}/{row['vectors']}"


NAME = Column("variant", lambda row: row["name"])


def chip_columns(unit: str) -> tuple[Column, ...]:
    """Return what is known of a net on its chip; unit: what the milliseconds are of, such as `an answer`."""
    return (
        count("para-\nmeters", "parameters"), count("weights\nbytes", "weight_bytes"), count("flash\nbytes", "flash_bytes"),
        count("SRAM\nbytes", "sram_bytes"), Column(f"ms {unit}\nmin mean max", _times), Column("fits", _fits),
        Column("mis-\nmatches", _mismatches),
    )  # fmt: skip


def rows_of(results: Mapping[str, Any]) -> list[Cells]:
    """Return the rows of a table: the variants, then the reference predictors, their names in brackets."""
    references = [{"name": f"({label_of(name)})", **r} for name, r in results["references"].items()]
    return [*results["variants"], *references]


def rich_tables(results: Mapping[str, Any], columns: Sequence[Column], width: int) -> list[Table]:
    """Return the table for a terminal of so many columns of text: whole, or in two halves, each with the names."""
    rows = rows_of(results)
    cells = [[column.cell(row) for column in columns] for row in rows]
    needs = sum(
        max(len(c) for c in (*column.title.split("\n"), *(line[k] for line in cells))) + GAP
        for k, column in enumerate(columns)
    )
    middle = next((k for k, column in enumerate(columns) if column.title.startswith("para-")), len(columns) // 2)
    parts = [range(len(columns))] if needs <= width else [range(middle), (0, *range(middle, len(columns)))]
    return [_rich_table(results, columns, cells, part) for part in parts]


def _rich_table(
    results: Mapping[str, Any], columns: Sequence[Column], cells: list[list[str]], part: Sequence[int]
) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for k in part:
        table.add_column(columns[k].title, justify="left" if k == 0 else "right", no_wrap=True)
    variants = results["variants"]
    for at, line in enumerate(cells):
        lost = at < len(variants) and variants[at].get("collapse")
        style = "red" if lost else None if at < len(variants) else "dim"
        if any(line[k] for k in part if k):
            table.add_row(*(line[k] for k in part), style=style, end_section=at == len(variants) - 1)
    return table


def markdown_table(results: Mapping[str, Any], columns: Sequence[Column]) -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join(c.flat_title for c in columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(column.cell(row) for column in columns) + " |" for row in rows_of(results)]
    return "\n".join(lines) + "\n"


def notes(results: Mapping[str, Any]) -> list[str]:
    """Return a line for everything the table leaves open: what does not fit, what was not measured and why, what rounding lost, what differs."""
    found: dict[str, list[str]] = {}
    for v in results["variants"]:
        for sentence in v.get("rounding", ()):
            found.setdefault(sentence, []).append(v["name"])
        if v.get("note"):
            found.setdefault(v["note"], []).append(v["name"])
        if v.get("mismatches"):
            found.setdefault(f"MISMATCH, first in {v.get('first_difference')}: {v.get('example')}", []).append(
                v["name"]
            )
    return [f"{', '.join(names)}: {note}" for note, names in found.items()]


def collapses(results: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each variant that is much worse than its source."""
    return [f"{v['name']}: {v['collapse']}" for v in results["variants"] if v.get("collapse")]
