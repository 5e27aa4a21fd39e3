"""The integer net onto its chip: build, ask, check, measure.  One row of the table comes out."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.tables import Table, split_table
from levsha.errors import LevshaError
from levsha.evidence.check import compare, tool_versions
from levsha.files import read_kept, write_file
from levsha.ir import Graph
from levsha.recipes.check import certificate_path, check_firmware, check_net, digest, write_certificate
from levsha.recipes.regression.settings import Regression
from levsha.recipes.regression.units import Units
from levsha.store import graph_hash
from levsha.targets import TARGETS, Target, Uno
from levsha.targets.uno import CLOCK_HZ, RAM_BYTES
from levsha.targets.uno.sensor import ask_sensor, build_sensor, save_sensor, sensor_firmware

SHIP_VERSION = 1  # raise it when a row would come out differently from the same net
TYPED = 40  # test samples typed into the chip to measure it
STACK_ROOM = 200


def check_vectors(table: Table, units: Units, count: int, seed: int) -> dict[str, np.ndarray]:
    """Return readings for a check: half of them real, the rest anywhere in the range, both ends among them."""
    rng = np.random.default_rng([5000, seed])
    readings = units.readings(table.x_NI[rng.integers(0, len(table.x_NI), count)])
    odd = np.arange(count) % 2 == 1
    readings[odd] = rng.integers(units.lo, units.hi, readings.shape, endpoint=True)[odd]
    for row, extreme in zip(range(1, count, 2), (units.lo, units.hi, 0), strict=False):
        readings[row] = np.clip(extreme, units.lo, units.hi)
    return {"readings": readings}


def ship(
    settings: Regression, table: Table, graph: Graph, units: Units, name: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Build, check and measure the integer net for the recipe's target; a row that is up to date is read."""
    target, kept = TARGETS[settings.target], settings.out / "measurements" / f"{name}.json"
    sources = sensor_firmware(graph, _title(table, name))  # they change with the net and with the emitter
    parts = [
        SHIP_VERSION,
        graph_hash(graph),
        sources,
        units.describe(table),
        target.name,
        settings.vectors,
        settings.seed,
    ]
    parts += [target.missing(), tool_versions(target)]
    decides = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    row = read_kept(kept)
    if row.get("decides") != decides or not _still_there(settings.out, name, target, row):
        row = _ship(settings, table, graph, units, name, say) | {"decides": decides}
        write_file(kept, json.dumps(row))
    return row


def _title(table: Table, name: str) -> str:
    return f"regression {name}: {table.name}"


def _still_there(out: Path, name: str, target: Target, row: dict[str, Any]) -> bool:
    if not row.get("fits"):
        return True
    elf = out / "firmware" / name / "firmware.elf"
    return certificate_path(out, name, target).exists() and elf.exists() and digest(elf) == row["firmware_sha256"]


def _ship(
    settings: Regression, table: Table, graph: Graph, units: Units, name: str, say: Callable[[str], None]
) -> dict[str, Any]:
    target = TARGETS[settings.target]
    row: dict[str, Any] = {"target": target.name, "net_sha256": graph_hash(graph), "vectors": 0, "mismatches": None}
    row |= {"flash_bytes": None, "sram_bytes": None, "ms": None, "fits": None, "note": ""}
    folder = settings.out / "firmware" / name
    shutil.rmtree(folder, ignore_errors=True)  # an earlier net's must not stay, least of all if this one does not fit
    certificate_path(settings.out, name, target).unlink(missing_ok=True)
    if target.missing():
        return row | {"note": f"not measured: {target.missing()}"}
    vectors = check_vectors(table, units, settings.vectors, settings.seed)
    if isinstance(target, Uno):
        with tempfile.TemporaryDirectory() as scratch:
            row |= _ship_firmware(settings, table, graph, units, name, vectors, Path(scratch), say)
    else:
        say("comparing vectors")
        row |= check_net(graph, target, vectors)
    if row["mismatches"] is not None:
        write_certificate(settings.out, name, graph, target, row, settings.seed)
    return row


def _ship_firmware(
    settings: Regression, table: Table, graph: Graph, units: Units, name: str, vectors: dict[str, np.ndarray], scratch: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    say("building")
    title = _title(table, name)
    firmware = build_sensor(graph, title, scratch)
    row: dict[str, Any] = {"flash_bytes": firmware.flash_bytes, "fits": False}
    if firmware.excess or firmware.static_bytes + STACK_ROOM > RAM_BYTES:
        excess = (
            firmware.excess
            or f"the stack needs about {STACK_ROOM} B beside {firmware.static_bytes} B of data in {RAM_BYTES} B of SRAM"
        )
        return row | {"note": f"does not fit: {excess}"}
    say("typing readings")
    test = split_table(len(table.x_NI), settings.seed)[2][:TYPED]
    lines = [" ".join(map(str, reading)) for reading in units.readings(table.x_NI[test]).tolist()]
    outcome, answers = ask_sensor(firmware, lines)
    said = [[int(number) for number in answer.split()] for answer in answers]
    if compare(graph, outcome).mismatches or not np.array_equal(said, outcome.outputs[graph.outputs[0]]):
        raise LevshaError(
            "uno: what the chip answered differs from the interpreter. This is a fault of Levsha; please report it."
        )
    assert outcome.cycles is not None
    ms = outcome.cycles.sum(1) * 1000 / CLOCK_HZ
    say("comparing vectors")
    checked, stack = check_firmware(firmware, graph, TARGETS[settings.target], vectors)
    sram = firmware.static_bytes + max(outcome.stack_bytes or 0, stack)
    row |= checked | {"sram_bytes": sram, "fits": sram <= RAM_BYTES, "readings_measured": len(lines)}
    row |= {"ms": {"min": float(ms.min()), "mean": float(ms.mean()), "max": float(ms.max())}}
    if not row["fits"]:
        return row | {"note": f"does not fit: SRAM {sram - RAM_BYTES} B over {RAM_BYTES}"}
    folder = settings.out / "firmware" / name
    save_sensor(firmware, title, folder, units.describe(table))
    return row | {"firmware_sha256": digest(folder / "firmware.elf")}
