"""Models of every kind, opened: a module, a file of torch.export, a class in a Python file with its weights, an ONNX file."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from levsha.capture.foreign import refuse_foreign
from levsha.capture.onnx_floats import float_outputs
from levsha.capture.onnx_read import read_onnx
from levsha.capture.torch_model import capture, read_exported, two_rows
from levsha.conversion.captured import Opened, as_tensor
from levsha.errors import LevshaError

KINDS = ".onnx, .pt2, or my_net.py:Net with --state net.pth or .safetensors"


def open_model(model: nn.Module | Path | str, x: np.ndarray, state: Path | None = None) -> Opened:
    """Return a model of any kind, with what was read of it.

    x: real inputs (N, *shape), with which a module is traced. state: the weights of a class in a Python file. LevshaError says what is
    wrong with a file, and names everything in a model that has no integer form.
    """
    if isinstance(model, nn.Module):
        return _module(model, x, type(model).__name__)
    text = str(model)
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        return _module(_class(Path(path), name, state), x, name)
    if state is not None:
        raise LevshaError(f"--state: is for a class in a Python file; {text} holds its own weights.")
    return _file(Path(text))


def _file(path: Path) -> Opened:
    if not path.is_file():
        raise LevshaError(f"{path}: does not exist, or is no file; give {KINDS}.")
    refuse_foreign(path)
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


def _module(model: nn.Module, x: np.ndarray, title: str) -> Opened:
    for name, parameter in model.state_dict().items():
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            raise LevshaError(f"{title}: {name} holds NaN or infinity; train it again, with a lower rate.")
    program = capture(model, as_tensor(x))

    def reference(part: np.ndarray) -> list[np.ndarray]:
        modes = {name: module.training for name, module in model.named_modules()}
        model.eval()
        try:
            with torch.inference_mode():
                out = model(as_tensor(part))
        finally:
            for name, module in model.named_modules():
                module.training = modes[name]
        return [t.numpy() for t in (out if isinstance(out, tuple | list) else [out])]

    return Opened(program, reference, title)


def _class(path: Path, name: str, state: Path | None) -> nn.Module:
    """The module of a class in the user's file, which is run: it is their own code."""
    module = _imported(path)
    made = getattr(module, name, None)
    if made is None:
        classes = [
            key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)
        ]
        raise LevshaError(f"{path}: has no {name!r}; it has {', '.join(classes) or 'no nn.Module'}.")
    try:
        model = made() if isinstance(made, type) else made
    except TypeError as error:
        raise LevshaError(
            f"{path}:{name}: cannot be made without arguments ({error}); add a class, or a variable, that is made with them."
        ) from None
    if not isinstance(model, nn.Module):
        raise LevshaError(f"{path}:{name}: is a {type(model).__name__}; an nn.Module is needed.")
    if state is not None:
        load_state(model, state)
    return model


def _imported(path: Path) -> ModuleType:
    if not path.is_file():
        raise LevshaError(f"{path}: does not exist; give the file with the class: my_net.py:Net.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LevshaError(f"{path}: cannot be run ({type(error).__name__}: {error}).") from None
    finally:
        sys.path.pop(0)
    return module


def load_state(model: nn.Module, path: Path) -> None:
    """Put weights from a .pth (read with weights_only=True) or .safetensors into a module; LevshaError lists keys that miss or do not belong."""
    found = _state(path)
    missing, unexpected = sorted({*model.state_dict()} - {*found}), sorted({*found} - {*model.state_dict()})
    if missing or unexpected:
        raise LevshaError(
            f"{path}: is a state of another class than {type(model).__name__}: {len(missing)} keys are missing ({_some(missing)}), "
            f"{len(unexpected)} are not expected ({_some(unexpected)})."
        )
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        raise LevshaError(
            f"{path}: does not fit {type(model).__name__}: {' '.join(str(error).split())[:300]}"
        ) from None


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:6]) + (", ..." if len(keys) > 6 else "") or "none"


def _state(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    if not path.is_file():
        raise LevshaError(f"{path}: does not exist; give the weights that torch.save(model.state_dict(), ...) wrote.")
    try:
        found = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # every reader has exceptions of its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LevshaError(
            f"{path}: cannot be read as weights alone ({first[:200]}); it may hold code, which is not run. "
            f"Save it anew: torch.save(model.state_dict(), 'net.pth')."
        ) from None
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise LevshaError(f"{path}: holds a {type(found).__name__}, not weights by name; save model.state_dict().")
    return {key.removeprefix("module."): value for key, value in found.items()}


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
