"""A net on a chip against the interpreter, and the certificate of it: the same for every recipe."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from levsha.evidence.check import certificate, compare, find_first_difference
from levsha.files import write_file
from levsha.ir import Graph
from levsha.recipes.base import Recipe
from levsha.run import Run
from levsha.targets import Outcome, Target, Uno
from levsha.targets.uno import Firmware


def check_firmware(
    firmware: Firmware, graph: Graph, target: Target, inputs: dict[str, np.ndarray]
) -> tuple[dict[str, Any], int]:
    """Compare the very firmware that ships with the interpreter; return what was found, and the deepest stack."""
    outcome = firmware.vectors(inputs)
    return _compared(graph, target, outcome, inputs), outcome.stack_bytes or 0


def check_net(graph: Graph, target: Target, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compare the net alone, built for any target, with the interpreter."""
    with tempfile.TemporaryDirectory() as scratch:
        return _compared(graph, target, target.run(graph, inputs, Path(scratch)), inputs)


def _compared(graph: Graph, target: Target, outcome: Outcome, asked: dict[str, np.ndarray]) -> dict[str, Any]:
    comparison = compare(graph, outcome, asked)
    found: dict[str, Any] = {"vectors": comparison.vectors, "mismatches": comparison.mismatches}
    if comparison.mismatches:
        wrong = {name: x[comparison.wrong[:20]] for name, x in outcome.inputs.items()}
        found |= {"example": comparison.example, "first_difference": find_first_difference(graph, target, wrong)}
    return found


def certificate_path(out: Path, name: str, target: Target) -> Path:
    """Return where the certificate of a net on a target lies."""
    return out / "certificates" / f"{name}-{target.name}.json"


def write_certificate(out: Path, name: str, graph: Graph, target: Target, row: dict[str, Any], seed: int) -> Path:
    """Write the certificate of a check that was made; return its path."""
    comparison = {key: row[key] for key in ("flash_bytes", "sram_bytes", "firmware_sha256") if key in row}
    path = certificate_path(out, name, target)
    write_file(
        path,
        json.dumps(certificate(graph, target, row["vectors"], row["mismatches"], seed, comparison), indent=2) + "\n",
    )
    return path


def check_saved(recipe: Recipe, run: Run, name: str, target: Target, vectors: int, seed: int) -> dict[str, Any]:
    """Check a saved net on a target again, on new vectors, and write its certificate; on the UNO, the saved firmware."""
    graph, inputs = run.graph(name), recipe.vectors(run, vectors, seed)
    if isinstance(target, Uno):
        elf = run.firmware(name)
        firmware = recipe.load_firmware(elf, graph)
        row = check_firmware(firmware, graph, target, inputs)[0]
        row |= {"flash_bytes": firmware.flash_bytes, "firmware_sha256": digest(elf)}
    else:
        row = check_net(graph, target, inputs)
    return row | {"certificate": str(write_certificate(run.folder, name, graph, target, row, seed))}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
