"""A module of torch, opened: a class in the user's Python file with its weights, or the module itself; what is wrong with it is said first."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from levsha.capture.torch_model import capture, evaluating, first_line, own_line, two_rows
from levsha.conversion.captured import Opened, as_tensor
from levsha.errors import LevshaError


def open_module(model: nn.Module, x: np.ndarray, title: str) -> Opened:
    """Return a module with what was read of it; x: real inputs (N, *shape).

    LevshaError where its weights are not finite, it cannot run on x, does not say the same twice, returns anything but tensors with a row
    for each row, or holds what has no integer form.
    """
    for name, parameter in model.state_dict().items():
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            raise LevshaError(f"{title}: {name} holds NaN or infinity; train it again, with a lower rate.")
    rows = two_rows(as_tensor(x))
    model, notice = _in_float32(model, rows, title)
    _try(model, rows, title, _hint(model, x))
    program = capture(model, rows)
    _try_again(model, rows, title)

    def reference(part: np.ndarray) -> list[np.ndarray]:
        try:
            return [t.numpy() for t in _outputs(_said(model, as_tensor(part)))]
        except Exception as error:  # the user's own code may raise any
            raise LevshaError(
                f"{title}: cannot run on all rows: {own_line(error)}{first_line(error)}.{_hint(model, part)}"
            ) from None

    return Opened(program, reference, title, notice)


def _in_float32(model: nn.Module, rows: Tensor, title: str) -> tuple[nn.Module, str]:
    """A module that runs on rows of float32: itself, or its copy, where its weights are float64, or half as wide; and what to say of that."""
    kinds = {value.dtype for value in model.state_dict().values() if value.is_floating_point()}
    if not kinds - {torch.float32}:
        return model, ""
    try:
        _said(model, rows)
    except Exception:  # the user's own code may raise any
        named = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        try:
            return copy.deepcopy(model).float(), f"{title}: its weights are {named}; they were read as float32."
        except Exception as error:
            raise LevshaError(
                f"{title}: its weights are {named}, and it cannot be copied ({first_line(error)}); call model.float() first."
            ) from None
    return model, ""


def _hint(model: nn.Module, x: np.ndarray) -> str:
    """What may be wrong with rows that a model with an embedding does not take, a sentence; "" where there is none."""
    tables = [part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding)]
    if not tables:
        return ""
    if x.min() < 0 or x.max() >= min(tables):
        return f" Its embedding has rows 0..{min(tables) - 1}, and x holds {x.min():g}..{x.max():g}."
    return " Rows come as float32: its forward must say x.long() before the embedding."


@torch.inference_mode()
def _said(model: nn.Module, x: Tensor) -> Any:
    with evaluating(model):
        return model(x)


def _outputs(out: Any) -> list[Tensor]:
    return list(out) if isinstance(out, tuple | list) else [out]


def _try(model: nn.Module, x: Tensor, title: str, hint: str) -> None:
    """Run a module on two rows as it is, before torch.export does, whose complaints are longer."""
    try:
        said = _said(model, x)
    except Exception as error:  # the user's own code may raise any
        raise LevshaError(
            f"{title}: cannot run on rows of shape {tuple(x.shape[1:])}: {own_line(error)}{first_line(error)}. "
            f"Give rows shaped as the model takes them, or mend its forward.{hint}"
        ) from None
    outs = _outputs(said)
    odd = [type(out).__name__ for out in outs if not isinstance(out, Tensor)]
    if odd or not outs:
        raise LevshaError(f"{title}: returns {', '.join(odd) or 'nothing'}; return a tensor, or a tuple of tensors.")
    for out in outs:
        if out.dim() < 1 or len(out) != len(x):
            raise LevshaError(
                f"{title}: makes {tuple(out.shape)} of {len(x)} rows; the first axis of what it returns must count the rows, as that of its input."
            )


def _try_again(model: nn.Module, x: Tensor, title: str) -> None:
    first, again = (_outputs(_said(model, x)) for _ in range(2))
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, again, strict=True)):
        raise LevshaError(
            f"{title}: says something else each time: it draws random numbers, or changes itself; take that out of its forward."
        )


def module_of(path: Path, name: str, state: Path | None) -> tuple[nn.Module, bool]:
    """Return the module of a class, or a variable, in the user's Python file, which is run, with the weights of a file; and whether it has
    no other weights than its class made."""
    module = _imported(path)
    made = getattr(module, name, None) if name else None
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
    except Exception as error:
        raise LevshaError(f"{path}:{name}: cannot be made: {first_line(error)}.") from None
    if not isinstance(model, nn.Module):
        raise LevshaError(f"{path}:{name}: is of type {type(model).__name__}; an nn.Module is needed.")
    if state is not None:
        load_state(model, state)
    fresh = state is None and isinstance(made, type) and any(True for _ in model.parameters())
    return model, fresh


def _imported(path: Path) -> ModuleType:
    if not path.is_file():
        raise LevshaError(f"{path}: does not exist; give the file with the class: my_net.py:Net.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except SystemExit:
        raise LevshaError(
            f"{path}: ends the program when it is run; put what it does under if __name__ == '__main__'."
        ) from None
    except Exception as error:
        raise LevshaError(f"{path}: cannot be run ({type(error).__name__}: {error}).") from None
    finally:
        sys.path.pop(0)
    return module


def load_state(model: nn.Module, path: Path) -> None:
    """Put weights from a .pth (read with weights_only=True) or .safetensors into a module; LevshaError lists keys that miss or do not belong."""
    found, wanted = _state(path), model.state_dict()
    missing, unexpected = sorted({*wanted} - {*found}), sorted({*found} - {*wanted})
    if missing or unexpected:
        raise LevshaError(
            f"{path}: is a state of another class than {type(model).__name__}: {len(missing)} keys are missing ({_some(missing)}), "
            f"{len(unexpected)} are not expected ({_some(unexpected)})."
        )
    shapes = [
        f"{key} is {tuple(found[key].shape)}, not {tuple(value.shape)}"
        for key, value in wanted.items()
        if found[key].shape != value.shape
    ]
    if shapes:
        raise LevshaError(
            f"{path}: does not fit {type(model).__name__}: {'; '.join(shapes[:6])}. Give its own weights."
        )
    model.load_state_dict(found)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:6]) + (", ..." if len(keys) > 6 else "") or "none"


def _state(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if not path.is_file():
        raise LevshaError(
            f"{path}: does not exist, or is no file; give the weights that torch.save(model.state_dict(), 'net.pth') wrote."
        )
    again = "Save it anew: torch.save(model.state_dict(), 'net.pth')."
    try:
        found = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # every reader has exceptions of its own
        whole = isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path)
        why = "holds more than weights, such as a whole model: loading it would run code, and it was not loaded"
        raise LevshaError(
            f"{path}: {why if whole else 'is damaged, cut short, or no file of weights'}. {again}"
        ) from None
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise LevshaError(f"{path}: holds a {type(found).__name__}, not weights by name. {again}")
    return {key.removeprefix("module."): value for key, value in found.items()}
