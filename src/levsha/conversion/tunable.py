"""A net of nodes as a module that learns with weights and activations already rounded, as its integers will have them.

Legend: N examples, O outputs, I inputs, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from levsha.capture.fold import INPUT
from levsha.conversion.rounded import WEIGHT, Finish, Grid, floored, in_cells, round_weights, to_grid
from levsha.conversion.tunable_cell import CellLayer
from levsha.formats import Format
from levsha.lower import Node, Pins, Scale, Source
from levsha.lower.node import MEANINGS, Trace
from levsha.lower.weights import Known, Weights, columns_of

LEARNS = ("linear", "conv")


class Norm(nn.modules.batchnorm._BatchNorm):
    """Mean and variance of a layer's sums: of the batch while it learns, and running ones."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs, affine=False)

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def scaled(self, sums: Tensor, gain_O: Tensor, offset_O: Tensor) -> Tensor:
        """Return gain * (sums - mean) / deviation + offset of sums (N, *shape), channels last."""
        mean_O, variance_O = self.running_mean, self.running_var
        y = F.batch_norm(sums.movedim(-1, 1), mean_O, variance_O, gain_O, offset_O, self.training, eps=self.eps)
        return y.movedim(1, -1)

    @property
    def deviation_O(self) -> Tensor:
        """The running deviation of each channel."""
        assert self.running_var is not None
        return (self.running_var + self.eps).sqrt()


