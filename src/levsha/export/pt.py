"""Float weights for torch: {"state_dict": ..., "about": a JSON text of what they mean}."""

from __future__ import annotations

import io
import json

import torch

from levsha.export.base import Source


def write(source: Source) -> dict[str, bytes]:
    """Return NAME.pt; torch.load(..., weights_only=True) reads it."""
    buffer, floats = io.BytesIO(), source.trained
    state = {name: torch.from_numpy(array.copy()) for name, array in floats.arrays.items()}
    torch.save({"state_dict": state, "about": json.dumps(floats.about, ensure_ascii=False)}, buffer)
    return {f"{source.name}.pt": buffer.getvalue()}
