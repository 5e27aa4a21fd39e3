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

from levsha.data.pairs import QUERY_BYTES, QUERY_CUT, RESPONSE_BYTES
from levsha.emit.chat import ChatLimits
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.ir import Graph
from levsha.recipes.check import certificate_path, check_firmware, check_net, digest, write_certificate
from levsha.recipes.tinychat.settings import TinyChat
from levsha.store import graph_hash
from levsha.targets import TARGETS, Uno
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
        checked, stack = check_firmware(firmware, graph, target, trial.vectors)
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