class Layer(nn.Module):
    """A linear layer or a convolution that learns: its weights in units of their row, a gain and an offset of each channel.

    z = gain * row * sums + unit * offset: whatever the net's numbers are, what is trained is of about one size. normal: the sums are first
    brought to mean 0 and deviation 1, of each batch (Ioffe, Szegedy, 2015), and the gain counts in `unit`: weights of few bits jump, and
    what follows hardly notices.
    """

    def __init__(
        self, node: Node, known: Mapping[str, Known], weights: Format, z: Tensor, chosen: Weights, normal: bool = False
    ) -> None:
        """known: what the node reads. z: what it should make of data before its activation. chosen: the integers to start from."""
        super().__init__()
        assert node.weight_OI is not None
        self.node, self.weights = node, weights
        column = columns_of(node, known)[1]
        self.column = None if column is None else nn.Buffer(torch.from_numpy(column).float())
        outputs = len(node.weight_OI)
        real_OI = node.weight_OI.detach().double()
        real_OI = real_OI * torch.from_numpy(np.broadcast_to(node.factor_O, (outputs,)).copy())[:, None]
        in_steps_OI = real_OI if self.column is None else real_OI * self.column
        row_O = floored(in_steps_OI.abs().mean(1) / WEIGHT)
        unit_O = floored(z.double().reshape(-1, outputs).std(0))
        offset_O = torch.from_numpy(np.broadcast_to(node.offset_O, (outputs,)).copy())
        self.row_O, self.unit_O = nn.Buffer(row_O.float()), nn.Buffer(unit_O.float())
        factor_O = torch.from_numpy(np.broadcast_to(node.factor_O, (outputs,)).copy())
        sign_OI = torch.where(factor_O < 0, -1, 1)[:, None]
        integers_OI = torch.from_numpy(chosen.integers_OI)
        scale_O1 = sign_OI * floored((torch.from_numpy(chosen.scale_O) * factor_O / row_O).abs())[:, None]
        weight_OI, ratio_O1 = in_cells(in_steps_OI / row_O[:, None], weights, integers_OI, scale_O1)
        self.weight_OI, self.ratio_O1 = nn.Parameter(weight_OI.float()), nn.Buffer(ratio_O1.float())
        self.gain_O = nn.Parameter(torch.ones(outputs))
        self.offset_O = nn.Parameter((offset_O / unit_O).float())
        self.norm = Norm(outputs) if normal else None

    def extra_repr(self) -> str:
        return f"{self.node.name}, {self.node.kind}, {self.weights.name}"

    def integers(self) -> tuple[Tensor, Tensor]:
        """Return the weights' integers (O, I) and their scale (O, 1), as the integer net will have them."""
        return to_grid(self.weight_OI, self.weights, self.ratio_O1)

    def sums(self, x: tuple[Tensor, ...], factor_O: Tensor, offset_O: Tensor | None = None) -> Tensor:
        """Return the sums (N, *shape) of rounded weights, in units of the rows, times a factor, and an offset; the gradient is that of no
        rounding."""
        weight_OI = round_weights(self.weight_OI, self.weights, self.ratio_O1)
        if self.column is not None:
            weight_OI = weight_OI / self.column
        node = replace(self.node, weight_OI=weight_OI * factor_O[:, None])
        return MEANINGS[node.kind](node, *x, bias_O=offset_O)

    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        """Return what stands before the activation."""
        if self.norm is not None:
            return self.norm.scaled(self.sums(x, self.row_O), self.gain_O * self.unit_O, self.offset_O * self.unit_O)
        return self.sums(x, self.gain_O * self.row_O, self.offset_O * self.unit_O)

    def _affine(self) -> tuple[Tensor, Tensor]:
        """What the sums are multiplied by, and what is added, float64 (O,) each."""
        gain_O, offset_O = self.gain_O.double(), self.offset_O.double() * self.unit_O
        if self.norm is not None:
            assert self.norm.running_mean is not None
            gain_O = gain_O * self.unit_O / self.norm.deviation_O.double()
            offset_O = offset_O - gain_O * self.norm.running_mean.double()
        return gain_O * self.row_O, offset_O

    @torch.no_grad()
    def adjust(self, x: tuple[Tensor, ...], wanted: Tensor) -> None:
        """Set gain and offset of each channel to what comes nearest, in the least squares, to the wanted z (N, *shape) on data."""
        outputs = len(self.gain_O)
        sums_NO = self.sums(x, self.row_O).reshape(-1, outputs).double()
        wanted_NO = wanted.reshape(-1, outputs).double()
        mean_O, goal_O = sums_NO.mean(0), wanted_NO.mean(0)
        variance_O = ((sums_NO - mean_O) ** 2).mean(0)
        shared_O = ((sums_NO - mean_O) * (wanted_NO - goal_O)).mean(0)
        gain_O = torch.where(variance_O > 0, shared_O / variance_O.clamp_min(1e-30), torch.ones_like(mean_O))
        if self.norm is not None:
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            self.norm.running_mean.copy_(mean_O)
            self.norm.running_var.copy_(variance_O)
            gain_O, mean_O = gain_O * self.norm.deviation_O / self.unit_O, torch.zeros_like(mean_O)
        self.gain_O.copy_(gain_O)
        self.offset_O.copy_((goal_O - gain_O * mean_O) / self.unit_O)

    @torch.no_grad()
    def tuned(self) -> tuple[Node, tuple[np.ndarray, np.ndarray]]:
        """Return the node with its weights on their grid, and how to pin them: integers (O, I) and scale (O,)."""
        integers_OI, scale_O1 = self.integers()
        real_OI = (integers_OI * scale_O1).double()
        if self.column is not None:
            real_OI = real_OI / self.column.double()
        factor_O, offset_O = self._affine()
        node = replace(self.node, weight_OI=real_OI, factor_O=factor_O.numpy(), offset_O=offset_O.numpy())
        return node, (integers_OI.numpy().astype(np.int64), scale_O1[:, 0].double().numpy())


