"""The forms in which a net leaves Levsha, one a file; this list is the only place that names them all."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

from levsha.errors import LevshaError


class Export(NamedTuple):
    """about: what it writes. kind: of the net it takes. module: whose write(source) returns files by name."""

    about: str
    kind: Literal["integer", "float"]
    module: str


TESTS = 8  # vectors in a self-test
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


FOLDERS = ("c", "arduino")  # exports of several files, which go by the prefix


def write_net(net: Any, kind: str, path: Path, prefix: str) -> list[Path]:
    """Write an integer net in another form; return the files. path: the file, or for exports of several files the folder."""
    from levsha.evidence.check_net import draw_vectors
    from levsha.export.base import Source
    from levsha.files import write_file

    if find_export(kind).kind != "integer":
        raise LevshaError(
            f"export: {kind} holds the float weights of a run; of an integer net there are {', '.join(_integer())}."
        )
    tests = draw_vectors(net.graph, TESTS, 0) if kind in FOLDERS else {}
    files = writer(kind)(Source(path.stem, net, None, tests, prefix))
    written = []
    for name, content in files.items():
        written.append(path / name if kind in FOLDERS else path)
        write_file(written[-1], content)
    return written


def _integer() -> list[str]:
    return [name for name, export in EXPORTS.items() if export.kind == "integer"]


def find_export(name: str) -> Export:
    """Return the export called `name`; LevshaError lists what there is."""
    if name not in EXPORTS:
        raise LevshaError(f"--to: there is no {name!r}; there are {', '.join(EXPORTS)}.")
    return EXPORTS[name]


def writer(name: str):
    """Return the function that makes the files of an export."""
    return importlib.import_module(f"levsha.export.{find_export(name).module}").write
