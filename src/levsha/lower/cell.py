"""A recurrent layer in floats: GRU, LSTM, and a plain one with tanh or ReLU; legend: N examples, T rows, I inputs, H units, G rows of weights.

GRU: r, z = sigmoid(a_rz), n = tanh(x_n + r * h_n), h' = n + z * (h - n). LSTM: i, f, o = sigmoid(a_ifo), c' = f * c + i * tanh(a_g),
h' = o * tanh(c'). Plain: h' = tanh(a) or relu(a). Gates as torch orders them: r z n, i f g o.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

GATES = {"gru": 3, "lstm": 4, "rnn_tanh": 1, "rnn_relu": 1}  # by kind of cell
Inner = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Cell:
    """One layer in one direction, from zero states.

    kind: a key of GATES. rows: T. last: the value is the last h alone, (H,), else every h, (T, H). weight_ih_GI, weight_hh_GH, bias_ih_G,
    bias_hh_G: floats, G = gates * H.
    """

    kind: str
    rows: int
    last: bool
    weight_ih_GI: Tensor
    weight_hh_GH: Tensor
    bias_ih_G: Tensor
    bias_hh_G: Tensor

    @property
    def units(self) -> int:
        """H."""
        return self.weight_hh_GH.shape[1]

    @property
    def inputs(self) -> int:
        """I."""
        return self.weight_ih_GI.shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its value."""
        return (self.units,) if self.last else (self.rows, self.units)

    def run(self, x: Tensor) -> Tensor:
        """Return the value, (N, H) or (N, T, H), for inputs (N, ...) of T * I elements, in their precision."""
        found = [inner["h"] for inner in self.passes(x)]
        return found[-1] if self.last else torch.stack(found, 1)

    def passes(self, x: Tensor) -> Iterator[Inner]:
        """Yield what the cell holds after each row, (N, ...) each: `h`; `c` of an LSTM; `gates` and `new`, the arguments of sigmoid and tanh."""
        x_NTI = x.reshape(len(x), self.rows, self.inputs)
        w_ih, w_hh, b_ih, b_hh = (
            part.to(x.dtype) for part in (self.weight_ih_GI, self.weight_hh_GH, self.bias_ih_G, self.bias_hh_G)
        )
        inner = {"h": x.new_zeros(len(x), self.units), "c": x.new_zeros(len(x), self.units)}
        for of_x in (x_NTI @ w_ih.t() + b_ih).unbind(1):
            inner = self._next(of_x, inner["h"] @ w_hh.t() + b_hh, inner)
            yield inner

    def _next(self, of_x: Tensor, of_h: Tensor, before: Inner) -> Inner:
        if self.kind == "gru":
            gates, units = (of_x + of_h)[:, : 2 * self.units], self.units
            r, z = torch.sigmoid(gates).chunk(2, 1)
            new = of_x[:, 2 * units :] + r * of_h[:, 2 * units :]
            n = torch.tanh(new)
            return {"gates": gates, "new": new, "h": n + z * (before["h"] - n)}
        if self.kind == "lstm":
            i, f, g, o = (of_x + of_h).chunk(4, 1)
            c = torch.sigmoid(f) * before["c"] + torch.sigmoid(i) * torch.tanh(g)
            return {"gates": torch.cat([i, f, o], 1), "new": g, "c": c, "h": torch.sigmoid(o) * torch.tanh(c)}
        new = of_x + of_h
        return {"new": new, "h": torch.tanh(new) if self.kind == "rnn_tanh" else torch.relu(new)}
