"""What a conversion leaves beside its nets: every form of each for use elsewhere, the ONNX file compared on all rows that measure."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from levsha.data.samples import Samples
from levsha.errors import LevshaError
from levsha.evidence.check_onnx import count_mismatches, has_runtime
from levsha.evidence.profile import layer_cycles
from levsha.export import FOLDERS
from levsha.net import Net
from levsha.targets import Target

ROOM = "exports"
FORMS = ("c", "arduino", "json", "bin")


def deliver(net: Net, name: str, out: Path, test: Samples) -> dict[str, Any]:
    """Write OUT/exports/NAME: the C library, the Arduino library, JSON, packed binary, ONNX; return what the check of the last one found."""
    folder = out / ROOM / name
    for form in FORMS:
        net.export(form, folder if form == "arduino" else folder / form if form in FOLDERS else folder / f"net.{form}")
    if not _has("onnx"):
        return {"onnx": "not written: pip install onnx onnxruntime"}
    path = folder / "net.onnx"
    try:
        net.export("onnx", path)
    except LevshaError as error:
        return {"onnx": f"not written: {error}"}
    if not has_runtime():
        return {"onnx": "written, not compared: pip install onnxruntime"}
    ((source, layout),) = [(source, net.meaning.layouts[source]) for source in net.graph.inputs]
    integers = net.integers(source, layout.lay(test.x))
    return {"onnx_rows": len(test.x), "onnx_mismatches": count_mismatches(path, net.graph, {source: integers})}


def profile(net: Net, target: Target, layers: list[dict[str, Any]], test: Samples) -> list[dict[str, Any]]:
    """Return the rows of a net's layers with the cycles of each, where the target counts any."""
    if target.clock_hz is None:
        return layers
    ((source, layout),) = [(source, net.meaning.layouts[source]) for source in net.graph.inputs]
    integers = net.integers(source, layout.lay(test.x[:4]))
    cycles = layer_cycles(net.graph, target, [row["ops"] for row in layers], {source: integers})
    return [row | {"cycles": found} for row, found in zip(layers, cycles, strict=True)]


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def say_onnx(variants: Sequence[dict[str, Any]]) -> str:
    """Return a sentence on the ONNX files."""
    compared = [v for v in variants if "onnx_rows" in v]
    if not compared:
        return next((f"ONNX: {v['onnx']}." for v in variants if "onnx" in v), "")
    wrong, rows = sum(v["onnx_mismatches"] for v in compared), compared[0]["onnx_rows"]
    return (
        f"ONNX of plain integers: {wrong} of {rows} rows differ from the interpreter in ONNX Runtime, optimiser on and off"
        f"{f', in {len(compared)} variants' if len(compared) > 1 else ''}."
    )
