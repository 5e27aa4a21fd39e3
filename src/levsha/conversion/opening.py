"""Models of every kind, opened: a module, a file of torch.export, a class in a Python file with its weights, an ONNX file."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from levsha.capture.foreign import refuse_foreign
from levsha.capture.onnx_floats import float_outputs
from levsha.capture.onnx_read import read_onnx
from levsha.capture.torch_model import read_exported, two_rows
from levsha.conversion.captured import Opened, as_tensor
from levsha.conversion.modules import module_of, open_module
from levsha.errors import LevshaError

KINDS = ".onnx, .pt2, or my_net.py:Net with --state net.pth or .safetensors"


def open_model(model: nn.Module | Path | str, x: np.ndarray, state: Path | None = None) -> Opened:
    """Return a model of any kind, with what was read of it.

    x: real inputs (N, *shape), with which a module is traced. state: the weights of a class in a Python file. LevshaError says what is
    wrong with a file, and names everything in a model that has no integer form.
    """
    if isinstance(model, nn.Module):
        if state is not None:
            raise LevshaError(
                "--state: is for a class in a Python file; a module holds its own weights: model.load_state_dict puts others in."
            )
        return open_module(model, x, type(model).__name__)
    if not isinstance(model, str | Path):
        raise LevshaError(f"model: is of type {type(model).__name__}; give an nn.Module, or the path of {KINDS}.")
    text = str(model)
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        module, fresh = module_of(Path(path), name, state)
        opened = open_module(module, x, name)
        fresh_weights = (
            f"{text}: has the weights that it is made with; if others were trained, give them with --state net.pth."
        )
        return replace(opened, notice=" ".join(filter(None, (fresh_weights * fresh, opened.notice))))
    if state is not None:
        raise LevshaError(f"--state: is for a class in a Python file; {text} holds its own weights.")
    return _file(Path(text))


def _file(path: Path) -> Opened:
    if not path.is_file() and not path.is_dir():
        file, colon, name = str(path).rpartition(":")
        hint = f" Perhaps you meant {file}.py:{name}." if colon and Path(f"{file}.py").is_file() else ""
        raise LevshaError(f"{path}: does not exist; give {KINDS}.{hint}")
    refuse_foreign(path)
    if not path.is_file():
        raise LevshaError(f"{path}: is a folder; give {KINDS}.")
    if path.suffix == ".onnx":
        return Opened(read_onnx(path), lambda x: _listed(float_outputs(path, x)), path.stem)
    if path.suffix == ".pt2":
        return _exported(path)
    if path.suffix == ".py":
        raise LevshaError(f"{path}: holds classes; name one: {path}:Net, and its weights with --state.")
    if path.suffix in (".pth", ".pt", ".safetensors"):
        raise LevshaError(f"{path}: holds weights alone; name the class too: my_net.py:Net --state {path}.")
    raise LevshaError(f"{path}: is of no known kind; give {KINDS}.")


def _listed(found: Any) -> list[np.ndarray]:
    return list(found) if isinstance(found, list | tuple) else [found]


def _exported(path: Path) -> Opened:
    check_archive(path)
    try:
        exported = torch.export.load(path)
    except Exception as error:
        raise LevshaError(
            f"{path}: cannot be read ({str(error).strip()[:200]}); write it with torch.export.save."
        ) from None
    shape = next(iter(exported.graph_signature.user_inputs), None)
    node = next((n for n in exported.graph.nodes if n.name == shape), None)
    sizes = tuple(node.meta["val"].shape) if node is not None else ()
    sizes = tuple(int(n) for n in sizes[1:])
    module = exported.module()
    rows = torch.zeros(2, *sizes)
    again = torch.export.export(module, (two_rows(rows),), strict=False) if _batch(exported) != 2 else exported
    return Opened(read_exported(again, path.stem), lambda x: _run_exported(module, x, _batch(exported)), path.stem)


def _batch(exported: Any) -> int | None:
    """The fixed batch of an exported graph; None where it is free."""
    name = next(iter(exported.graph_signature.user_inputs))
    node = next(n for n in exported.graph.nodes if n.name == name)
    size = node.meta["val"].shape[0]
    return size if isinstance(size, int) else None


def _run_exported(module: Any, x: np.ndarray, batch: int | None) -> list[np.ndarray]:
    """What an exported graph says; a fixed batch is filled up with the last row."""
    step = batch or len(x)
    made: list[list[np.ndarray]] = []
    for start in range(0, len(x), step):
        part = as_tensor(x[start : start + step])
        full = torch.cat([part, part[-1:].expand(step - len(part), *part.shape[1:])]) if len(part) < step else part
        with torch.inference_mode():
            out = module(full)
        made.append([t[: len(part)].numpy() for t in (out if isinstance(out, tuple | list) else [out])])
    return [np.concatenate(column) for column in zip(*made, strict=True)]


def check_archive(path: Path) -> None:
    """Raise LevshaError for a .pt2 that would run code when it is loaded: pickled weights or constants, objects of its own.

    torch.export.load unpickles what its headers say is pickled, and the sample inputs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            texts = {name: archive.read(name) for name in names if name.endswith(".json")}
            samples = [archive.read(name) for name in names if "sample_inputs" in name]
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise LevshaError(f"{path}: is no sound .pt2 file ({error}); write it with torch.export.save.") from None
    for name, text in texts.items():
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if "use_pickle" in text.decode(errors="replace") and _says(found, "use_pickle"):
            raise _unsafe(path, f"{name} says that weights are pickled")
    if any("custom_obj" in Path(name).name for name in names):
        raise _unsafe(path, "it holds objects of classes of its own")
    for data in samples:
        import io

        try:
            torch.load(io.BytesIO(data), weights_only=True)
        except Exception:
            raise _unsafe(path, "its sample inputs are no plain tensors") from None


def _says(found: Any, key: str) -> bool:
    if isinstance(found, dict):
        return bool(found.get(key)) or any(_says(value, key) for value in found.values())
    return isinstance(found, list) and any(_says(value, key) for value in found)


def _unsafe(path: Path, why: str) -> LevshaError:
    return LevshaError(
        f"{path}: loading it would run code from it ({why}); it was not loaded. Export the model anew with torch.export.save."
    )
