"""What the figures of a conversion say, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from levsha.evidence.table import grouped

UNITS_A_KB = 1024  # bytes


def sentences(results: Mapping[str, Any]) -> list[str]:
    """Return what was proved, what the best variant keeps, and what it takes."""
    capture, variants = results["capture"], {v["name"]: v for v in results["variants"]}
    said = [
        f"What was read of {capture['title']} computes what the model does: the largest difference on the data is {capture['difference']:.2g}."
    ]
    said += mixed_sentences(results["variants"])
    best = variants.get(results.get("recommended") or "")
    if best:
        said.append(
            f"{best['name']} keeps {kept(best, variants['float'])}, its weights in {grouped(best['weight_bytes'])} B."
        )
        if best.get("ms"):
            said.append(
                f"On the {results['target']} it takes {best['ms']['mean']:.3g} ms, {grouped(best['flash_bytes'])} B of flash, {best['sram_bytes']} B of SRAM."
            )
    return said


def mixed_sentences(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which format each layer got, of variants whose layers have formats of their own."""
    return [
        f"{v['name']} has {', '.join(f'{layer} in {weights}' for layer, weights in v['formats'].items())}: {v['bits']:.2f} bits a weight."
        for v in variants
        if v.get("formats")
    ]


def kept(variant: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Return how good a variant is beside its float source."""
    if "accuracy" in variant:
        return f"{variant['accuracy']:.1f} % of the classes (float {source['accuracy']:.1f})"
    return f"R2 {variant['r2']:.4f} (float {source['r2']:.4f})"


def layer_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return the layers as Markdown."""
    total = sum(row.get("cycles") or 0 for row in layers)
    lines = [
        "| layer | kind | output | range | MACs | bytes | share of cycles | in the source |",
        "|---|---|---|---|---:|---:|---:|---|",
    ]
    for row in layers:
        share = f"{100 * row['cycles'] / total:.1f} %" if total and row.get("cycles") is not None else "–"
        shape = "x".join(map(str, row["shape"]))
        place = row["place"].replace("|", "\\|").replace("<", "&lt;")
        lines.append(
            f"| {row['name']} | {row['kind']} | {shape} | {row['lo']}..{row['hi']} | {grouped(row['macs'])} | {grouped(row['bytes'])} | {share} | {place} |"
        )
    return "\n".join(lines)


def sensitivity_table(rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Return what each layer costs in each format as Markdown: the fall of the metric, and the bytes."""
    if not rows:
        return ""
    names = list(rows[0]["formats"])
    unit = "points of accuracy" if kind == "accuracy" else "R2"
    lines = [
        f"What the weights of one layer alone cost, the rest in float, in {unit} on {rows[0]['rows']} rows, and their bytes:",
        "",
    ]
    lines += ["| layer | weights | " + " | ".join(names) + " |", "|---|---:" + "|---:" * len(names) + "|"]
    form = ".1f" if kind == "accuracy" else ".4f"
    for row in rows:
        cells = [
            f"{row['formats'][name]['drop']:{form}} ({grouped(row['formats'][name]['bytes'])} B)" for name in names
        ]
        lines.append(f"| {row['layer']} | {grouped(row['weights'])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
