"""Levsha trains small neural networks, shrinks them and ships them as exact integers."""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"
_PUBLIC = {  # name: where it is; imported when it is first asked for, so that `import levsha` costs nothing
    "Arrays": "levsha.train.batch",
    "LevshaError": "levsha.errors",
    "Net": "levsha.net",
    "Run": "levsha.run",
    "Stream": "levsha.train.batch",
    "Training": "levsha.train.settings",
    "fine_tune": "levsha.conversion.fine_tune",
    "fit": "levsha.train.fit",
    "convert": "levsha.conversion.door",
    "load": "levsha.net",
    "loss": "levsha.train.losses",
    "predict": "levsha.train.fit",
}

# Before torch is imported, whoever does it: spinning threads make a step up to 18 times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")


def __getattr__(name: str) -> Any:
    """Return a public name."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'levsha' has no attribute {name!r}; there are {', '.join(_PUBLIC)}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*_PUBLIC, "__version__"]