class Other(nn.Module):
    """A node that does not learn."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def extra_repr(self) -> str:
        return f"{self.node.name}, {self.node.kind}"

    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        """Return what stands before the activation."""
        return self.node.before_activation(*x)


@dataclass(frozen=True, eq=False)
class Start:
    """What a tunable net is made of. lay: real inputs as they lie in memory. traces: what its nodes should make of data. scales: what the
    integers of values stand for that other nodes read. known: the same of every value. weights: of each layer by name, to start from. format_of: of a layer's
    weights, by its name. normal: whether the sums of layers that others read are normalised while they learn."""

    nodes: Sequence[Node]
    source: Source
    lay: Callable[[Tensor], Tensor]
    outputs: Sequence[str]
    traces: Mapping[str, Trace]
    scales: Mapping[str, Scale]
    known: Mapping[str, Known]
    weights: Mapping[str, Weights]
    format_of: Callable[[str], Format]
    normal: bool = False


def _layer_of(node: Node, start: Start) -> nn.Module:
    if node.kind in LEARNS:
        weights = start.weights[node.name]
        normal = start.normal and node.output in start.scales
        return Layer(node, start.known, start.format_of(node.name), start.traces[node.output].z, weights, normal)
    if node.cell is not None:
        return CellLayer(node, start.known[node.inputs[0]], start.format_of(node.name))
    return Other(node)


def _scale(start: Start, node: Node) -> Scale | None:
    """The scale of a value; values one behind the other may have kept their own steps."""
    scale = start.scales.get(node.output)
    if scale is None or node.kind != "concat":
        return scale
    known = start.known[node.output]
    return replace(scale, step=known.step, zero=known.zero, lo=known.value.lo, hi=known.value.hi)


class Tunable(nn.Module):
    """A net whose float meaning is that of its integers, up to the rounding of multipliers: real inputs (N, *shape) -> outputs (N, O)."""

    def __init__(self, start: Start, unit_O: np.ndarray) -> None:
        super().__init__()
        value = start.source.value
        self.start = replace(start, traces={})  # they are large
        self.input = Grid(value.shape, start.source.step, start.source.zero, value.lo, value.hi)
        self.layers = nn.ModuleList(_layer_of(node, start) for node in start.nodes)
        self.finishes = nn.ModuleList(Finish(node, _scale(start, node)) for node in start.nodes)
        self.unit_O = nn.Buffer(torch.from_numpy(np.array(unit_O, np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (N, O), one behind the other, in units of `unit_O`."""
        known = self.values(x)
        return torch.cat([known[name].flatten(1) for name in self.start.outputs], 1) / self.unit_O

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Return every value (N, *shape) by name."""
        known = {INPUT: self.input(self.start.lay(x))}
        for node, layer, finish in zip(self.start.nodes, self.layers, self.finishes, strict=True):
            known[node.output] = finish(layer(tuple(known[name] for name in node.inputs)))
        return known

    @torch.no_grad()
    def adjust(self, x: Tensor, traces: Mapping[str, Trace]) -> None:
        """Set every layer's gains and offsets, one layer after the other, so that data x (N, *shape) makes what comes nearest to `traces`."""
        known = {INPUT: self.input(self.start.lay(x))}
        for node, layer, finish in zip(self.start.nodes, self.layers, self.finishes, strict=True):
            read = tuple(known[name] for name in node.inputs)
            if isinstance(layer, Layer):
                layer.adjust(read, traces[node.output].z)
            known[node.output] = finish(layer(read))

    @torch.no_grad()
    def tuned(self, x: Tensor) -> tuple[tuple[Node, ...], Pins]:
        """Return the nodes as they are now, and what `lower` must know so that the integers are those that were trained; x: data (N, *shape)."""
        nodes: list[Node] = []
        weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        columns: dict[str, np.ndarray] = {}
        scales = dict(self.start.scales)
        values = self.values(x) if any(isinstance(layer, CellLayer) for layer in self.layers) else {}
        for node, layer in zip(self.start.nodes, self.layers, strict=True):
            tuned = node
            if isinstance(layer, Layer):
                tuned, weights[node.name] = layer.tuned()
                columns |= {} if layer.column is None else {node.name: layer.column.double().numpy()}
            elif isinstance(layer, CellLayer):
                tuned, scale = layer.tuned(), scales.get(node.output)
                if scale is not None:  # how far the inside reaches has changed with the weights
                    scales[node.output] = replace(scale, inner=layer.reach(values[node.inputs[0]]))
            nodes.append(tuned)
        return tuple(nodes), Pins(scales=scales, weights=weights, columns=columns)
