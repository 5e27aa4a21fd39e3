"""Recurrent layers: what torch computes in floats, and as good in integers, bit for bit on every target."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from levsha import convert, fine_tune
from levsha.capture.call import run_calls
from levsha.capture.fold import INPUT, fold
from levsha.conversion.captured import capture_all
from levsha.conversion.measure import goal_of
from levsha.conversion.opening import open_model
from levsha.conversion.sensitivity import sensitivity
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.lower import Node, Options, Source, lower, run_float
from levsha.lower.cell import GATES, Cell
from levsha.lower.weights import Known
from levsha.net import Net
from levsha.ops import Dense, Scan
from levsha.targets import TARGETS

pytestmark = pytest.mark.filterwarnings("ignore:The tensor attributes")
ROWS, INPUTS, UNITS = 7, 3, 5
Forward = Callable[[Any, Tensor], Tensor]


class Model(nn.Module):
    """Recurrent layers and whatever is made of them."""

    def __init__(self, layers: nn.Module, forward: Forward, heads: int | None = None, outputs: int = 2) -> None:
        super().__init__()
        self.layers, self.made = layers, forward
        self.head = nn.Linear(heads or UNITS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.made(self, x)


def rows(count: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, ROWS, INPUTS)).astype(np.float32)


def last_row(model: Any, x: Tensor) -> Tensor:
    return model.head(model.layers(x)[0][:, -1])


LAYERS = {
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru without biases": (nn.GRU, {"bias": False}),
    "gru both ways": (nn.GRU, {"bidirectional": True}),
    "two layers of gru": (nn.GRU, {"num_layers": 2}),
    "lstm both ways": (nn.LSTM, {"bidirectional": True}),
    "two layers of gru both ways": (nn.GRU, {"num_layers": 2, "bidirectional": True}),
}


def layers_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    kind, more = LAYERS[name]
    return kind(INPUTS, UNITS, batch_first=True, **more)


@pytest.mark.parametrize("name", LAYERS)
def test_floats_are_those_of_torch(name: str) -> None:
    layers, x = layers_of(name).eval(), rows()
    model = Model(layers, lambda m, x: m.layers(x)[0]).eval()
    opened = open_model(model, x, None)
    folded = fold(opened.program)
    want = opened.reference(x)[0]
    known = run_calls(opened.program, {"x": torch.from_numpy(x)})
    np.testing.assert_allclose(known[opened.program.outputs[0]].numpy(), want, atol=1e-5)
    traces = run_float(folded.nodes, {INPUT: folded.laid(torch.from_numpy(x))})
    np.testing.assert_allclose(traces["output"].h.reshape(want.shape).numpy(), want, atol=1e-5)


def nodes_of(model: nn.Module, x: np.ndarray) -> tuple[Node, ...]:
    """The nodes of a model, whose meaning in floats is its own."""
    opened = open_model(model.eval(), x, None)
    folded = fold(opened.program)
    traces = run_float(folded.nodes, {INPUT: folded.laid(torch.from_numpy(x))})
    want = opened.reference(x)[0]
    np.testing.assert_allclose(traces["output"].h.reshape(want.shape).numpy(), want, atol=1e-5)
    return folded.nodes


ENDS: dict[str, Forward] = {
    "the last row": last_row,
    "the last row, kept as one": lambda m, x: m.head(m.layers(x)[0][:, -1:].flatten(1)),
    "h": lambda m, x: m.head(m.layers(x)[1][-1]),
    "h, squeezed": lambda m, x: m.head(m.layers(x)[1].squeeze(0)),
    "h, transposed": lambda m, x: m.head(m.layers(x)[1].transpose(0, 1).flatten(1)),
    "h, unbound": lambda m, x: m.head(m.layers(x)[1].unbind(0)[0]),
    "h behind an activation": lambda m, x: m.head(torch.relu(m.layers(x)[1][-1])),
}


@pytest.mark.parametrize("end", ENDS)
def test_only_the_last_state_is_kept_where_nobody_reads_the_others(end: str) -> None:
    node = nodes_of(Model(layers_of("gru"), ENDS[end]), rows())[0]
    assert node.kind == "recurrent" and node.shape == (UNITS,)


def test_both_directions_end_where_each_has_read_everything() -> None:
    both = layers_of("lstm both ways")
    model = Model(both, lambda m, x: m.head(torch.cat([m.layers(x)[1][0][-2], m.layers(x)[1][0][-1]], 1)), 2 * UNITS)
    assert [node.shape for node in nodes_of(model, rows()) if node.kind == "recurrent"] == [(UNITS,), (UNITS,)]


def test_the_last_row_of_both_directions_is_all_that_the_first_and_the_first_that_the_second_reads() -> None:
    nodes = nodes_of(Model(layers_of("lstm both ways"), last_row, 2 * UNITS), rows())
    cells = [node.cell for node in nodes if node.cell is not None]
    assert sorted((layer.rows, layer.last) for layer in cells) == [(1, True), (ROWS, True)]


def test_rows_behind_the_last_that_is_read_are_left_out() -> None:
    model = Model(layers_of("gru"), lambda m, x: m.head(m.layers(x)[0][:, 1:4].mean(1)))
    (layer,) = (node.cell for node in nodes_of(model, rows()) if node.cell is not None)
    assert (layer.rows, layer.last) == (4, False)


def test_last_states_of_two_layers_both_ways_by_layer_and_direction() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.layers(x)[1].view(2, 2, -1, UNITS)
        return m.head(torch.cat([h[-1, 0], h[-1, 1]], -1))

    nodes_of(Model(layers_of("two layers of gru both ways"), forward, 2 * UNITS), rows())


REFUSED: list[tuple[str, Forward, str]] = [
    ("gru", lambda m, x: m.head(torch.tanh(m.layers(x)[1])[-1]), "tanh of the last states of all layers; take one layer's first"),
    ("lstm", lambda m, x: m.head(m.layers(x)[1][1][-1]), "the last c of an LSTM; use its h"),
    ("gru", lambda m, x: m.head(m.layers(x, x[:, :1, :1].transpose(0, 1).expand(1, -1, UNITS).contiguous())[0][:, -1]), "GRU that starts from computed states"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "forward", "message"), REFUSED)
def test_what_is_made_of_states_and_has_no_form(name: str, forward: Forward, message: str) -> None:
    with pytest.raises(LevshaError, match=message):
        open_model(Model(layers_of(name), forward).eval(), rows(), None)


def test_rows_that_are_not_the_first_axis_of_the_data_are_refused() -> None:
    with pytest.raises(LevshaError, match=r"LSTM with the batch in axis 1; use batch_first=True"):
        open_model(Model(nn.LSTM(INPUTS, UNITS), lambda m, x: m.layers(x)[0]).eval(), rows(), None)


def tuned(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy waves of one of four frequencies, as sine and cosine beside noise: which one?"""
    rng = np.random.default_rng(seed)
    which, phase, t = rng.integers(0, 4, count), rng.uniform(0, 6.3, count), np.arange(20)
    angle = phase[:, None] + t * (0.25 + 0.15 * which[:, None])
    x = np.stack([np.sin(angle), 3 * np.cos(angle), 0 * angle], 2) + rng.normal(0, 0.3, (count, 20, 3))
    return x.astype(np.float32), which


