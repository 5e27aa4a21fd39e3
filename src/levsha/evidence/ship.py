"""The one way of a net onto a chip: build, talk, compare, measure, certify.  One Row comes out, for every recipe and target."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from levsha.applications import Message, sent
from levsha.errors import LevshaError
from levsha.evidence.check import certificate, compare, find_first_difference, tool_versions
from levsha.files import read_kept, write_file
from levsha.ir import Graph
from levsha.net import Net
from levsha.run import Run
from levsha.store import graph_hash
from levsha.targets import Firmware, Outcome, Target, Typed, find_image
from levsha.targets.firmware import MANIFEST

SHIP_VERSION = 3  # raise it when a row would come out differently from the same sources
STACK_ROOM = 256  # a firmware that fails with less RAM than this to spare is taken to be too large

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """What a net on a chip goes through: messages typed into its conversation, to measure it, and vectors, to compare it."""

    lines: Sequence[Message]
    vectors: dict[str, np.ndarray]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        sha = hashlib.sha256(json.dumps([sent(line).hex() for line in self.lines]).encode())
        for name in sorted(self.vectors):
            sha.update(name.encode() + np.ascontiguousarray(self.vectors[name]).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class Row:
    """What a target made of a net.  None: not known there.

    ms: milliseconds of each answer (of a chat: each character), min, mean and max over real lines. runs: how many answers
    those are. fits: whether flash and SRAM suffice. mismatches: vectors with any output that differs from the interpreter's.
    """

    target: str
    net_sha256: str
    flash_bytes: int | None = None
    sram_bytes: int | None = None
    ms: dict[str, float] | None = None
    ms_unit: str = ""
    runs: int = 0
    lines: int = 0
    fits: bool | None = None
    vectors: int = 0
    mismatches: int | None = None
    note: str = ""
    example: str = ""
    first_difference: str = ""
    firmware_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for results.json."""
        return asdict(self)


def ship(net: Net, target: Target, trial: Trial, run: Run, name: str, seed: int, say: Say) -> Row:
    """Put a net on a target and return its row; one that is up to date is read."""
    firmware = target.firmware(net.graph, net.application, net.title, net.meaning)
    parts = [SHIP_VERSION, firmware.sources_digest, graph_hash(net.graph), trial.digest, target.name, seed]
    decides = hashlib.sha256(json.dumps([*parts, target.missing(), tool_versions(target)]).encode()).hexdigest()
    kept = run.folder / "measurements" / f"{name}.json"
    found = read_kept(kept)
    if found.get("decides") == decides and _still_there(run, name, target, found["row"]):
        return Row(**found["row"])
    shipping = _Shipping(firmware, target, trial, run.folder, name, seed, say)
    shipping.remove_older()
    row = shipping.row()
    write_file(kept, json.dumps({"decides": decides, "row": row.to_json()}))
    return row


def check_again(
    net: Net, target: Target, vectors: dict[str, np.ndarray], run: Run, name: str, seed: int
) -> tuple[Row, Path]:
    """Compare a saved net with a target on new vectors, the saved firmware where the target has one; return the row and its certificate."""
    row = Row(target.name, graph_hash(net.graph))
    firmware = target.firmware(net.graph, net.application, net.title, net.meaning)
    with tempfile.TemporaryDirectory() as scratch:
        if target.flash_bytes is None:
            firmware = firmware.built(Path(scratch))
        else:
            firmware = firmware.at(run.image(name, net.graph))
            digest = hashlib.sha256(firmware.built_image.read_bytes()).hexdigest()
            row = replace(row, flash_bytes=firmware.sizes.flash_bytes, firmware_sha256=digest)
        row = _compared(row, net.graph, target, firmware.vectors(vectors), vectors)
    return row, write_certificate(run.folder, name, net.graph, target, row, seed)


def certificate_path(out: Path, name: str, target: Target) -> Path:
    """Return where the certificate of a net on a target lies."""
    return out / "certificates" / f"{name}-{target.name}.json"


def write_certificate(out: Path, name: str, graph: Graph, target: Target, row: Row, seed: int) -> Path:
    """Write the certificate of a check that was made; return its path."""
    measured = {key: getattr(row, key) for key in ("flash_bytes", "sram_bytes", "firmware_sha256") if getattr(row, key)}
    path, assert_made = certificate_path(out, name, target), row.mismatches
    assert assert_made is not None, "nothing was compared"
    text = json.dumps(certificate(graph, target, row.vectors, assert_made, seed, measured), indent=2)
    write_file(path, text + "\n")
    return path


def _still_there(run: Run, name: str, target: Target, row: dict[str, Any]) -> bool:
    """Say whether the certificate and the firmware of a kept row are where they were written, and those that were measured."""
    compared = row["mismatches"] is not None and row["fits"] is not False
    if compared and not certificate_path(run.folder, name, target).exists():
        return False
    if not row["firmware_sha256"]:
        return not (run.folder / "firmware" / name).exists() or target.flash_bytes is None
    manifest = read_kept(run.folder / "firmware" / name / MANIFEST)
    image = run.folder / "firmware" / name / str(manifest.get("image"))
    return image.is_file() and hashlib.sha256(image.read_bytes()).hexdigest() == row["firmware_sha256"]


