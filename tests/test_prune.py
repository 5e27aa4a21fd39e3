"""Channels removed: the smaller net is the net with these channels at 0, whatever reads them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from levsha.capture.fold import INPUT, Folded, fold
from levsha.capture.torch_model import capture
from levsha.errors import LevshaError
from levsha.lower import Node, run_float
from levsha.lower.channels import Channels, channels_of
from levsha.lower.node import read_inputs
from levsha.lower.prune import prune, prune_share


class Net(nn.Module):
    """shape: of its input."""

    shape: tuple[int, ...] = ()


class Plain(Net):
    """A convolutional net as everybody writes it first."""

    shape = (2, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.fc1, self.fc2 = nn.Conv2d(6, 8, 3, stride=2), nn.Linear(72, 10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(F.relu(self.norm(self.conv1(x)))).sigmoid()
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Residual(Net):
    """Two blocks that are added to what they read, and a mean over all pixels."""

    shape = (1, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = (nn.Conv2d(c, o, 3, padding=1) for c, o in ((1, 5), (5, 7), (7, 5), (5, 5)))
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.b(F.relu(self.a(x))))
        x = F.max_pool2d(F.relu(x + self.c(x)), 2)
        return self.fc(x.mean((2, 3)))


class Separable(Net):
    """Depthwise and pointwise convolutions, two outputs a channel in the first, and a gate for each channel."""

    shape = (3, 9, 7)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.point, self.depth2 = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 6, 3, groups=6)
        self.gate, self.fc = nn.Linear(6, 6), nn.Linear(6 * 5 * 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.depth2(F.relu(self.point(F.relu6(self.depth(F.relu(self.stem(x))))))))
        gate = torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        return self.fc((x * gate).flatten(1))


class Branches(Net):
    """Branches behind one another, a slice of channels, a transpose, and a convolution in groups, which keeps all it reads."""

    shape = (2, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 4, 3), nn.Conv2d(2, 3, 3), nn.Conv2d(7, 6, 1)
        self.groups, self.d, self.fc = nn.Conv2d(6, 4, 1, groups=2), nn.Conv2d(4, 5, 3), nn.Linear(20 + 10, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1)
        y = self.d(self.groups(F.relu(self.c(both))))
        part = F.avg_pool2d(both[:, 2:7], 2).mean(3).flatten(1)
        return self.fc(torch.cat([y.transpose(1, 3).flatten(1), part], 1))


class Mlp(Net):
    """Linear layers over standardised readings."""

    shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x - 0.3) / 1.7)


NETS: list[type[Net]] = [Plain, Residual, Separable, Branches, Mlp]
FOLDED: dict[str, Folded] = {}


def folded_of(kind: type[Net]) -> Folded:
    """The nodes of a net with random weights, in double precision."""
    name = kind.__name__
    if name not in FOLDED:
        torch.manual_seed(3)
        net = kind().eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean, module.running_var = (
                    torch.randn_like(module.bias),
                    torch.rand_like(module.bias) + 0.3,
                )
        FOLDED[name] = fold(capture(net, torch.rand(2, *net.shape)))
    return FOLDED[name]


def run_masked(nodes: tuple[Node, ...], channels: Channels, removed: set[int], x: Tensor) -> Tensor:
    """What the whole net makes of x with these channels at 0 wherever they are made."""
    known = {INPUT: x}
    for node in nodes:
        h = node.activate(node.before_activation(*read_inputs(node, known)))
        there = ~np.isin(channels.labels[node.output], sorted(removed))
        known[node.output] = torch.where(torch.from_numpy(there), h, 0.0)
    return known[nodes[-1].output]


def inputs_of(folded: Folded, rows: int = 3) -> Tensor:
    return folded.laid(torch.from_numpy(np.random.default_rng(2).normal(size=(rows, *folded.shape))))


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_pruned_net_is_the_net_with_channels_at_zero(kind: type[Net], data: st.DataObject) -> None:
    folded = folded_of(kind)
    x = inputs_of(folded)
    channels = channels_of(folded.nodes, {INPUT: tuple(x.shape[1:])}, tuple(folded.outputs))
    assert channels.families
    removed: set[int] = set()
    for family in channels.families:
        removed |= data.draw(st.sets(st.sampled_from(family), max_size=len(family) - 1))
    for label in channels.labels.values():
        removed -= {int(label.max())} if set(np.unique(label).tolist()) <= removed else set()
    pruned = prune(folded.nodes, channels, removed)
    got = run_float(pruned.nodes, {INPUT: x})[pruned.nodes[-1].output].h
    want = run_masked(folded.nodes, channels, removed, x)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
def test_half_the_channels(kind: type[Net]) -> None:
    folded = folded_of(kind)
    x = inputs_of(folded, 20)
    traces = run_float(folded.nodes, {INPUT: x})
    pruned = prune_share(folded.nodes, {INPUT: x}, traces, tuple(folded.outputs), 0.5)
    whole, left = (weights_of(nodes) for nodes in (folded.nodes, pruned.nodes))
    assert left < 0.75 * whole
    assert pruned.nodes[-1].shape == folded.nodes[-1].shape
    for node, before in zip(pruned.nodes, folded.nodes, strict=True):
        assert pruned.trace(node, traces[before.output]).h.shape[1:] == node.shape


def weights_of(nodes: tuple[Node, ...]) -> int:
    return sum(node.weight_OI.numel() for node in nodes if node.weight_OI is not None)


def test_all_kept_is_the_same_net() -> None:
    folded = folded_of(Residual)
    x = inputs_of(folded)
    traces = run_float(folded.nodes, {INPUT: x})
    pruned = prune_share(folded.nodes, {INPUT: x}, traces, tuple(folded.outputs), 1.0)
    got = run_float(pruned.nodes, {INPUT: x})
    assert all(torch.equal(got[name].h, trace.h) for name, trace in traces.items())


def test_what_is_added_goes_together() -> None:
    folded = folded_of(Residual)
    channels = channels_of(folded.nodes, {INPUT: (6, 6, 1)}, tuple(folded.outputs))
    assert sorted(map(len, channels.families)) == [5, 7]


def test_channels_nobody_reads_go_first() -> None:
    net = Mlp().eval()
    with torch.no_grad():
        net.layers[3].weight[:, [1, 4, 5, 8]] = 0.0  # pyright: ignore[reportIndexIssue, reportOptionalSubscript]
    folded = fold(capture(net, torch.rand(2, 6)))
    x = inputs_of(folded, 50)
    traces = run_float(folded.nodes, {INPUT: x})
    pruned = prune_share(folded.nodes, {INPUT: x}, traces, tuple(folded.outputs), 5 / 9)
    first = next(node for node in folded.nodes if node.kind == "linear")
    assert np.flatnonzero(pruned.kept[first.output]).tolist() == [0, 2, 3, 6, 7]


def test_nothing_to_remove() -> None:
    folded = fold(capture(nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 4)))
    x = inputs_of(folded)
    traces = run_float(folded.nodes, {INPUT: x})
    with pytest.raises(LevshaError, match="no channel of this net can be removed"):
        prune_share(folded.nodes, {INPUT: x}, traces, tuple(folded.outputs), 0.5)
    with pytest.raises(LevshaError, match=r"keep: is 1.5; give the share .* above 0 and up to 1"):
        prune_share(folded.nodes, {INPUT: x}, traces, tuple(folded.outputs), 1.5)
