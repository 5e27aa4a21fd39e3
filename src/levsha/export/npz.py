"""Float weights for numpy: arrays by name, and `about`, a JSON text, of what they mean."""

from __future__ import annotations

import io
import json

import numpy as np

from levsha.export.base import Source


def write(source: Source) -> dict[str, bytes]:
    """Return NAME.npz; numpy.load(..., allow_pickle=False) reads it."""
    buffer, floats = io.BytesIO(), source.trained
    arrays = {**floats.arrays, "about": np.array(json.dumps(floats.about, ensure_ascii=False))}
    np.savez(buffer, allow_pickle=False, **arrays)
    return {f"{source.name}.npz": buffer.getvalue()}
