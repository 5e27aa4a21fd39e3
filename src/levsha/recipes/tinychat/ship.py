"""A trained variant onto its chip: lower, build, check, measure.  One row of the table comes out."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
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
from levsha.recipes.tinychat.vectors import check_vectors, prompts
from levsha.store import graph_hash
from levsha.targets import TARGETS, Host, Outcome, Target, Uno
from levsha.targets.uno import CLOCK_HZ, RAM_BYTES
from levsha.targets.uno.chat import ChatImage, build_chat, character_cycles, save_chat

LIMITS = ChatLimits(QUERY_BYTES, QUERY_CUT, RESPONSE_BYTES)
SHIP_VERSION = 1  # raise it when a row would come out differently from the same net


def ship(
    settings: TinyChat,
    pairs: Pairs,
    seen: np.ndarray,
    unseen: np.ndarray,
    graph: Graph,
    name: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Build, check and measure one integer net for the recipe's target; return its row of the table."""
    target = TARGETS[settings.target]
    folder = settings.out / "firmware" / name
    row: dict[str, Any] = {"target": target.name, "net_sha256": graph_hash(graph), "vectors": 0, "mismatches": None}
    if target.missing():
        return row | _nothing(f"not measured: {target.missing()}")
    say("building")
    with tempfile.TemporaryDirectory() as scratch:
        if not isinstance(target, Uno):
            return (
                row
                | _nothing("")
                | check_net(graph, target, check_vectors(pairs, make_samples(pairs), settings.vectors, settings.seed))
            )
        image = build_chat(graph, LIMITS, f"tinychat {name}", Path(scratch))
        row |= {
            "flash_bytes": image.firmware.flash_bytes,
            "sram_bytes": None,
            "ms_per_character": None,
            "fits": False,
            "note": image.room,
        }
        if image.room:
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier net that did fit
            return row | {"note": f"does not fit: {image.room}"}
        say("typing prompts")
        measured, typed_stack = _measure(image, prompts(pairs, seen, unseen, settings.prompts, settings.seed))
        say("comparing vectors")
        checked, stack = check_chat(
            image, graph, target, check_vectors(pairs, make_samples(pairs), settings.vectors, settings.seed)
        )
        row |= measured | checked | _sram(image.firmware.static_bytes + max(typed_stack, stack))
        if row["fits"]:
            save_chat(image, graph, LIMITS, f"tinychat {name}", folder)
            write_certificate(settings.out, name, graph, target, row, settings.seed)
    return row


def _nothing(note: str) -> dict[str, Any]:
    return {"flash_bytes": None, "sram_bytes": None, "ms_per_character": None, "fits": None, "note": note}


def _sram(used: int) -> dict[str, Any]:
    over = used - RAM_BYTES
    return {
        "sram_bytes": used,
        "fits": over <= 0,
        "note": f"does not fit: SRAM {over} B over {RAM_BYTES}" if over > 0 else "",
    }


def _measure(image: ChatImage, lines: list[str]) -> tuple[dict[str, Any], int]:
    """Cycles of every character of real answers, and the deepest stack; what was said must be what the interpreter says."""
    outcome, _ = image.converse(lines)
    difference = compare(image.firmware.graph, outcome)
    if difference.mismatches:
        raise LevshaError(
            f"uno: the conversation differs from the interpreter: {difference.example}. This is a fault of Levsha; please report it."
        )
    ms = character_cycles(outcome) * 1000 / CLOCK_HZ
    row = {
        "ms_per_character": {"min": float(ms.min()), "mean": float(ms.mean()), "max": float(ms.max())},
        "characters_measured": len(ms),
        "prompts_measured": len(lines),
    }
    return row, outcome.stack_bytes or 0


def check_chat(
    image: ChatImage, graph: Graph, target: Target, inputs: dict[str, np.ndarray]
) -> tuple[dict[str, Any], int]:
    """Compare the very firmware that ships with the interpreter; return what was found, and the deepest stack."""
    outcome = image.check(inputs)
    return _compared(graph, target, inputs, outcome), outcome.stack_bytes or 0


def check_net(graph: Graph, target: Target, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compare the net alone, built for any target, with the interpreter."""
    with tempfile.TemporaryDirectory() as scratch:
        return _compared(graph, target, inputs, target.run(graph, inputs, Path(scratch)))


def _compared(graph: Graph, target: Target, inputs: dict[str, np.ndarray], outcome: Outcome) -> dict[str, Any]:
    comparison = compare(graph, outcome)
    found: dict[str, Any] = {"vectors": comparison.vectors, "mismatches": comparison.mismatches}
    if comparison.mismatches:
        found |= {"example": comparison.example, "first_difference": find_first_difference(graph, target, inputs)}
    return found


def write_certificate(out: Path, name: str, graph: Graph, target: Target, row: dict[str, Any], seed: int) -> Path:
    """Write the certificate of a check that was made; return its path."""
    comparison = {key: row[key] for key in ("flash_bytes", "sram_bytes") if key in row}
    path = out / "certificates" / f"{name}-{target.name}.json"
    write_file(
        path,
        json.dumps(certificate(graph, target, row["vectors"], row["mismatches"], seed, comparison), indent=2) + "\n",
    )
    return path


def check_saved(
    out: Path, name: str, graph: Graph, pairs: Pairs, target: Target, vectors: int, seed: int
) -> dict[str, Any]:
    """Check a saved net on a target again, on new vectors, and write its certificate."""
    inputs = check_vectors(pairs, make_samples(pairs), vectors, seed)
    if isinstance(target, Host):
        row = check_net(graph, target, inputs)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            image = build_chat(graph, LIMITS, f"tinychat {name}", Path(scratch))
            if image.room:
                raise LevshaError(
                    f"{name}: does not fit {target.name}: {image.room}; nothing was checked. Choose another variant."
                )
            row = check_chat(image, graph, target, inputs)[0] | {"flash_bytes": image.firmware.flash_bytes}
    return row | {"certificate": str(write_certificate(out, name, graph, target, row, seed))}