def _compared(row: Row, graph: Graph, target: Target, outcome: Outcome, asked: dict[str, np.ndarray]) -> Row:
    comparison = compare(graph, outcome, asked)
    row = replace(row, vectors=comparison.vectors, mismatches=comparison.mismatches)
    if not comparison.mismatches:
        return row
    wrong = {name: x[comparison.wrong[:20]] for name, x in outcome.inputs.items()}
    return replace(row, example=comparison.example, first_difference=find_first_difference(graph, target, wrong))


@dataclass(frozen=True)
class _Shipping:
    """One net on its way."""

    firmware: Firmware
    target: Target
    trial: Trial
    out: Path
    name: str
    seed: int
    say: Say
    blank: Row = field(init=False)

    def __post_init__(self) -> None:
        unit = self.firmware.application.answer_unit
        object.__setattr__(self, "blank", Row(self.target.name, graph_hash(self.firmware.graph), ms_unit=unit))

    @property
    def folder(self) -> Path:
        return self.out / "firmware" / self.name

    def remove_older(self) -> None:
        """An earlier net's firmware and certificates must not stay, least of all if this one cannot be built or does not fit."""
        if (
            self.target.flash_bytes is not None
            or read_kept(self.folder / MANIFEST).get("net_sha256") != self.blank.net_sha256
        ):
            shutil.rmtree(self.folder, ignore_errors=True)
        for path in (self.out / "certificates").glob(f"{self.name}-*.json"):
            if read_kept(path).get("net_sha256") != self.blank.net_sha256:
                path.unlink()
        certificate_path(self.out, self.name, self.target).unlink(missing_ok=True)

    def row(self) -> Row:
        """Build, measure and compare."""
        if self.target.missing():
            return replace(self.blank, note=f"not measured: {self.target.missing()}")
        with tempfile.TemporaryDirectory() as scratch:
            self.say("building")
            firmware = self.firmware.built(Path(scratch))
            row = replace(self.blank, flash_bytes=firmware.sizes.flash_bytes)
            if firmware.excess:
                return replace(row, fits=False, note=f"does not fit: {firmware.excess}")
            self.say("typing lines")
            row = self._typed(row, firmware)
            if row.fits is False:
                return row
            self.say("comparing vectors")
            return self._saved(self._with_vectors(row, firmware), firmware)

    def _typed(self, row: Row, firmware: Firmware) -> Row:
        """Type real lines: what is said must be what the interpreter says; cycles and RAM are measured."""
        static = firmware.sizes.static_bytes
        try:
            typed = firmware.type(self.trial.lines)
        except LevshaError:
            if static is not None and static + STACK_ROOM > (self.target.ram_bytes or 0):
                note = f"does not fit: the stack runs into {static} B of data in {self.target.ram_bytes} B of SRAM"
                return replace(row, fits=False, note=note)
            raise
        row = self._with_stack(row, firmware, typed.outcome)
        if row.fits is not False:
            self._require_right(typed, firmware)
        return replace(row, lines=len(self.trial.lines), **self._times(typed.outcome))

    def _require_right(self, typed: Typed, firmware: Firmware) -> None:
        graph, fault = firmware.graph, "This is a fault of Levsha; please report it."
        for line, said in zip(self.trial.lines, typed.answers, strict=True):
            want = firmware.application.expected(graph, line)
            if said != want:
                raise LevshaError(
                    f"{self.target.name}: to {line[:60]!r} the chip says {said!r}, the interpreter {want!r}. {fault}"
                )
        if typed.outcome and (wrong := compare(graph, typed.outcome)).mismatches:
            raise LevshaError(
                f"{self.target.name}: the conversation differs from the interpreter: {wrong.example}. {fault}"
            )

    def _with_stack(self, row: Row, firmware: Firmware, outcome: Outcome | None) -> Row:
        if outcome is None or outcome.stack_bytes is None or firmware.sizes.static_bytes is None:
            return row
        used = max(row.sram_bytes or 0, firmware.sizes.static_bytes + outcome.stack_bytes)
        over = used - (self.target.ram_bytes or used)
        note = f"does not fit: SRAM {over} B over {self.target.ram_bytes}" if over > 0 else ""
        return replace(row, sram_bytes=used, fits=over <= 0, note=note)

    def _times(self, outcome: Outcome | None) -> dict[str, Any]:
        if outcome is None or outcome.cycles is None or not self.target.clock_hz or not len(outcome.cycles):
            return {}
        ms = outcome.cycles.sum(1) * 1000 / self.target.clock_hz
        return {"ms": {"min": float(ms.min()), "mean": float(ms.mean()), "max": float(ms.max())}, "runs": len(ms)}

    def _with_vectors(self, row: Row, firmware: Firmware) -> Row:
        outcome = firmware.vectors(self.trial.vectors)
        compared = _compared(row, firmware.graph, self.target, outcome, self.trial.vectors)
        return self._with_stack(compared, firmware, outcome)

    def _saved(self, row: Row, firmware: Firmware) -> Row:
        if row.fits:
            row = replace(row, firmware_sha256=firmware.save(self.folder))
        if row.fits is not False:
            write_certificate(self.out, self.name, firmware.graph, self.target, row, self.seed)
        return row


__all__ = ["Row", "Trial", "check_again", "find_image", "ship", "write_certificate"]
