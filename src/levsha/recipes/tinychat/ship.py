"""A trained variant onto its chip: lower, build, check, measure.  One row of the table comes out."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.pairs import QUERY_BYTES, QUERY_CUT, RESPONSE_BYTES, Pairs, make_samples
from levsha.emit.chat import ChatLimits
from levsha.errors import LevshaError
from levsha.evidence.check import certificate, compare, find_first_difference
from levsha.files import write_file
from levsha.ir import Graph
from levsha.recipes.tinychat.settings import TinyChat
from levsha.recipes.tinychat.vectors import check_vectors
from levsha.store import graph_hash
from levsha.targets import TARGETS, Outcome, Target, Uno
from levsha.targets.uno import CLOCK_HZ, RAM_BYTES, Firmware
from levsha.targets.uno.chat import build_chat, character_cycles, save_chat
from levsha.targets.uno.firmware import chat_firmware

LIMITS = ChatLimits(QUERY_BYTES, QUERY_CUT, RESPONSE_BYTES)
SHIP_VERSION = 2  # raise it when a row would come out differently from the same sources
STACK_ROOM = 256  # a firmware that crashes with less SRAM than this to spare is taken to be too large


@dataclass(frozen=True)
class Trial:
    """What a net on a chip goes through: lines typed into its chat, to measure it, and vectors, to compare it."""

    lines: list[str]
    vectors: dict[str, np.ndarray]


def ship(settings: TinyChat, trial: Trial, graph: Graph, name: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Build, check and measure one integer net for the recipe's target; return its row of the table."""
    target = TARGETS[settings.target]
    row: dict[str, Any] = {"target": target.name, "net_sha256": graph_hash(graph), "vectors": 0, "mismatches": None}
    if target.missing():
        return row | _nothing(f"not measured: {target.missing()}")
    if not isinstance(target, Uno):
        say("comparing vectors")
        return row | _nothing("") | check_net(graph, target, trial.vectors)
    with tempfile.TemporaryDirectory() as scratch:
        return row | _ship_firmware(settings, trial, graph, name, Path(scratch), say)


def _ship_firmware(
    settings: TinyChat, trial: Trial, graph: Graph, name: str, scratch: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    say("building")
    firmware = build_chat(graph, LIMITS, f"tinychat {name}", scratch)
    row = _nothing("") | {"flash_bytes": firmware.flash_bytes, "fits": False}
    folder, target = settings.out / "firmware" / name, TARGETS[settings.target]
    if not firmware.excess:
        say("typing prompts")
        row |= _type_prompts(firmware, trial.lines)
    else:
        row["note"] = f"does not fit: {firmware.excess}"
    if row["fits"]:
        say("comparing vectors")
        checked, stack = check_chat(firmware, graph, target, trial.vectors)
        row |= checked | _sram(max(row["sram_bytes"], firmware.static_bytes + stack))
    shutil.rmtree(folder, ignore_errors=True)  # an earlier net's must not stay, least of all if this one does not fit
    certificate_path(settings.out, name, target).unlink(missing_ok=True)
    if row["fits"]:
        save_chat(firmware, LIMITS, f"tinychat {name}", folder)
        row["firmware_sha256"] = digest(folder / "firmware.elf")
        write_certificate(settings.out, name, graph, target, row, settings.seed)
    return row


def source_digest(graph: Graph, name: str) -> str:
    """Return the SHA-256 of every source file of a net's firmware: it changes with the net and with the emitter."""
    text = json.dumps(chat_firmware(graph, LIMITS, f"tinychat {name}"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _nothing(note: str) -> dict[str, Any]:
    return {"flash_bytes": None, "sram_bytes": None, "ms_per_character": None, "fits": None, "note": note}


def _sram(used: int) -> dict[str, Any]:
    over = used - RAM_BYTES
    return {
        "sram_bytes": used,
        "fits": over <= 0,
        "note": f"does not fit: SRAM {over} B over {RAM_BYTES}" if over > 0 else "",
    }


def _type_prompts(firmware: Firmware, lines: list[str]) -> dict[str, Any]:
    """Cycles of every character of real answers, and SRAM; what was said must be what the interpreter says."""
    try:
        outcome, _ = firmware.lines(lines)
    except LevshaError:
        if firmware.static_bytes + STACK_ROOM > RAM_BYTES:
            return {
                "note": f"does not fit: the stack runs into {firmware.static_bytes} B of data in {RAM_BYTES} B of SRAM"
            }
        raise
    sram = _sram(firmware.static_bytes + (outcome.stack_bytes or 0))
    if not sram["fits"]:
        return sram
    difference = compare(firmware.graph, outcome)
    if difference.mismatches:
        raise LevshaError(
            f"uno: the conversation differs from the interpreter: {difference.example}. This is a fault of Levsha; please report it."
        )
    ms = character_cycles(outcome) * 1000 / CLOCK_HZ
    return sram | {
        "ms_per_character": {"min": float(ms.min()), "mean": float(ms.mean()), "max": float(ms.max())},
        "characters_measured": len(ms),
        "prompts_measured": len(lines),
    }


def check_chat(
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


def check_saved(
    out: Path, name: str, graph: Graph, pairs: Pairs, target: Target, vectors: int, seed: int
) -> dict[str, Any]:
    """Check a saved net on a target again, on new vectors, and write its certificate; on the UNO, the saved firmware."""
    inputs = check_vectors(pairs, make_samples(pairs), vectors, seed)
    elf = out / "firmware" / name / "firmware.elf"
    if isinstance(target, Uno):
        if not elf.exists():
            raise LevshaError(f"{name}: has no firmware for {target.name} in {out}; make it with levsha run.")
        firmware = target.load(elf, graph)
        row = check_chat(firmware, graph, target, inputs)[0] | {
            "flash_bytes": firmware.flash_bytes,
            "firmware_sha256": digest(elf),
        }
    else:
        row = check_net(graph, target, inputs)
    return row | {"certificate": str(write_certificate(out, name, graph, target, row, seed))}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
