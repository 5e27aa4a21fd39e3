"""The state of an optimizer in torch's own form, in and out, so that plain torch can go on where Levsha stopped and the other way round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from levsha.errors import LevshaError
from levsha.train.loop import Loop


def _names(loop: Loop, model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters() if name in loop.flat.shapes]


def to_torch_optimizer(loop: Loop, model: nn.Module) -> dict[str, Any]:
    """Return a state_dict for the torch optimizer of the same name over model.parameters(), one group."""
    moments = {moment: loop.flat.split(tensor) for moment, tensor in loop.optimizer.state.items()}
    names = _names(loop, model)
    state = {
        index: {"step": loop.optimizer.steps.clone()}
        | {moment: views[name].clone() for moment, views in moments.items()}
        for index, name in enumerate(names)
    }
    t = loop.training
    group: dict[str, Any] = {"lr": t.rate, "weight_decay": t.weight_decay, "params": list(range(len(names)))}
    if t.optimizer in ("adam", "adamw"):
        group |= {"betas": (t.beta1, t.beta2), "eps": t.eps, "amsgrad": False}
    elif t.optimizer == "rmsprop":
        group |= {"momentum": t.momentum, "alpha": t.alpha, "eps": t.eps, "centered": t.centered}
    else:
        group |= {"momentum": t.momentum, "dampening": 0.0, "nesterov": t.nesterov}
    return {"state": state, "param_groups": [group]}


def from_torch_optimizer(loop: Loop, model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Take moments and steps from a torch optimizer's state_dict; LevshaError where it is of another optimizer or model."""
    names, state = _names(loop, model), state_dict.get("state", {})
    if state and set(state) != set(range(len(names))):
        raise LevshaError(f"optimizer_state: is of {len(state)} parameters; the model has {len(names)}.")
    try:
        for moment, tensor in loop.optimizer.state.items():
            views = loop.flat.split(tensor)
            for index, name in enumerate(names if state else []):
                views[name].copy_(state[index][moment])
        if state and "step" in state[0]:
            loop.optimizer.steps.fill_(float(state[0]["step"]))
    except (KeyError, RuntimeError) as error:
        raise LevshaError(
            f"optimizer_state: does not fit {loop.training.optimizer} and this model ({error})."
        ) from None
