"""Random nets over all layers: what is read, folded and lowered is what torch computes, and the C what the interpreter does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from levsha import convert
from levsha.capture import run_calls
from levsha.capture.fold import INPUT, fold
from levsha.capture.torch_model import capture
from levsha.interpret import interpret
from levsha.lower import run_float
from levsha.targets import TARGETS
from tests.random_nets import RandomNet
from tests.test_exact import inputs_of


@torch.inference_mode()
def check(number: int, folder: Path, on_host: bool, least: float, compiled: bool = False) -> None:
    """Assert that a net is right at every level; least: R2 of its integers, on rows that nothing was chosen by."""
    model = RandomNet(number)
    x = torch.randn(240, *model.shape, generator=torch.Generator().manual_seed(number))
    want = model(x)
    if float(want.std(0).max()) < 1e-6:
        return  # all its ReLUs are 0
    program = capture(model, x)
    got = run_calls(program, {next(iter(program.inputs)): x})[program.outputs[0]]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    folded = fold(program)
    ((output, _),) = folded.outputs.items()
    made = run_float(folded.nodes, {INPUT: folded.laid(x)})[output].h
    torch.testing.assert_close(made.reshape(want.shape), want, rtol=1e-3, atol=1e-4)
    net = convert(model, x.numpy())
    assert net.about["integer"]["r2"] > least, (number, net.about["integer"], model.names)
    if on_host:
        inputs = inputs_of(net.graph, 8)
        known, found = interpret(net.graph, inputs), TARGETS["host"].run(net.graph, inputs, folder)
        for name in net.graph.outputs:
            np.testing.assert_array_equal(found.outputs[name], known[name])
    if compiled:
        before = net(x[:5].numpy())
        net.compile()
        np.testing.assert_array_equal(net(x[:5].numpy()), before)


@pytest.mark.parametrize("number", range(12))
def test_a_random_net_is_right_at_every_level(number: int, tmp_path: Path, need) -> None:
    need(TARGETS["host"])
    check(number, tmp_path, number % 3 == 0, 0.97)


@pytest.mark.campaign
@pytest.mark.parametrize("start", range(100, 400, 50))
def test_many_random_nets_are_right_at_every_level(start: int, tmp_path: Path, need) -> None:
    need(TARGETS["host"])
    for number in range(start, start + 50):
        check(number, tmp_path, number % 5 == 0, 0.9, compiled=True)  # the outputs of some hardly move


def test_what_padding_stands_for_has_an_integer(tmp_path: Path, need) -> None:
    """Batch normalisation behind a ReLU, before a padded convolution: a real 0 may be less than the value ever is."""
    torch.manual_seed(0)
    conv, norm, then = torch.nn.Conv2d(2, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.Conv2d(6, 3, 3, padding=2)
    torch.nn.init.constant_(norm.bias, 3.0)
    model = torch.nn.Sequential(conv, torch.nn.ReLU(), norm, then, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    x = torch.randn(300, 2, 6, 6)
    model.train()(x)
    net = convert(model, x.numpy())
    assert net.about["integer"]["r2"] > 0.99, net.about["integer"]
