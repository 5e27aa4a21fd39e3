"""Layer normalisation: what torch computes in floats, and as good in integers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from levsha import convert
from levsha.capture.fold import INPUT, fold
from levsha.conversion.opening import open_model
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.ir import Graph, Value
from levsha.lower import Node, run_float
from levsha.ops import LayerNorm
from levsha.targets import TARGETS


def weighted(norm: nn.LayerNorm) -> nn.LayerNorm:
    """Weights and biases that are not 1 and 0."""
    shape = norm.normalized_shape
    norm.load_state_dict({"weight": 0.5 + torch.rand(shape), "bias": 0.3 * torch.randn(shape)})
    return norm


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 16), weighted(nn.LayerNorm(16)), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x))))


class Sequence(Features):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.norm(self.first(x))).mean(1))


class Residual(Features):
    """A normalised sum, which is added again."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(self.norm(y + torch.relu(y)) + y)


class Image(nn.Module):
    """Over channels, rows and columns, which lie in another order in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(2, 4, 3), weighted(nn.LayerNorm([4, 4, 5])), nn.Linear(80, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x))).flatten(1))


class Inputs(nn.Module):
    """Readings, normalised as they come in, each with a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(x))


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "features": (Features, (6,)),
    "each row of a sequence": (Sequence, (9, 6)),
    "a residual sum": (Residual, (6,)),
    "a whole image": (Image, (2, 6, 7)),
    "inputs with steps of their own": (Inputs, (6,)),
}


def data(shape: tuple[int, ...], count: int = 300) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 1.0, (count, *shape)).astype(np.float32)


def model_of(name: str) -> tuple[nn.Module, np.ndarray]:
    make, shape = MODELS[name]
    torch.manual_seed(0)
    return make().eval(), data(shape)


@pytest.mark.parametrize("name", MODELS)
def test_floats_are_those_of_torch(name: str) -> None:
    model, x = model_of(name)
    opened = open_model(model, x, None)
    folded = fold(opened.program)
    got = run_float(folded.nodes, {INPUT: folded.laid(torch.from_numpy(x))})["output"].h
    np.testing.assert_allclose(got.reshape(len(x), -1).numpy(), opened.reference(x)[0], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_as_good_in_integers(name: str) -> None:
    model, x = model_of(name)
    about = convert(model, x).about
    assert about["integer"]["r2"] > 0.995 and not about["findings"]


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_target_computes_what_the_interpreter_computes(target, tmp_path: Path, need) -> None:
    need(target)
    graph = convert(*model_of("each row of a sequence")).graph
    (value,) = graph.inputs.values()
    x = np.random.default_rng(0).integers(value.lows, value.highs, (12, *value.shape), endpoint=True)
    x[0], x[1] = value.lows, value.highs
    assert compare(graph, target.run(graph, {INPUT: x}, tmp_path)).mismatches == 0


def test_weights_of_a_normalisation_and_what_follows_join_it() -> None:
    class Scaled(Features):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.sigmoid(3 * self.norm(self.first(x)) - 1))

    torch.manual_seed(0)
    folded = fold(open_model(Scaled().eval(), data((6,)), None).program)
    assert [node.kind for node in folded.nodes] == ["linear", "layer_norm", "linear"]


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    size, seed = draw(st.integers(1, 40)), draw(st.integers(0, 1000))
    most = draw(st.sampled_from([1, 9, 127, 2000]))
    rng = np.random.default_rng(seed)
    x = rng.integers(-most, most, (4, size), endpoint=True)
    x[0] = most
    return x, most


@given(rows())
@settings(max_examples=60, deadline=None)
def test_it_is_what_it_says_to_15_bits(case: tuple[np.ndarray, int]) -> None:
    x, most = case
    size = x.shape[1]
    bits = next(bits for bits in range(8, -1, -1) if (2 * most + 1) << bits <= 32_000)
    op = LayerNorm(name="y", inputs=("x",), size=size, epsilon=size, bits=bits)
    op.infer(Value((size,), -most, most))
    got = op.run(x)[:, 0]
    spread = np.sqrt(x.var(1, keepdims=True) + 1)
    want = (x - x.mean(1, keepdims=True)) / spread / np.sqrt(size)
    # the mean is known to half of 2**-bits, and what is under the root to 1
    assert np.abs(got / 32768 - want).max() < 2**-14 + 0.51 * 2**-bits / np.sqrt(size) + 0.6 / size


@pytest.mark.parametrize(
    ("value", "more", "message"),
    [
        (Value((7,), 0, 9), {"size": 3}, r"normalises 3 elements; 'x' has shape \(7,\)"),
        (Value((4,), -20_000, 20_000), {"size": 4}, r"can be -20000..20000, 40000 apart, with 0 bits more; 32000 steps are allowed"),
        (Value((4,), -127, 127), {"size": 4, "bits": 7}, "with 7 bits more; 32000 steps are allowed"),
        (Value((100,), -15_000, 15_000), {"size": 100}, r"squares of 100 elements in -15000..15000 .* can reach 22500000026"),
    ],
)  # fmt: skip
def test_what_32_bits_cannot_hold(value: Value, more: dict[str, int], message: str) -> None:
    op = LayerNorm(name="y", inputs=("x",), **more)
    with pytest.raises(LevshaError, match=message):
        _ = Graph({"x": value}, (op,)).values


def test_a_row_of_equal_elements_is_nothing() -> None:
    op = LayerNorm(name="y", inputs=("x",), size=5)
    assert not op.run(np.full((1, 5), 7)).any()


def test_a_node_means_what_torch_means() -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    factor, offset = np.arange(1.0, 6), np.arange(5.0)
    node = Node("n", "layer_norm", ("x",), "y", factor, offset, shape=(4, 5), epsilon=0.1)
    want = nn.functional.layer_norm(x, (5,), torch.from_numpy(factor), torch.from_numpy(offset), 0.1)
    torch.testing.assert_close(run_float([node], {"x": x})["y"].h, want)
