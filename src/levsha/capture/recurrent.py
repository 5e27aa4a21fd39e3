"""torch's GRU, LSTM and RNN: a call for each layer and direction.

Legend: N examples of the exported graph, L layers times directions, H units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from levsha.capture.reader import Name, Node
from levsha.capture.torch_moves import MOVING, SEVERAL


@dataclass(frozen=True, eq=False)
class Lasts:
    """The last states of all layers and directions, in which axis 0 is not the batch, (L, N, H) as torch returns them, until a move has put it there.

    values: L of them, (H,) each; none where they are not computed. numbers: that of each element, counted through (L, N, H).
    """

    values: tuple[Name, ...]
    numbers: Tensor
    batch: int


def plain(cell: str) -> Callable[[Node], Any]:
    """Return what reads a GRU or an RNN, `gru`, `rnn_tanh` or `rnn_relu`: the values (all h, last h of every layer and direction)."""
    return lambda n: _layers(n, cell, [n["hx"]])


def lstm(n: Node) -> Any:
    """Return the values (all h, last h, last c)."""
    return _layers(n, "lstm", list(n["hx"]))


def _layers(n: Node, cell: str, states: list[Any]) -> Any:
    x, width, title = n["input"], 4 if n["has_biases"] else 2, cell[:4].rstrip("_").upper()
    if n["train"] and n["dropout"]:
        return [n.refuse("dropout in training mode", "call .eval() before exporting")] * 3
    if any(not isinstance(h, Tensor) or bool(h.any()) for h in states):
        return [n.refuse(f"{title} that starts from computed states", "start from zeros")] * 3
    if not n["batch_first"]:
        return [n.refuse(f"{title} with the batch in axis 1", "use batch_first=True")] * 3
    params: list[Tensor] = n["params"]
    ways = 2 if n["bidirectional"] else 1
    lasts: list[Name] = []
    for layer in range(n["num_layers"]):
        made = []
        for way in range(ways):
            at = (layer * ways + way) * width
            made.append(_one(n, cell, x, params[at : at + width], bool(way), f"_{layer}{'r' if way else ''}"))
        lasts += [last for _, last in made]
        x = _joined(n, [y for y, _ in made], layer)
    numbers = torch.arange(states[0].numel()).reshape(states[0].shape)
    h = Lasts(tuple(lasts), numbers, states[0].shape[1])
    return [x, h, replace(h, values=())]


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


def lasts_of(given: Any) -> Iterator[Lasts]:
    """Yield the last states among an operation's arguments."""
    if isinstance(given, Lasts):
        yield given
    for part in given.values() if isinstance(given, dict) else given if isinstance(given, list | tuple) else ():
        yield from lasts_of(part)


def take_lasts(n: Node, operation: str) -> Any:
    """Return what an operation makes of last states: a value as soon as axis 0 is the batch; only moves are known before."""
    (_, lasts), *others = n.given.items()
    if not isinstance(lasts, Lasts) or operation not in (*MOVING, *SEVERAL):
        return n.refuse(f"{operation} of the last states of all layers", "take one layer's first, as in h[-1]")
    if not lasts.values:
        return n.refuse("the last c of an LSTM", "use its h")
    found = n.target(lasts.numbers.double(), **dict(others))
    if isinstance(found, Tensor):
        return _settled(n, lasts, found.long(), "")
    return [_settled(n, lasts, part.long(), f"_{k}") for k, part in enumerate(found)]


def _settled(n: Node, lasts: Lasts, numbers: Tensor, suffix: str) -> Name | Lasts:
    """A value, where axis 0 is the batch now."""
    units, batch = lasts.values[0].shape[0], lasts.batch
    rows = list(numbers) if numbers.dim() else []
    if len(rows) != batch or any(not torch.equal(row, rows[0] + k * units) for k, row in enumerate(rows)):
        return replace(lasts, numbers=numbers)
    if int(rows[0].max()) % (batch * units) >= units:
        return replace(lasts, numbers=numbers)
    layer = rows[0] // (batch * units)
    used = layer.unique()
    index = torch.searchsorted(used, layer) * units + rows[0] % units
    values = [lasts.values[int(k)] for k in used]
    x = values[0]
    if len(values) > 1:
        x = n.emit("concat", values, {"axis": 0}, shape=(len(values) * units,), suffix=f"{suffix}_all")
    return n.move(x, index, suffix=suffix)
