"""A training stage's state as one file, so that a killed run goes on where it was: the final weights are bytewise the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.store import read_safetensors

KIND = "levsha-checkpoint-1"


class Checkpoint:
    """The file of one stage, written at the end of an epoch, at most every `seconds`.

    key: hash of all that decides how the stage comes out; a file with another key, or a damaged one, is as good as none.
    """

    def __init__(self, path: Path, key: str, seconds: float = 2.0) -> None:
        self.path, self.key, self.seconds = path, key, seconds
        self._saved_at = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and counters of the last state that was saved, if there is one."""
        try:
            metadata, arrays = read_safetensors(self.path)
        except LevshaError:
            return None
        if metadata.get("kind") != KIND or metadata.get("key") != self.key:
            return None
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, json.loads(
            metadata["counters"]
        )

    def save(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """Write the state if the last one is old enough: under a temporary name, flushed to the disk, then renamed."""
        if time.monotonic() - self._saved_at < self.seconds:
            return
        write_file(self.path, save(tensors, {"kind": KIND, "key": self.key, "counters": json.dumps(counters)}))
        self._saved_at = time.monotonic()