def weighted(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the readings that a flag marks."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.normal(0, 1, (count, 20)), rng.random((count, 20)) < 0.15], 2)
    return x.astype(np.float32), (x[:, :, 0] * x[:, :, 1]).sum(1, keepdims=True).astype(np.float32)


def trained(layers: nn.Module, x: np.ndarray, y: np.ndarray, heads: int, steps: int) -> nn.Module:
    torch.manual_seed(0)
    classes = y.dtype.kind == "i"
    model = Model(layers, last_row, heads, 4 if classes else 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    inputs, wanted = torch.from_numpy(x), torch.from_numpy(y)
    for step in range(steps):
        some = torch.arange(step * 128, (step + 1) * 128) % len(inputs)
        out = model(inputs[some])
        loss = F.cross_entropy(out, wanted[some]) if classes else F.mse_loss(out, wanted[some])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


TRAINED: dict[str, tuple[Callable[[], nn.Module], Callable[[int, int], tuple[np.ndarray, np.ndarray]], int]] = {
    "gru tells frequencies": (lambda: nn.GRU(3, 8, batch_first=True), tuned, 8),
    "lstm tells frequencies": (lambda: nn.LSTM(3, 12, batch_first=True), tuned, 12),
    "gru both ways tells frequencies": (lambda: nn.GRU(3, 8, batch_first=True, bidirectional=True), tuned, 16),
    "gru adds": (lambda: nn.GRU(2, 12, batch_first=True), weighted, 12),
    "lstm adds": (lambda: nn.LSTM(2, 8, batch_first=True), weighted, 8),
    "tanh tells frequencies": (lambda: nn.RNN(3, 12, batch_first=True), tuned, 12),
}
NETS: dict[str, tuple[Net, np.ndarray]] = {}


def net_of(name: str) -> tuple[Net, np.ndarray]:
    """A trained net in integers, and data that it was not calibrated on; trained once."""
    if name not in NETS:
        make, data, heads = TRAINED[name]
        torch.manual_seed(2)
        (x, y), test = data(2000, 0), data(2000, 1)
        model = trained(make(), x, y, heads, 120)
        NETS[name] = convert(model, x, y, test=test), test[0]
    return NETS[name]


@pytest.mark.parametrize("name", TRAINED)
def test_as_good_in_integers(name: str) -> None:
    about = net_of(name)[0].about
    if "accuracy" in about["float"]:
        assert about["float"]["accuracy"] > 60
        assert about["integer"]["accuracy"] > about["float"]["accuracy"] - 0.5
    else:
        assert about["float"]["r2"] > 0.8
        assert about["integer"]["r2"] > about["float"]["r2"] - 0.01


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
@pytest.mark.parametrize("name", TRAINED)
def test_every_target_computes_what_the_interpreter_computes(name: str, target, tmp_path: Path, need) -> None:
    need(target)
    graph = net_of(name)[0].graph
    (value,) = graph.inputs.values()
    rng = np.random.default_rng(0)
    x = rng.integers(value.lows, value.highs, (12, *value.shape), endpoint=True)
    x[0], x[1] = value.lows, value.highs
    assert compare(graph, target.run(graph, {INPUT: x}, tmp_path)).mismatches == 0


# ---------------------------------------------------------------- layers that nobody trained


def cell(kind: str, last: bool = True, seed: int = 0, inputs: int = INPUTS) -> Cell:
    torch.manual_seed(seed)
    gates = GATES[kind] * UNITS
    shapes = ((gates, inputs), (gates, UNITS), (gates,), (gates,))
    return Cell(kind, ROWS, last, *(torch.randn(shape) * 0.6 for shape in shapes))


def lowered(cell: Cell, source: Source, x: np.ndarray, head: bool = False) -> tuple[Graph, Known]:
    """A layer alone, or before a linear one, so that it keeps 8 bits; and what its integers stand for."""
    nothing: dict[str, Any] = {"factor_O": np.ones(1), "offset_O": np.zeros(1)}
    nodes = [Node("cell", "recurrent", ("x",), "states", shape=cell.shape, cell=cell, **nothing)]
    if head:
        size = int(np.prod(cell.shape))
        more: dict[str, Any] = {"factor_O": np.ones(2), "offset_O": np.zeros(2), "weight_OI": torch.randn(2, size)}
        nodes.append(Node("head", "linear", ("states",), "out", **more))
    made = lower(nodes, {"x": source}, {"x": torch.from_numpy(x)}, Options(), outputs=("states",))
    return made.graph, made.known["states"]


def real_states(graph: Graph, known: Known, source: Source, x: np.ndarray) -> np.ndarray:
    integers = np.rint((x - source.zero) / source.step).astype(np.int64).clip(source.value.lows, source.value.highs)
    return interpret(graph, {"x": integers})["states"] * known.step


@pytest.mark.parametrize("head", [False, True], ids=["read as it is", "read in 8 bits"])
@pytest.mark.parametrize("last", [True, False], ids=["the last state", "every state"])
@pytest.mark.parametrize("kind", GATES)
def test_integers_are_near_the_floats(kind: str, last: bool, head: bool) -> None:
    layer, x = cell(kind, last), rows(200).astype(np.float64)
    source = Source(Value((ROWS, INPUTS), -2000, 2000), 0.002)
    graph, known = lowered(layer, source, x, head)
    want = layer.run(torch.from_numpy(x)).numpy()
    got = real_states(graph, known, source, x)
    assert (known.value.hi > 255) != head
    assert np.abs(got - want).mean() < 0.012 * np.abs(want).max()


@pytest.mark.parametrize("kind", GATES)
def test_inputs_with_steps_and_zeros_of_their_own(kind: str) -> None:
    layer = cell(kind)
    spread, middle = np.array([1.0, 100.0, 0.01]), np.array([5.0, -300.0, 0.0])
    layer = replace(
        layer,
        weight_ih_GI=layer.weight_ih_GI.double() / torch.from_numpy(spread),
        bias_ih_G=layer.bias_ih_G.double() - layer.weight_ih_GI.double() @ torch.from_numpy(middle / spread),
    )
    x = rows(200) * spread + middle
    step, zero = 6 * spread / 255, middle - 3 * spread
    source = Source(Value((ROWS, INPUTS), 0, 255), step, zero)
    graph, known = lowered(layer, source, x)
    want = layer.run(torch.from_numpy(x)).numpy()
    assert np.abs(real_states(graph, known, source, x) - want).mean() < 0.02 * np.abs(want).max()


def test_inputs_with_steps_by_row_are_made_alike_first() -> None:
    layer, x = cell("gru"), rows(200).astype(np.float64)
    step = np.linspace(0.02, 0.03, ROWS * INPUTS).reshape(ROWS, INPUTS)
    source = Source(Value((ROWS, INPUTS), -127, 127), step)
    graph, known = lowered(layer, source, x)
    want = layer.run(torch.from_numpy(x)).numpy()
    assert [type(op).__name__ for op in graph.ops] == ["Requantize", "Scan"]
    assert np.abs(real_states(graph, known, source, x) - want).mean() < 0.02


def test_rows_that_lie_in_another_shape() -> None:
    layer, x = cell("lstm"), rows(100).astype(np.float64)
    source = Source(Value((1, ROWS, INPUTS), -2000, 2000), 0.002)
    graph, known = lowered(layer, source, x.reshape(-1, 1, ROWS, INPUTS))
    want = layer.run(torch.from_numpy(x)).numpy()
    assert np.abs(real_states(graph, known, source, x[:, None]) - want).mean() < 0.012


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_state_that_is_to_be_kept_is_kept_bit_for_bit(kind: str) -> None:
    """The first row sets the state, then the gate that keeps it is open wide: after a thousand rows it is what it was."""
    layer = cell(kind)
    for part in (layer.weight_ih_GI, layer.weight_hh_GH, layer.bias_ih_G, layer.bias_hh_G):
        part.zero_()
    size, far = UNITS, 40.0
    if kind == "gru":
        layer.weight_ih_GI[size : 2 * size, 0] = -far
        layer.bias_ih_G[size : 2 * size] = far / 2
        layer.weight_ih_GI[2 * size :, 1] = torch.linspace(-1, 1, size)
    else:
        layer.weight_ih_GI[:size, 0], layer.bias_ih_G[:size] = far, -far / 2
        layer.weight_ih_GI[size : 2 * size, 0], layer.bias_ih_G[size : 2 * size] = -far, far / 2
        layer.weight_ih_GI[2 * size : 3 * size, 1] = torch.linspace(-1, 1, size)
        layer.bias_ih_G[3 * size :] = far
    states = {}
    for count in (2, 1000):
        x = np.zeros((1, count, INPUTS))
        x[0, 0] = 1, 1, 0
        long = replace(layer, rows=count)
        source = Source(Value((count, INPUTS), -100, 100), 0.01)
        graph, known = lowered(long, source, x)
        states[count] = real_states(graph, known, source, x)
        want = long.run(torch.from_numpy(x)).numpy()
        assert np.abs(states[count] - want).max() < 0.02
    np.testing.assert_array_equal(states[2], states[1000])


def test_a_recurrent_layer_is_one_op() -> None:
    ops = net_of("gru tells frequencies")[0].graph.ops
    assert [type(op).__name__ for op in ops] == ["Scan", "Dense", "Requantize"]
    assert isinstance(ops[0], Scan) and ops[0].last


@pytest.mark.parametrize("weights", ["int4", "two_bit", "ternary", "binary"])
def test_every_format_of_weights(weights: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = convert(Model(layers_of("lstm"), last_row), rows(64), weights=weights)
    scan = next(op for op in net.graph.ops if isinstance(op, Scan))
    assert {op.format.name for op in scan.body.ops if isinstance(op, Dense)} == {weights}


def test_batch_norm_behind_states_and_states_behind_a_convolution() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.layers = nn.Conv1d(INPUTS, 4, 3, padding=1), nn.GRU(4, UNITS, batch_first=True)
            self.norm, self.head = nn.BatchNorm1d(UNITS), nn.Linear(UNITS, 2)
            self.norm.load_state_dict(
                {
                    **self.norm.state_dict(),
                    "running_mean": 0.2 * torch.randn(UNITS),
                    "running_var": 0.05 + 0.3 * torch.rand(UNITS),
                }
            )

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
            return self.head(self.norm(self.layers(y)[0][:, -1]))

    torch.manual_seed(3)
    model, x = Mixed().eval(), rows(300)
    assert [node.kind for node in nodes_of(model, x)] == ["conv", "recurrent", "alias", "linear"]
    assert convert(model, x).about["integer"]["r2"] > 0.99


def test_what_is_trained_on_holds_recurrent_layers_still() -> None:
    """Gains and offsets of its head are set anew; values one behind the other keep the steps that the integers have."""
    torch.manual_seed(4)
    model, x = Model(layers_of("gru both ways"), last_row, 2 * UNITS).eval(), rows(400)
    about = fine_tune(model, x, weights="int8", epochs=0).about
    assert about["integer"]["r2"] > 0.99


def test_what_each_format_costs_a_recurrent_layer() -> None:
    model, x = Model(layers_of("lstm"), last_row).eval(), rows(64)
    captured = capture_all(open_model(model, x, None), x, x, (), (), False)
    found = sensitivity(captured, x, goal_of(None, captured.float_outputs(x), "it"))
    assert [row["weights"] for row in found] == [4 * UNITS * (INPUTS + UNITS), 2 * UNITS]
    assert found[0]["formats"]["int8"]["error_rms"] < found[0]["formats"]["ternary"]["error_rms"]
