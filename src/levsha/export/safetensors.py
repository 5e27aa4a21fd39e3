"""Float weights as safetensors: tensors by name, and `about`, a JSON text in the header, of what they mean."""

from __future__ import annotations

import json

from safetensors.numpy import save

from levsha.export.base import Source
from levsha.store import stable


def write(source: Source) -> dict[str, bytes]:
    """Return NAME.safetensors."""
    floats = source.trained
    about = json.dumps(floats.about, ensure_ascii=False)
    return {f"{source.name}.safetensors": stable(save(dict(floats.arrays), {"about": about}))}
