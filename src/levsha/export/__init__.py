"""The forms in which a net leaves Levsha, one a file; this list is the only place that names them all."""

from __future__ import annotations

import importlib
from typing import Literal, NamedTuple

from levsha.errors import LevshaError


class Export(NamedTuple):
    """about: what it writes. kind: of the net it takes. module: whose write(source) returns files by name."""

    about: str
    kind: Literal["integer", "float"]
    module: str


EXPORTS: dict[str, Export] = {
    "c": Export("NAME.h and NAME.c, a library in C99 and C++17", "integer", "c"),
    "arduino": Export("a folder NAME, an Arduino library with an example", "integer", "arduino"),
    "json": Export("every weight as an integer", "integer", "json"),
    "bin": Export("the same, packed", "integer", "packed"),
    "onnx": Export("ONNX of integers alone, the same bits in ONNX Runtime", "integer", "onnx"),
    "npz": Export("the float weights it was trained as, for numpy", "float", "npz"),
    "pt": Export("the same, for torch.load(weights_only=True)", "float", "pt"),
    "safetensors": Export("the same, as safetensors", "float", "safetensors"),
}


def find_export(name: str) -> Export:
    """Return the export called `name`; LevshaError lists what there is."""
    if name not in EXPORTS:
        raise LevshaError(f"--to: there is no {name!r}; there are {', '.join(EXPORTS)}.")
    return EXPORTS[name]


def writer(name: str):
    """Return the function that makes the files of an export."""
    return importlib.import_module(f"levsha.export.{find_export(name).module}").write
