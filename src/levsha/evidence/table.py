"""The table of a run, for a terminal and for Markdown, from results.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

COLUMNS = (
    "variant", "char %\nsamples", "char %\nunseen", "reply %\nseen", "reply %\nunseen", "perp-\nlexity", "para-\nmeters",
    "weights\nbytes", "flash\nbytes", "SRAM\nbytes", "ms a character\nmin mean max", "fits", "mis-\nmatches",
)  # fmt: skip
WIDE = 120  # columns of text the whole table needs; a narrower terminal gets it in two halves
LEGEND = "char %: next character right, on samples held out at random and on queries never seen; reply %: whole replies right"
UNKNOWN = "–"


def rows(results: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, a row a variant, the reference predictors last."""
    cells = [_row(v) for v in results["variants"]]
    names = {"end_mark": "(always the end mark)", "prefix_only": "(prefix only)", "nearest_15": "(15 nearest)"}
    for key, r in results["references"].items():
        cells.append(
            [names[key], f"{r['accuracy_samples']:.1f}", f"{r['accuracy_queries']:.1f}", *[""] * (len(COLUMNS) - 3)]
        )
    return cells


def _row(v: dict[str, Any]) -> list[str]:
    ms, checked = v["ms_per_character"], v["mismatches"] is not None
    return [
        v["name"],
        *(f"{v[key]:.1f}" for key in ("accuracy_samples", "accuracy_queries", "exact_seen", "exact_unseen")),
        f"{v['perplexity']:.2f}",
        *(
            UNKNOWN if v[key] is None else f"{v[key]:,}".replace(",", " ")
            for key in ("parameters", "weight_bytes", "flash_bytes", "sram_bytes")
        ),
        f"{ms['min']:.1f} {ms['mean']:.1f} {ms['max']:.1f}" if ms else UNKNOWN,
        {True: "yes", False: "no", None: UNKNOWN}[v["fits"]],
        f"{v['mismatches']}/{v['vectors']}" if checked else UNKNOWN,
    ]


def rich_tables(results: dict[str, Any], width: int) -> list[Table]:
    """Return the table for a terminal of that many columns: whole, or in two halves."""
    if width >= WIDE:
        return [_rich_table(results, range(len(COLUMNS)))]
    return [_rich_table(results, range(6)), _rich_table(results, (0, *range(6, len(COLUMNS))))]


def _rich_table(results: dict[str, Any], columns: Sequence[int]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index in columns:
        table.add_column(COLUMNS[index], justify="left" if index == 0 else "right", no_wrap=True)
    count = len(results["variants"])
    for index, cells in enumerate(rows(results)):
        if any(cells[c] for c in columns[1:]):
            table.add_row(
                *(cells[c] for c in columns), style=None if index < count else "dim", end_section=index == count - 1
            )
    return table


def replies_table(replies: list[dict[str, Any]], of_each: int = 4) -> Table:
    """Return what every variant answers to a few queries; an answer that is listed for its query has a tick."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("query", "", *(name.removeprefix("pruned-") for name in replies[0]["said"])):
        table.add_column(title, overflow="ellipsis", no_wrap=True)
    for kind in ("seen", "unseen"):
        for r in [r for r in replies if r["kind"] == kind][:of_each]:
            said = [f"{text or '(nothing)'}{' ✓' if text in r['listed'] else ''}" for text in r["said"].values()]
            table.add_row(*(escape(cell) for cell in (r["query"], kind, *said)))
    return table


def markdown_table(results: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    titles = [
        "variant",
        "next char %, samples",
        "unseen queries",
        "exact replies %, seen",
        "unseen",
        "perplexity",
        "parameters",
        "weights B",
        "flash B",
        "SRAM B",
        "ms a character, min mean max",
        "fits",
        "mismatches",
    ]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows(results)]) + "\n"


def notes(results: dict[str, Any]) -> list[str]:
    """Return a line for everything the table leaves open: what does not fit, what was not measured and why, what differs."""
    found: dict[str, list[str]] = {}
    for v in results["variants"]:
        if v.get("note") and v["format"] != "float32":
            found.setdefault(v["note"], []).append(v["name"])
        if v["mismatches"]:
            found.setdefault(f"MISMATCH, first in {v.get('first_difference')}: {v.get('example')}", []).append(
                v["name"]
            )
    return [f"{', '.join(names)}: {note}" for note, names in found.items()]
