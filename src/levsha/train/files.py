"""Float nets of the chat shape as safetensors, in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.store import read_safetensors, stable
from levsha.train.mlp import Mlp

KIND = "levsha-float-1"


def save_mlp(mlp: Mlp, path: Path, about: dict[str, Any]) -> None:
    """Write a float net; `about` is kept as JSON in the header."""
    write_file(path, stable(save(mlp.tensors(), {"kind": KIND, "about": json.dumps(about)})))


def load_mlp(path: Path) -> tuple[Mlp, dict[str, Any]]:
    """Read a float net and what was kept beside it; LevshaError names a file that is none."""
    metadata, arrays = read_safetensors(path)
    if metadata.get("kind") != KIND:
        raise LevshaError(
            f"{path}: is {metadata.get('kind', 'no Levsha file')!r}; a float net ({KIND}) is needed, such as RUN/splits/queries-0/baseline.safetensors."
        )
    return Mlp.from_tensors({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}), json.loads(
        metadata["about"]
    )
