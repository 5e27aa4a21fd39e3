"""torch's GRU and LSTM: a call for each layer and direction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from levsha.capture.reader import Name, Node


def gru(n: Node) -> Any:
    """Return the values (all h, last h of every layer and direction)."""
    return _layers(n, "gru", [n["hx"]])


def lstm(n: Node) -> Any:
    """Return the values (all h, last h, last c)."""
    return _layers(n, "lstm", list(n["hx"]))


def _layers(n: Node, cell: str, states: list[Any]) -> Any:
    x, both, width = n["input"], n["bidirectional"], 4 if n["has_biases"] else 2
    if n["train"] and n["dropout"]:
        return [n.refuse("dropout in training mode", "call .eval() before exporting")] * 3
    if any(not isinstance(h, Tensor) or bool(h.any()) for h in states):
        return [n.refuse(f"a {cell.upper()} that starts from computed states", "start from zeros")] * 3
    if not n["batch_first"]:
        return [n.refuse(f"a {cell.upper()} with the batch in axis 1", "use batch_first=True")] * 3
    params: list[Tensor] = n["params"]
    ways = 2 if both else 1
    lasts: list[Name] = []
    for layer in range(n["num_layers"]):
        made = []
        for way in range(ways):
            at = (layer * ways + way) * width
            made.append(_one(n, cell, x, params[at : at + width], bool(way), f"_{layer}{'r' if way else ''}"))
        lasts += [last for _, last in made]
        x = _joined(n, [y for y, _ in made], layer)
    return [x, _Lasts(lasts), _Lasts([])]


class _Lasts(list):
    """The last states, (layers, N, H) in torch: taken apart by an index or the last one alone."""


def _one(n: Node, cell: str, x: Name, params: list[Tensor], reverse: bool, suffix: str) -> tuple[Name, Name]:
    w_ih, w_hh, *biases = params
    zero = torch.zeros(len(w_ih))
    b_ih, b_hh = biases or (zero, zero)
    hidden = w_hh.shape[1]
    arrays = {"weight_ih": w_ih, "weight_hh": w_hh, "bias_ih": b_ih, "bias_hh": b_hh}
    shape = (x.shape[0], hidden)
    y = n.emit("recurrent", [x], {"cell": cell, "last": False, "reverse": reverse}, arrays, shape, f"{suffix}")
    row = 0 if reverse else x.shape[0] - 1
    return y, n.move(y, torch.arange(row * hidden, (row + 1) * hidden), suffix=f"{suffix}_last")


def _joined(n: Node, values: list[Name], layer: int) -> Name:
    if len(values) == 1:
        return values[0]
    shape = (values[0].shape[0], sum(x.shape[1] for x in values))
    return n.emit("concat", values, {"axis": 1}, shape=shape, suffix=f"_{layer}_both")
