"""What the figures of a run of images say, in sentences and columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from levsha.evidence.table import NAME, UNKNOWN, Column, chip_columns, grouped, number
from levsha.recipes.words import UNITS_A_KB, mixed_sentences

MORE_SURE = 0.05  # points by which what is answered must be better, to be worth saying


def columns() -> tuple[Column, ...]:
    """Return the table's columns."""
    return (
        NAME, Column("right %\n95 % interval", _interval), number("like\nfloat %", "agreement", ".2f"), number("file\nKB", "kb", ".2f"),
        number("times\nsmaller", "ratio", ".2f"), Column("us an image\nbatch 1, 64", _speed), *chip_columns("an image"),
    )  # fmt: skip


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row.get("accuracy_interval") or (None, None)
    return f"{row['accuracy']:.2f}" + (f"  {low:.2f}-{high:.2f}" if low is not None else "")


def _speed(row: Mapping[str, Any]) -> str:
    if "us" not in row:
        return ""
    return " ".join(f"{row['us'][key]:.1f}" for key in ("1", "64")) if row["us"] else UNKNOWN


def sentences(results: Mapping[str, Any]) -> list[str]:
    """Return what the recommended variant keeps, when it is unsure, and what it takes on the chip."""
    by_name = {v["name"]: v for v in results["variants"]}
    best, source = by_name.get(results.get("recommended") or ""), by_name["float"]
    if not best:
        return [f"The float net has {source['accuracy']:.2f} % of the test images right; no variant is ready to ship."]
    said = [
        f"{best['name']} has {best['accuracy']:.2f} % of the test images right (float {source['accuracy']:.2f}) and decides like the float net in "
        f"{best['agreement']:.2f} %, its weights in {grouped(best['weight_bytes'])} B."
    ]
    said += mixed_sentences(results["variants"])
    if best["answered_right"] > best["accuracy"] + MORE_SURE:
        said.append(
            f"Where its highest score lies {best['margin_each'][0]} above the next, which validation images chose, it answers {best['answered']:.1f} % of them, "
            f"{best['answered_right']:.2f} % of these rightly."
        )
    if best.get("ms"):
        said.append(
            f"On the {results['target']} it takes {best['ms']['mean']:.3g} ms, {grouped(best['flash_bytes'])} B of flash, {best['sram_bytes']} B of SRAM."
        )
    return said


def notes(variants: list[Mapping[str, Any]], tested: int, machine: str, how: str) -> list[str]:
    """Return how the figures at the top of results.json came about, a sentence each."""
    int8 = next((v for v in variants if v["format"] == "int8"), None)
    return [
        f"KB of {UNITS_A_KB} B, file against file: exports/float.pt, what torch.save makes of the float state, and exports/float-int8/net.bin, the whole "
        "integer net: weights, biases, multipliers, header.",
        f"Accuracy in per cent of {tested} test images, its interval by Wilson, 95 %; agreement: per cent of them for which both nets decide alike.",
        f"us an image on {machine}, one thread: torch for the float net, the call of levsha.Net for the others ({'interpreted' if how == 'off' else f'compiled: {how}'}).",
        *([] if int8 else ["int8 was not among --weights: its figures are null."]),
    ]
