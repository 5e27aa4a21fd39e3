"""The state of an optimizer in torch's own form, in and out, so that plain torch can go on where Levsha stopped and the other way round.

Torch numbers parameters. One group: those of the model that train, in its order. With a weight decay, which biases have not,
two groups: first the parameters with two axes or more, then the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from levsha.errors import LevshaError
from levsha.train.loop import Loop


def _groups(loop: Loop, model: nn.Module, count: int) -> list[list[str]]:
    """The names of the parameters in each of `count` groups."""
    names = [name for name, _ in model.named_parameters() if name in loop.flat.shapes]
    if count == 1:
        return [names]
    decaying = [name for name in names if len(loop.flat.shapes[name]) >= 2]
    return [decaying, [name for name in names if name not in decaying]]


def to_torch_optimizer(loop: Loop, model: nn.Module) -> dict[str, Any]:
    """Return a state_dict for the torch optimizer of the same name; see above for its groups."""
    t, flat = loop.training, loop.flat
    groups = _groups(loop, model, 2 if t.weight_decay and 0 < flat.weight_count < flat.all.numel() else 1)
    moments = {moment: loop.flat.split(tensor) for moment, tensor in loop.optimizer.state.items()}
    names = [name for group in groups for name in group]
    state = {
        index: {"step": loop.optimizer.steps.clone()}
        | {moment: views[name].clone() for moment, views in moments.items()}
        for index, name in enumerate(names)
    }
    shared = {"lr": t.rate} | loop.optimizer.torch_settings()
    return {"state": state, "param_groups": _param_groups(groups, shared, t.weight_decay if flat.weight_count else 0.0)}


def _param_groups(groups: list[list[str]], shared: dict[str, Any], decay: float) -> list[dict[str, Any]]:
    made, start = [], 0
    for number, names in enumerate(groups):
        params = list(range(start, start + len(names)))
        made.append(shared | {"weight_decay": 0.0 if number else decay, "params": params})
        start += len(names)
    return made


def from_torch_optimizer(loop: Loop, model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Take moments and steps from a torch optimizer's state_dict; LevshaError where it is of another optimizer or model."""
    state, count = state_dict.get("state", {}), len(state_dict.get("param_groups", [None]))
    names = [name for group in _groups(loop, model, count) for name in group]
    if count > 2:
        raise LevshaError(f"optimizer_state: has {count} groups; give one, or two: weights, then biases and the like.")
    if state and set(state) != set(range(len(names))):
        found = ", ".join(map(str, sorted(state)))
        raise LevshaError(
            f"optimizer_state: is of parameters {found}; the model trains 0 to {len(names) - 1}: give torch.optim just these."
        )
    moments = {"step", *loop.optimizer.state}
    try:
        for moment, tensor in loop.optimizer.state.items():
            views = loop.flat.split(tensor)
            for index, name in enumerate(names if state else []):
                if state[index][moment].shape != views[name].shape:  # copy_ would broadcast it
                    raise RuntimeError(f"{moment} of parameter {index}, {name}, has another shape")
                views[name].copy_(state[index][moment])
        for index, found in state.items():
            unused = [name for name, value in found.items() if value is not None and name not in moments]
            if unused:  # dropped in silence, the training would go on as another one
                raise RuntimeError(f"{', '.join(unused)} of parameter {index} would not be used")
        if state and "step" in state[0]:
            loop.optimizer.steps.fill_(float(state[0]["step"]))
    except (KeyError, AttributeError, RuntimeError) as error:
        raise LevshaError(
            f"optimizer_state: does not fit {loop.training.optimizer} and this model ({error})."
        ) from None
