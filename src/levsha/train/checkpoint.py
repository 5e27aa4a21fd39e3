"""The state of a training as one file, so that a killed run goes on where it was and ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from levsha.data.numbers import raw_bytes
from levsha.errors import LevshaError, warn
from levsha.files import remove_stale, write_file
from levsha.train.tensors import pack, read_tensors, type_name

KIND = "levsha-checkpoint-2"
KEPT = 2
PATTERN = "step-*.safetensors"


@dataclass
class Saved:
    """What one checkpoint holds: tensors by name ("model.0.weight", "optimizer.0.weight.exp_avg", ...) and counters."""

    tensors: dict[str, Tensor]
    counters: dict[str, Any]
    path: Path | None = field(default=None)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix, such as the model's state_dict under "model."."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def environment() -> dict[str, Any]:
    """Return what the last bits of a training depend on beside its settings."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": str(torch.__version__), "threads": torch.get_num_threads(), "instruction set": capability}


class Checkpoints:
    """The checkpoints of one training in a folder: the last two, and the weights of the best epoch.

    key: hash of all that decides how the training comes out; a file with another key is as good as none.
    earlier: keys of trainings that this one begins like, whose files are as good as its own.
    """

    def __init__(self, folder: Path, key: str, seconds: float = 5.0, earlier: Collection[str] = ()) -> None:
        self.folder, self.key, self.seconds = folder, key, seconds
        self.readable = {key, *earlier}
        self.mine: list[Path] = []
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last one is old enough."""
        return time.monotonic() - self._saved_at >= self.seconds

    def load(self, extra: dict[str, Any] | None = None) -> Saved | None:
        """Return the newest sound state, if there is one; a damaged file is named, and the one before it is used.

        extra: what the last bits depend on beside `environment`, such as the number of processes.
        """
        remove_stale(self.folder)
        damaged: LevshaError | None = None
        newest: tuple[Saved, dict[str, str]] | None = None
        for path in sorted(self.folder.glob(PATTERN), reverse=True):
            try:
                found = read_checkpoint(path)
            except LevshaError as error:
                damaged = damaged or (None if newest else error)
                continue
            if found[1]["key"] in self.readable:
                self.mine.insert(0, path)
                newest = newest or found
        if damaged:
            use = (
                f"The one before it, {self.mine[-1].name}, is used."
                if newest
                else "There is none before it: the training starts from the beginning."
            )
            warn(f"{damaged} {use}")
        if newest:
            _compare_environment(self.mine[-1], json.loads(newest[1]["made_with"]), environment() | (extra or {}))
        return newest[0] if newest else None

    def save(self, saved: Saved, extra: dict[str, Any] | None = None) -> Path:
        """Write a state under a temporary name, flush it to the disk, rename it; then forget all but the last two."""
        metadata = {"kind": KIND, "key": self.key, "counters": json.dumps(saved.counters)}
        metadata |= {"made_with": json.dumps(environment() | (extra or {}))}
        path = self.folder / f"step-{saved.counters['done']:010d}.safetensors"
        write_file(path, pack(saved.tensors, metadata | {"sha256": _digest(saved.tensors, metadata)}))
        self._saved_at = time.monotonic()
        self.mine = [*(other for other in self.mine if other != path), path][-KEPT:]
        for other in set(self.folder.glob(PATTERN)) - set(
            self.mine
        ):  # older ones, damaged ones, those of other settings
            other.unlink(missing_ok=True)
        return path

    def save_best(self, model: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """Write the weights of the best epoch as best.safetensors; its names are those of the model's state_dict."""
        write_file(self.folder / "best.safetensors", pack(model, {"counters": json.dumps(counters)}))


def read_checkpoint(path: Path) -> tuple[Saved, dict[str, str]]:
    """Return what a checkpoint holds and its header; LevshaError where it is damaged or none."""
    metadata, tensors = read_tensors(path)
    if metadata.get("kind") != KIND:
        raise LevshaError(f"{path}: is {metadata.get('kind', 'no Levsha file')!r}; a checkpoint ({KIND}) is needed.")
    recorded = metadata.pop("sha256", "")
    if recorded != _digest(tensors, metadata):
        raise LevshaError(f"{path}: is damaged (its hash does not match its content).")
    return Saved(tensors, json.loads(metadata["counters"]), path), metadata


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {type_name(tensor.dtype)} {tuple(tensor.shape)}".encode())
        digest.update(raw_bytes(tensor).data)
    return digest.hexdigest()


def _compare_environment(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    differences = [
        f"{name} {then.get(name)} then, {value} now" for name, value in now.items() if then.get(name) != value
    ]
    if differences:
        warn(
            f"{path.name} was made with {'; '.join(differences)}. Sums may be taken in another order: the training goes on, but its last bits "
            "may differ from those of an uninterrupted run."
        )
