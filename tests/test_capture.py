"""torch as the second oracle: what is captured, folded and lowered is what the module computes; our C equal to our Python is not enough."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from levsha.capture import run_calls
from levsha.capture.fold import INPUT, fold
from levsha.capture.torch_model import capture
from levsha.conversion.door import convert
from levsha.errors import LevshaError
from levsha.lower import run_float
from levsha.targets import TARGETS
from tests.test_exact import inputs_of


class Model(nn.Module):
    """A forward of its own over named layers."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def conv(*a, **k) -> nn.Module:
    return nn.Conv2d(*a, **k)


torch.manual_seed(0)  # of the weights below
IMAGE, SIGNAL, VECTOR = (3, 8, 8), (4, 16), (6,)
MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "mlp": (nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), VECTOR),
    "mlp norm": (nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU6(), nn.Dropout(), nn.Linear(16, 3)), VECTOR),
    "activations": (
        Model(lambda s, x: s.b(F.silu(s.a(x)) + F.gelu(s.a(x)) * torch.tanh(x[:, :1])), a=nn.Linear(6, 8), b=nn.Linear(8, 2)), VECTOR,
    ),
    "swish in pieces": (Model(lambda s, x: s.b(s.a(x) * torch.sigmoid(s.a(x))), a=nn.Linear(6, 8), b=nn.Linear(8, 2)), VECTOR),
    "hard swish in pieces": (Model(lambda s, x: s.b((y := s.a(x)) * F.relu6(y + 3) / 6), a=nn.Linear(6, 8), b=nn.Linear(8, 2)), VECTOR),
    "same padding": (nn.Sequential(conv(3, 4, (3, 4), padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)), IMAGE),
    "normalised input": (Model(lambda s, x: s.l(F.relu(s.c((x - 0.3) / 0.7)).mean((2, 3))), c=conv(3, 6, 3, padding=1), l=nn.Linear(6, 3)), IMAGE),
    "depthwise": (
        nn.Sequential(conv(3, 6, 3, stride=2, padding=1), nn.ReLU(), conv(6, 12, 3, groups=6, padding=1), nn.ReLU6(), conv(12, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        IMAGE,
    ),
    "residual": (
        Model(lambda s, x: s.l(F.relu(s.b(s.c2(F.relu(s.c1(x)))) + s.sc(x)).flatten(1)),
              c1=conv(3, 6, 3, padding=1), c2=conv(6, 6, 3, padding=1), b=nn.BatchNorm2d(6), sc=conv(3, 6, 1), l=nn.Linear(384, 4)), IMAGE,
    ),
    "used twice": (Model(lambda s, x: s.l(s.c(F.relu(s.c(x))).flatten(1)), c=conv(3, 3, 3, padding=1), l=nn.Linear(192, 2)), IMAGE),
    "before norm": (Model(lambda s, x: s.c(F.relu(s.b(F.max_pool2d(s.a(x), 2)))).mean((2, 3)), a=conv(3, 4, 3), b=nn.BatchNorm2d(4), c=conv(4, 2, 1)), IMAGE),
    "pools": (Model(lambda s, x: s.l(torch.cat([F.max_pool2d(x, 3, 2, 1, ceil_mode=True), F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)], 1).flatten(1)), l=nn.Linear(150, 3)), IMAGE),
    "pools of maps": (
        Model(lambda s, x: s.l(F.avg_pool2d(F.max_pool2d(F.relu(s.c(x)), 3, 2, 1), 3, 2, 1).flatten(1)), c=conv(3, 4, 3, padding=1), l=nn.Linear(16, 3)), IMAGE,
    ),
    "concat": (Model(lambda s, x: s.l(torch.cat([F.relu(s.a(x)), torch.sigmoid(s.b(x))], 1).flatten(1)), a=conv(3, 2, 3), b=conv(3, 3, 3), l=nn.Linear(180, 2)), IMAGE),
    "upsampled": (Model(lambda s, x: s.c(F.interpolate(F.relu(s.a(x)), scale_factor=2)).amax((2, 3)), a=conv(3, 4, 3, stride=2), c=conv(4, 2, 3)), IMAGE),
    "transposed": (Model(lambda s, x: s.c(F.relu(s.t(x))).mean((2, 3)), t=nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), c=conv(4, 2, 3)), IMAGE),
    "moves": (Model(lambda s, x: s.l(F.relu(s.c(F.pad(x, (1, 2, 0, 1)).flip(3).permute(0, 1, 3, 2)))[:, ::2, 1:-1].flatten(1)), c=conv(3, 4, 3), l=nn.Linear(98, 2)), IMAGE),
    "shuffle": (Model(lambda s, x: s.d(F.channel_shuffle(F.relu(s.c(x)), 2)).mean((2, 3)), c=conv(3, 6, 3), d=conv(6, 2, 1, groups=2)), IMAGE),
    "gate": (
        Model(lambda s, x: s.o((y := F.relu(s.c(x))) * torch.sigmoid(s.g(y.mean((2, 3))))[:, :, None, None]).mean((2, 3)), c=conv(3, 6, 3), g=nn.Linear(6, 6), o=conv(6, 3, 1)), IMAGE,
    ),
    "signal": (nn.Sequential(nn.Conv1d(4, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(32, 3)), SIGNAL),
    "dilated": (
        Model(lambda s, x: s.l((F.relu(s.b(F.pad(F.relu(s.a(F.pad(x, (2, 0)))), (4, 0)))) + s.d(x)).mean(2)),
              a=nn.Conv1d(4, 6, 3), b=nn.Conv1d(6, 6, 3, dilation=2), d=nn.Conv1d(4, 6, 1), l=nn.Linear(6, 2)), SIGNAL,
    ),
    "over time": (Model(lambda s, x: s.l(torch.relu(s.a(x.transpose(1, 2))).transpose(1, 2).flatten(1)), a=nn.Linear(4, 5), l=nn.Linear(80, 2)), SIGNAL),
    "chunks": (Model(lambda s, x: s.l((p := F.relu(s.c(x)).chunk(2, 1))[0] * p[1] - 0.5 * p[0]).mean(2), c=nn.Conv1d(4, 8, 3), l=nn.Conv1d(4, 2, 1)), SIGNAL),
    "negative norm": (nn.Sequential(nn.BatchNorm2d(3), nn.MaxPool2d(2), conv(3, 2, 3), nn.Flatten()), IMAGE),
    "prelu": (nn.Sequential(conv(3, 4, 3), nn.PReLU(4), nn.Flatten(), nn.Linear(144, 2)), IMAGE),
}  # fmt: skip


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with statistics and slopes as a training leaves them, some of them negative."""
    torch.manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.weight, 1, 0.7)
            nn.init.normal_(part.bias, 0, 0.3)
    return model.eval()


def rows(shape: tuple[int, ...], count: int = 160) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_calls_and_nodes_compute_what_the_module_does(name: str) -> None:
    model, shape = MODELS[name]
    model, x = settled(model), rows(shape, 7)
    program = capture(model, x)
    want = model(x)
    got = run_calls(program, {next(iter(program.inputs)): x})[program.outputs[0]]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    folded = fold(program)
    ((output, _),) = folded.outputs.items()
    made = run_float(folded.nodes, {INPUT: folded.laid(x)})[output].h
    torch.testing.assert_close(made.reshape(want.shape), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_integers_are_near_the_module_and_c_computes_them(name: str, tmp_path: Path, need) -> None:
    model, shape = MODELS[name]
    model, x = settled(model), rows(shape)
    net = convert(model, x.numpy())
    assert net.about["integer"]["r2"] > 0.97, net.about
    with torch.inference_mode():
        want = model(x).double().numpy().reshape(len(x), -1)
    got = net(x.numpy()).reshape(len(x), -1)
    assert 1 - ((got - want) ** 2).sum() / ((want - want.mean(0)) ** 2).sum() > 0.97
    need(TARGETS["host"])
    inputs = inputs_of(net.graph, 8)
    found = TARGETS["host"].run(net.graph, inputs, tmp_path)
    for output, integers in net.run(inputs).items():
        np.testing.assert_array_equal(found.outputs[output], integers)


@settings(max_examples=25, deadline=None)
@given(st.data())
@torch.inference_mode()
def test_any_geometry_folds_to_what_torch_computes(data: st.DataObject) -> None:
    """Convolutions and pools, one and two axes, by drawn kernels, strides, dilations, groups and pads."""
    draw = data.draw
    rank, groups = draw(st.sampled_from((1, 2))), draw(st.sampled_from((1, 2, 4)))
    sizes = tuple(draw(st.integers(7, 12)) for _ in range(rank))
    options: dict[str, Any] = {"kernel_size": draw(st.integers(1, 3)), "stride": draw(st.integers(1, 3)), "padding": draw(st.integers(0, 2)), "dilation": draw(st.integers(1, 2))}  # fmt: skip
    layer = (nn.Conv1d, nn.Conv2d)[rank - 1](4, 8, groups=groups, **options)
    pool_kernel = draw(st.integers(1, 3))
    pool_options = {
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, pool_kernel // 2)),
        "ceil_mode": draw(st.booleans()),
    }
    kinds = ((nn.MaxPool1d, nn.AvgPool1d), (nn.MaxPool2d, nn.AvgPool2d))[rank - 1]
    counted = {"count_include_pad": draw(st.booleans())}
    pool = (
        kinds[0](pool_kernel, **pool_options)
        if draw(st.booleans())
        else kinds[1](pool_kernel, **pool_options, **counted)
    )
    model = nn.Sequential(layer, nn.LeakyReLU(), pool)
    x = torch.randn(3, 4, *sizes)
    try:
        want = model(x)
    except RuntimeError:
        return  # the window is larger than the map
    if not math.prod(want.shape):
        return
    folded = fold(capture(model, x))
    ((output, _),) = folded.outputs.items()
    made = run_float(folded.nodes, {INPUT: folded.laid(x)})[output].h
    torch.testing.assert_close(made.reshape(want.shape), want, rtol=1e-4, atol=1e-5)


class Wild(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.cumsum(x, 1)
        return torch.softmax(torch.fft.fft(y).real, 1) * y


def test_everything_that_is_not_known_is_reported_at_once_with_its_place() -> None:
    with pytest.raises(LevshaError) as found:
        fold(capture(Wild(), torch.randn(4, 5)))
    lines = str(found.value).splitlines()
    assert "Wild: 3 operations cannot become integers" in lines[0]
    assert all("test_capture.py, line " in line for line in lines[1:])
    assert "y = torch.cumsum(x, 1): cumsum is not known" in lines[1]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Model(lambda s, x: s.a(torch.softmax(x, 1)), a=nn.Linear(6, 2)), "softmax in the middle"),
        (Model(lambda s, x: x @ x.transpose(0, 1)), "matrix product of two computed values|mixes the batch"),
        (Model(lambda s, x: s.a(x) / x.sum(1, keepdim=True), a=nn.Linear(6, 2)), "a quotient of two computed values"),
        (Model(lambda s, x: s.a(x[:, :5]), a=nn.Linear(6, 2)), "cannot run on an input of shape"),
    ],
)
def test_what_cannot_be_converted_is_named(model: nn.Module, says: str) -> None:
    with pytest.raises(LevshaError, match=says):
        fold(capture(model, torch.randn(4, 6)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.register_buffer("k", torch.linspace(0.1, 4, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.a(x)
        return z, z, torch.relu(z) * self.get_buffer("k")


def test_outputs_may_be_one_value_twice_or_end_in_a_scale_of_each_element(need) -> None:
    model, x = settled(Twice()), rows((6,))
    net = convert(model, x.numpy())
    assert list(net.graph.outputs) == ["output1", "output2", "output3"]
    with torch.inference_mode():
        want = model(x)
    for got, real in zip(net(x.numpy()), want, strict=True):
        assert np.sqrt(((got - real.numpy()) ** 2).mean()) < 0.1 * float(real.std())
    need(TARGETS["host"])
    assert net.check("host", 100).mismatches == 0


class Shifted(nn.Module):
    """Padding stands for 0, which no byte of what the convolution reads stands for: 1 and more comes in."""

    def __init__(self, slope: float, pool: bool) -> None:
        super().__init__()
        self.norm, self.pool = nn.BatchNorm2d(3), nn.MaxPool2d(2) if pool else nn.Identity()
        self.c = nn.Conv2d(3, 4, 3, padding=1)
        nn.init.constant_(self.norm.weight, slope)
        nn.init.constant_(self.norm.bias, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.pool(self.norm(x / 255 - 0.5)))


@pytest.mark.parametrize(("slope", "pool"), [(1.0, False), (-1.0, False), (1.0, True)])
def test_padding_is_nought_even_where_nothing_stands_for_it(slope: float, pool: bool, need) -> None:
    x = np.random.default_rng(0).integers(0, 256, (80, 3, 8, 8)).astype(np.uint8)
    torch.manual_seed(0)
    net = convert(Shifted(slope, pool).eval(), x)
    # 255 steps from 0 to 3.5 are what rounding costs here; a border read as anything but 0 costs 0.1 and more
    assert net.about["integer"]["r2"] > 0.99, net.about
    need(TARGETS["host"])
    assert net.check("host", 100).mismatches == 0


def test_a_sigmoid_stays_where_its_numbers_are_what_is_wanted() -> None:
    model, x = nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()).eval(), rows((6,))
    with torch.inference_mode():
        y = model(x).numpy()
    net = convert(model, x.numpy(), y)
    assert net.about["float"]["r2"] > 0.999 and net.about["integer"]["r2"] > 0.99
    soft = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)).eval()
    with (
        torch.inference_mode(),
        pytest.raises(LevshaError, match="y: holds real numbers, but Sequential ends in a softmax"),
    ):
        convert(soft, x.numpy(), soft(x).numpy())


def test_readings_beyond_those_that_calibrate_are_counted() -> None:
    model, x = nn.Linear(6, 2).eval(), rows((6,)).numpy()
    quiet, loud = convert(model, x, test=(x[:40] * 0.5, None)), convert(model, x, test=(x[:40] * 5, None))
    assert not any("outside what" in notice for notice in quiet.about["notices"])
    assert any("input values that measure" in notice and "of 40 rows" in notice for notice in loud.about["notices"])


def test_outputs_far_from_nought_count_from_their_middle() -> None:
    model, x = nn.Linear(6, 1), rows((6,))
    with torch.no_grad():
        model.weight.mul_(0.3)
        model.bias.fill_(101_325.0)
    net = convert(model.double().eval(), x.double().numpy())
    assert net.about["integer"]["r2"] > 0.99, net.about
