"""A model's state as tensors and as a file: its state_dict, with what modules keep beside it by get_extra_state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.store import stable
from levsha.train.tensors import pack, read_tensors

EXTRA = "_extra_state"  # the end of its name in a state_dict
JSON = ".json"  # an extra state that is no tensor lies under its name and this, as the bytes of its JSON


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's state_dict in tensors alone; LevshaError names an extra state that neither is one nor fits into JSON."""
    found: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        found |= {name: value} if isinstance(value, Tensor) else {name + JSON: _encoded(name, value)}
    return found


def load_model_state(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Take back what `model_state` gave, or a part of it, in place; RuntimeError where a shape is another."""
    mine = model.state_dict()
    for name, tensor in tensors.items():
        path, _, last = name.removesuffix(JSON).rpartition(".")
        if last == EXTRA:
            value = json.loads(bytes(tensor.tolist())) if name.endswith(JSON) else tensor.clone()
            model.get_submodule(path).set_extra_state(value)
        else:
            mine[name].copy_(tensor)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state_dict as safetensors, in an order that is always the same."""
    write_file(path, stable(pack(model_state(model))))


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Read into a model what `save_weights` wrote of one like it, and return it; LevshaError where it is of another."""
    tensors = read_tensors(path)[1]
    mine = {name: t.shape for name, t in model_state(model).items() if not name.endswith(JSON)}
    found = {name: t.shape for name, t in tensors.items() if not name.endswith(JSON)}
    if mine != found:
        others = sorted(name for name in mine.keys() | found.keys() if mine.get(name) != found.get(name))
        raise LevshaError(
            f"{path}: is of another model ({', '.join(others[:4])} differ); build the model it was saved from."
        )
    with torch.no_grad():
        load_model_state(model, tensors)
    return model


def _encoded(name: str, value: Any) -> Tensor:
    """The bytes of an extra state's JSON, (n,) of uint8."""
    try:
        text = json.dumps(value)
        same = json.loads(text) == value
    except (TypeError, ValueError):
        text, same = "", False
    if not same:
        raise LevshaError(
            f"model: {name} in its state_dict is a {type(value).__name__} that JSON cannot hold; let get_extra_state return a tensor, or numbers, "
            "texts, lists and dicts with texts as keys."
        )
    return torch.tensor(list(text.encode()), dtype=torch.uint8)
