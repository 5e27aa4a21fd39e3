"""A recurrent layer that learns with its weights already rounded; legend: I inputs, H units, G rows of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from levsha.conversion.rounded import WEIGHT, floored, round_weights
from levsha.formats import Format
from levsha.lower import Node
from levsha.lower.calibrate import recurrent_scale
from levsha.lower.weights import Known


class CellLayer(nn.Module):
    """Both matrices in units of their rows, and both biases; what is inside, between two rows of the input, is not rounded here."""

    def __init__(self, node: Node, read: Known, weights: Format) -> None:
        super().__init__()
        cell = node.cell
        assert cell is not None
        self.node, self.cell, self.weights = node, cell, weights
        step_I = np.broadcast_to(read.step if np.size(read.step) == cell.inputs else 1.0, (cell.inputs,))
        self.column_I = nn.Buffer(torch.from_numpy(step_I / np.abs(step_I).max()).float())
        self.row_ih_G1, self.weight_ih_GI = self._in_rows(cell.weight_ih_GI.detach() * self.column_I)
        self.row_hh_G1, self.weight_hh_GH = self._in_rows(cell.weight_hh_GH.detach())
        self.bias_ih_G = nn.Parameter(cell.bias_ih_G.detach().float().clone())
        self.bias_hh_G = nn.Parameter(cell.bias_hh_G.detach().float().clone())

    def _in_rows(self, weight_GI: Tensor) -> tuple[nn.Buffer, nn.Parameter]:
        row_G1 = floored(weight_GI.double().abs().mean(1) / WEIGHT)[:, None]
        return nn.Buffer(row_G1.float()), nn.Parameter((weight_GI / row_G1).float())

    def extra_repr(self) -> str:
        return f"{self.node.name}, {self.node.kind}, {self.weights.name}"

    def _node(self, weight_ih_GI: Tensor, weight_hh_GH: Tensor) -> Node:
        """The node with these weights, in units of the rows."""
        weight_ih_GI, weight_hh_GH = weight_ih_GI * self.row_ih_G1 / self.column_I, weight_hh_GH * self.row_hh_G1
        cell = replace(
            self.cell, weight_ih_GI=weight_ih_GI, weight_hh_GH=weight_hh_GH, bias_ih_G=self.bias_ih_G, bias_hh_G=self.bias_hh_G
        )  # fmt: skip
        return replace(self.node, cell=cell)

    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        """Return what stands before the activation."""
        return self._rounded().before_activation(*x)

    def _rounded(self) -> Node:
        return self._node(*(round_weights(part, self.weights) for part in (self.weight_ih_GI, self.weight_hh_GH)))

    @torch.no_grad()
    def reach(self, x: Tensor) -> Mapping[str, tuple[float, float]]:
        """Return from where to where the values inside reach on inputs (N, ...), by name, as a Scale has it."""
        cell = self._rounded().cell
        assert cell is not None
        return recurrent_scale(cell, x, False).inner

    @torch.no_grad()
    def tuned(self) -> Node:
        """Return the node as it is now; its weights are not on their grid: `lower` puts them there as it was done here."""
        node = self._node(self.weight_ih_GI, self.weight_hh_GH)
        assert node.cell is not None
        cell = replace(node.cell, bias_ih_G=self.bias_ih_G.detach().clone(), bias_hh_G=self.bias_hh_G.detach().clone())
        return replace(node, cell=cell)
