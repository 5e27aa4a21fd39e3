"""What a run found: one dictionary for results.json, its table and its paragraph."""

from __future__ import annotations

from statistics import mean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable

from levsha.data.tables import Table
from levsha.recipes.regression.settings import INTEGER, Regression, nets_key

VARIANTS = {"baseline": "float32", "sensor": "float32", INTEGER: "int8"}
CHIP = ("flash_bytes", "sram_bytes", "ms", "fits", "vectors", "mismatches", "note", "first_difference", "example")
UNKNOWN = "–"


def figures_of(table: Table) -> tuple[str, str]:
    """Return the names of the two figures a net is judged by."""
    return ("accuracy", "balanced") if table.is_classes else ("r2", "rmse")


def collect(
    settings: Regression, table: Table, splits: dict[int, dict[str, Any]], row: dict[str, Any]
) -> dict[str, Any]:
    """Return the results of a run; splits: figures by seed and variant; row: the chip's. Figures of several splits are means, each beside them."""
    first = splits[settings.seed]
    variants = []
    for name, form in VARIANTS.items():
        found: dict[str, Any] = {
            "name": name,
            "format": form,
            "parameters": first[name]["parameters"],
            "weight_bytes": first[name]["weight_bytes"],
        }
        found |= _scores([split[name] for split in splits.values()])
        found |= {"best_epochs": [split[name]["best_epoch"] for split in splits.values()]}
        variants.append(found | {key: row.get(key) if form != "float32" else None for key in CHIP})
    references = {
        name: _scores([split["references"][name] for split in splits.values()]) for name in first["references"]
    }
    data = {
        "name": table.name,
        "about": table.about,
        "sha256": table.digest,
        "samples": len(table.x_NI),
        "inputs": len(table.features),
    }
    nets = {
        "hidden": settings.hidden,
        "sensor_hidden": settings.sensor_hidden,
        "activation": settings.activation,
        "seed": settings.seed,
    }
    return {
        "recipe": "regression", "preset": settings.preset, "data": data | {"unit": table.output_unit}, "seeds": list(splits), "target": settings.target,
        "figures": figures_of(table), "nets": nets, "nets_key": nets_key(settings, table), "recommended": INTEGER, "references": references, "variants": variants,
    }  # fmt: skip


def _scores(found: list[dict[str, Any]]) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for part in ("validation", "test"):
        for figure in found[0][part]:
            values = [split[part][figure] for split in found]
            scores |= {f"{part}_{figure}": mean(values), f"{part}_{figure}_each": values}
    return scores


def columns(results: dict[str, Any]) -> list[str]:
    """Return the titles of the table."""
    unit = results["data"]["unit"]
    labels = {"r2": "R2", "rmse": f"RMSE{f' {unit}' if unit else ''}", "accuracy": "right %", "balanced": "balanced %"}
    first, second = (labels[name] for name in results["figures"])
    return [
        "net", f"{first}\nvalidation", f"{first}\ntest", f"{second}\nvalidation", f"{second}\ntest", "para-\nmeters", "weights\nbytes",
        "flash\nbytes", "SRAM\nbytes", "ms an answer\nmin mean max", "fits", "mis-\nmatches",
    ]  # fmt: skip


def rows(results: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, a row a net, the trivial predictors last."""
    names = {"mean": "(mean)", "commonest": "(commonest)", "linear": "(least squares)", "nearest_15": "(15 nearest)"}
    cells = [[v["name"], *_figures(v, results), *_sizes(v)] for v in results["variants"]]
    blank = [""] * (len(columns(results)) - 5)
    return cells + [[names[name], *_figures(r, results), *blank] for name, r in results["references"].items()]


def _figures(found: dict[str, Any], results: dict[str, Any]) -> list[str]:
    first, second = results["figures"]
    digits = 3 if first == "r2" else 1
    values = [found[f"{part}_{figure}"] for figure in (first, second) for part in ("validation", "test")]
    return [
        f"{values[0]:.{digits}f}",
        f"{values[1]:.{digits}f}",
        *(f"{v:.4g}" if first == "r2" else f"{v:.1f}" for v in values[2:]),
    ]


def _sizes(v: dict[str, Any]) -> list[str]:
    numbers = [v[key] for key in ("parameters", "weight_bytes", "flash_bytes", "sram_bytes")]
    ms = v["ms"]
    return [
        *(UNKNOWN if number is None else f"{number:,}".replace(",", " ") for number in numbers),
        f"{ms['min']:.2f} {ms['mean']:.2f} {ms['max']:.2f}" if ms else UNKNOWN,
        {True: "yes", False: "no", None: UNKNOWN}[v["fits"]],
        f"{v['mismatches']}/{v['vectors']}" if v["mismatches"] is not None else UNKNOWN,
    ]


def rich_tables(results: dict[str, Any], width: int) -> list[RichTable]:
    """Return the table for a terminal of that many columns: whole, or in two halves."""
    titles = columns(results)
    halves = [range(len(titles))] if width >= 118 else [range(5), [0, *range(5, len(titles))]]
    tables, count = [], len(results["variants"])
    for chosen in halves:
        table = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for index in chosen:
            table.add_column(titles[index], justify="left" if index == 0 else "right", no_wrap=True)
        for index, cells in enumerate(rows(results)):
            if any(cells[c] for c in chosen if c):
                table.add_row(
                    *(cells[c] for c in chosen), style=None if index < count else "dim", end_section=index == count - 1
                )
        tables.append(table)
    return tables


def markdown_table(results: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    titles = [title.replace("-\n", "").replace("\n", ", ") for title in columns(results)]
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows(results)]) + "\n"


def describe(results: dict[str, Any]) -> str:
    """Return a paragraph on what the figures say."""
    by_name, figure = {v["name"]: v for v in results["variants"]}, results["figures"][0]
    key, digits, unit = f"test_{figure}", 3 if figure == "r2" else 1, "" if figure == "r2" else " %"
    label = "R2" if figure == "r2" else "accuracy"
    big, small, chip = (by_name[name] for name in VARIANTS)
    best_name = max(results["references"], key=lambda name: results["references"][name][key])
    best = results["references"][best_name][key]
    texts = [
        f"On test samples the net of {big['parameters']:,} parameters reaches an {label} of {big[key]:.{digits}f}{unit}, the small one of "
        f"{small['parameters']:,} {small[key]:.{digits}f}{unit}, and the same as int8 integers {chip[key]:.{digits}f}{unit}; the best trivial predictor "
        f"({best_name.replace('_', ' ')}) {best:.{digits}f}{unit}."
    ]
    if big[key] <= best:
        texts.append("The large net is no better than that: choose the simple predictor.")
    elif chip[key] <= best:
        texts.append("The net on the chip is no better than that trivial predictor.")
    if chip["fits"]:
        texts.append(
            f"It takes {chip['flash_bytes']:,} B of flash, {chip['sram_bytes']:,} B of SRAM and {chip['ms']['mean']:.2f} ms an answer on the {results['target']}."
        )
    elif chip["note"]:
        texts.append(f"On the {results['target']}: {chip['note']}.")
    return " ".join(texts)
