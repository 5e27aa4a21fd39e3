"""The zoo: usual kinds of models, converted as they stand, lose next to nothing and are exact."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.zoo import measure
from benchmarks.zoo_train import ZOO
from levsha import convert
from levsha.errors import LevshaError
from levsha.targets import TARGETS

LOST = {"accuracy": 0.3, "r2": 0.005}
SECONDS = {"mlp": 5.0, "minicnn": 5.0, "resnet8": 15.0}


@pytest.mark.campaign
@pytest.mark.parametrize("name", ZOO)
def test_a_model_of_the_zoo_loses_next_to_nothing_and_is_exact(name: str, need) -> None:
    need(TARGETS["host"])
    try:
        found = measure(name, Path("runs/zoo"))
    except LevshaError as error:
        if "mnist" in str(error):
            pytest.skip(str(error))
        raise
    assert found.real - found.metrics["int8"] <= LOST[found.kind], found
    assert found.mismatches == 0 and found.difference < 1e-3 and not math.isnan(found.microseconds)
    assert found.seconds <= SECONDS.get(name, math.inf)


def test_rounded_weights_do_not_shift_what_a_layer_makes() -> None:
    """Few bits change the means of sums; offsets make up for it, so that 4 bits keep a net whose inputs are far from 0."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    x = (40 + np.random.default_rng(0).normal(0, 4, (600, 16))).astype(np.float32)
    net = convert(model, x, weights="int4")
    with torch.inference_mode():
        want = model(torch.from_numpy(x[300:])).numpy()
    assert np.abs((net(x[300:]) - want).mean(0)).max() < 0.05 * want.std(0).min()


def test_a_channel_that_is_small_beside_others_keeps_its_steps() -> None:
    """Channels a hundred times apart, each of which a depthwise convolution makes large again."""
    torch.manual_seed(0)
    first = torch.nn.Conv1d(2, 8, 3)
    second, head = torch.nn.Conv1d(8, 8, 3, groups=8, bias=False), torch.nn.Conv1d(8, 2, 1)
    sizes = torch.logspace(-2, 0, 8)
    with torch.no_grad():
        first.weight *= sizes[:, None, None]
        assert first.bias is not None
        first.bias *= sizes
        second.weight /= sizes[:, None, None]
    model = torch.nn.Sequential(first, torch.nn.ReLU(), second, head, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    x = np.random.default_rng(0).normal(0, 1, (600, 2, 20)).astype(np.float32)
    net = convert(model, x)
    assert net.about["integer"]["r2"] > 0.99, net.about["integer"]
