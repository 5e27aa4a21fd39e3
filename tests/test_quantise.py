"""Quantising after training: the best scale is the best there is, refined rounding serves the sums, and what helps is kept."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import levsha
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ir import Value
from levsha.lower import RELU, Node, Options, Source, lower
from levsha.lower.grid_scale import exact_scale
from levsha.lower.node import Window, run_float
from levsha.lower.reconstruct import refine, sums_of
from levsha.lower.weights import quantise
from levsha.ops import Dense
from levsha.ways import OBSERVERS, REFINE
from tests.test_fine_tune import digits, trained

LENGTHS = {"binary": 7, "ternary": 6, "two_bit": 5, "two_bit_z80": 5, "int3": 4, "int4": 3}


@pytest.mark.parametrize("weights", [FORMATS[name] for name in LENGTHS], ids=lambda f: f.name)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_no_scale_and_no_grid_points_are_better(weights: Format, data: st.DataObject) -> None:
    """Against every choice of grid points for a row, each with its best scale of the signs allowed."""
    count = data.draw(st.integers(1, LENGTHS[weights.name]))
    numbers = st.floats(-4, 4, allow_subnormal=False).map(lambda number: round(number, 3))
    row_I = np.array(data.draw(st.lists(numbers, min_size=count, max_size=count)))
    importance_I = np.array(data.draw(st.lists(st.sampled_from([0.1, 1.0, 3.0]), min_size=count, max_size=count)))
    either = data.draw(st.booleans())
    scale_O = exact_scale(row_I[None], weights, either, importance_I)
    assert scale_O is not None and np.isfinite(scale_O).all() and scale_O.shape == (1,)
    every = np.array(list(product(weights.grid.tolist(), repeat=count)), np.float64)
    sums, squares = every @ (importance_I * row_I), every**2 @ importance_I
    allowed = (squares > 0) & ((sums > 0) | either)
    explained = float((sums[allowed] ** 2 / squares[allowed]).max(initial=0.0))
    least = float(importance_I @ row_I**2) - explained
    if explained > 1e-9:
        got = float(importance_I @ (row_I - scale_O[0] * weights.to_integers(row_I / scale_O[0])) ** 2)
        assert got <= least + 1e-9


def test_wide_formats_of_large_matrices_have_too_many_break_points() -> None:
    assert exact_scale(np.ones((4, 9)), FORMATS["int8"]) is not None
    assert exact_scale(np.ones((40, 1000)), FORMATS["int8"]) is None


def a_conv(groups: int, kind: str = "conv") -> tuple[Node, torch.Tensor]:
    """A layer and inputs whose channels go together, which rounding can make use of."""
    rng = np.random.default_rng(groups)
    channels, taps = 4, 9
    window = Window((6, 5, channels), (3, 3), pads=(1, 1, 1, 1), groups=groups) if kind == "conv" else None
    inputs = taps * channels // groups if window else 6 * 5 * channels
    weight_OI = torch.from_numpy(rng.normal(size=(8, inputs)).astype(np.float32))
    shape = (6, 5, 8) if window else (8,)
    node = Node(
        "y", kind, ("x",), "y", rng.uniform(0.5, 2, 8), rng.normal(size=8), weight_OI, RELU, window=window, shape=shape
    )
    common = rng.normal(size=(400, 6, 5, 1))
    return node, torch.from_numpy((common + 0.3 * rng.normal(size=(400, 6, 5, channels))).astype(np.float32))


@pytest.mark.parametrize("weights", ["binary", "ternary", "int3", "int4"])
@pytest.mark.parametrize("kind, groups", [("conv", 1), ("conv", 2), ("conv", 4), ("linear", 1)])
def test_refined_rounding_serves_the_sums(kind: str, groups: int, weights: str) -> None:
    node, x = a_conv(groups, kind)
    z = run_float([node], {"x": x})["y"].z
    usual = quantise(node, FORMATS[weights], None)
    refined = refine([usual], FORMATS[weights], sums_of(node, [x[:300]], z[:300], None))
    assert np.isin(refined.integers_OI, FORMATS[weights].grid).all()

    def error(real_OI: np.ndarray) -> float:
        """Mean square of what is left once means agree, on rows that were not fitted."""
        changed = Node("y", kind, ("x",), "y", node.factor_O, node.offset_O, torch.from_numpy(real_OI).float(), RELU, window=node.window, shape=node.shape)  # fmt: skip
        off = (changed.before_activation(x) - z).reshape(400, -1, 8)[300:].numpy()
        return float(((off - off.mean((0, 1))) ** 2).mean())

    assert error(refined.real()) < (1.0 if groups == 4 else 0.7) * error(
        usual.real()
    )  # of 9 inputs there is little to make use of


@pytest.mark.parametrize("weights, most", [("int4", 0.5), ("int3", 0.5), ("binary", 0.5)])
def test_a_conversion_loses_less_with_all_that_it_does(weights: str, most: float) -> None:
    x, y, x_T, y_T = digits()
    plain = levsha.convert(trained(), x, y, weights, test=(x_T, y_T), refine=())
    whole = levsha.convert(trained(), x, y, weights, test=(x_T, y_T))
    assert whole.about["integer"]["error_rms"] < most * plain.about["integer"]["error_rms"]
    assert whole.about["weights"] and not plain.about["weights"]
    assert set(whole.about["weights"].values()) <= {"exact scale", "scale of the largest", "refined rounding"}
    assert whole.about["integer"]["accuracy"] >= plain.about["integer"]["accuracy"] - 0.6


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_makes_a_net_that_works(observer: str) -> None:
    x, y, x_T, y_T = digits()
    net = levsha.convert(trained(), x, y, test=(x_T, y_T), observer=observer)
    assert net.about["integer"]["agreement"] > 98


@pytest.mark.parametrize(
    "more, message",
    [
        ({"observer": "entropy"}, "observer: is 'entropy'; there are measured, min-max, percentile, mean-square"),
        ({"refine": ("rounding", "luck")}, "refine: holds 'luck'; there are means, steps, equalise, scales, rounding"),
    ],
)
def test_a_way_that_is_none_is_refused(more: dict, message: str) -> None:
    with pytest.raises(LevshaError, match=message):
        levsha.convert(trained(), *digits()[:2], **more)


def test_sixteen_bits_never_fail_where_sums_are_long() -> None:
    """32 bits hold 257 products of the largest weight and byte: a row of more has smaller integers, and still more bits than 8."""
    rng = np.random.default_rng(0)
    weight_OI = torch.from_numpy(rng.choice([-1.0, 1.0], (3, 2000)).astype(np.float32))
    node = Node("fc", "linear", ("x",), "y", np.ones(3), np.zeros(3), weight_OI)
    x = {"x": torch.from_numpy(rng.integers(0, 256, (30, 2000)).astype(np.float32))}
    lowered = lower([node], {"x": Source(Value((2000,), 0, 255))}, x, Options(FORMATS["int16"], measured=True))
    (op,) = (op for op in lowered.graph.ops if isinstance(op, Dense))
    assert 1000 < np.abs(op.weight_OI).max() < 32767 and not lowered.findings


def test_a_channel_that_is_read_by_small_weights_has_a_coarser_step() -> None:
    """Equalised: where two channels are alike but for the weights that read them, the steps follow the weights."""
    rng = np.random.default_rng(3)
    weight_OI = torch.from_numpy(rng.normal(size=(8, 8)).astype(np.float32))
    scale_I = np.where(np.arange(8) % 2, 16.0, 1.0)
    second_OI = torch.from_numpy((rng.normal(size=(4, 8)) * scale_I).astype(np.float32))
    nodes = [
        Node("fc1", "linear", ("x",), "a", np.ones(8), np.zeros(8), weight_OI, RELU),
        Node("fc2", "linear", ("a",), "b", np.ones(4), np.zeros(4), second_OI),
    ]
    x = {"x": torch.from_numpy(rng.integers(0, 256, (300, 8)).astype(np.float32))}
    source = {"x": Source(Value((8,), 0, 255))}
    steps = []
    for done in (REFINE, tuple(what for what in REFINE if what != "equalise")):
        lowered = lower(nodes, source, x, Options(FORMATS["two_bit"], measured=True, refine=done))
        steps.append(np.broadcast_to(lowered.known["a"].step, (8,)))
    small, large = (steps[0][k::2].mean() for k in (0, 1))
    assert small > 1.5 * large


def test_what_is_refined_is_said() -> None:
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    net = levsha.convert(model, x, None, "ternary")
    assert net.about["weights"]["layer_2"] == "refined rounding"


def test_the_whole_file_of_a_net_is_a_quarter_of_the_float_file(tmp_path: Path) -> None:
    """The MiniCNN: 5 258 parameters, whose float state torch.save writes in about 23 700 bytes."""
    torch.manual_seed(0)
    convs = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(*convs, nn.Flatten(), nn.Linear(400, 10))
    torch.save(model.state_dict(), tmp_path / "float.pt")
    x = np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28)).astype(np.uint8)
    net = levsha.convert(model, x, np.arange(60) % 10, classes=[str(k) for k in range(10)])
    net.save(tmp_path / "net.safetensors")
    assert (tmp_path / "float.pt").stat().st_size >= 4 * (tmp_path / "net.safetensors").stat().st_size
    assert levsha.load(tmp_path / "net.safetensors").about == net.about
