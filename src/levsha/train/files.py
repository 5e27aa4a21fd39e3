"""Float nets as files: safetensors in and out, plain torch and numpy out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.store import read_safetensors, stable
from levsha.train.mlp import Mlp
from levsha.train.tensors import read_tensors

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


def export_mlp(mlp: Mlp, path: Path, to: str) -> None:
    """Write a float net as `pt` (a state dict for torch.load(weights_only=True)) or `npz` (arrays by name)."""
    buffer = io.BytesIO()
    if to == "pt":
        torch.save(mlp.tensors(), buffer)
    else:
        np.savez(buffer, allow_pickle=False, **{name: tensor.numpy() for name, tensor in mlp.tensors().items()})
    write_file(path, buffer.getvalue())


def export_state_dict(source: Path, path: Path, to: str) -> None:
    """Write a state_dict that lies as safetensors as `pt` or `npz`; LevshaError where numpy has no such type."""
    tensors = read_tensors(source)[1]
    buffer = io.BytesIO()
    if to == "pt":
        torch.save(tensors, buffer)
    else:
        try:
            np.savez(buffer, allow_pickle=False, **{name: tensor.numpy() for name, tensor in tensors.items()})
        except TypeError:
            kinds = ", ".join(sorted({str(tensor.dtype) for tensor in tensors.values()}))
            raise LevshaError(
                f"{source}: holds {kinds}, which numpy has not; export it as pt, or train a float32 model."
            ) from None
    write_file(path, buffer.getvalue())
