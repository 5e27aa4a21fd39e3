"""A net that got worse on its way to integers: the layer and the cause are named."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from levsha.evidence.regression import r_squared
from levsha.formats import FORMATS
from levsha.ir import Value
from levsha.lower import RELU, Function, Lowered, Node, Options, Pins, Source, diagnose, lower, run_float
from levsha.lower.diagnose import run_integers

SOURCE = Source(Value((4,), -127, 127), 1 / 127)


def healthy_nodes(scale_O: np.ndarray | None = None) -> list[Node]:
    """Three layers; scale_O: how large each channel of the second one is, which the third one takes back."""
    rng = np.random.default_rng(0)
    scale_O = np.ones(12) if scale_O is None else scale_O
    weights = [rng.normal(0, 0.7, (16, 4)), rng.normal(0, 0.35, (12, 16)), rng.normal(0, 0.4, (1, 12)) / scale_O]
    names = ["x", "act1", "act2", "y"]
    return [
        Node(
            f"fc{k + 1}", "linear", (names[k],), names[k + 1], scale_O if k == 1 else np.ones(len(weight)),
            np.full(len(weight), 0.3) * (scale_O if k == 1 else 1), torch.from_numpy(weight), RELU if k < 2 else None,
        )
        for k, weight in enumerate(weights)
    ]  # fmt: skip


def inputs(count: int = 600) -> dict[str, Tensor]:
    return {"x": torch.rand(count, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1}


def metric_of(nodes: list[Node], x: dict[str, Tensor]) -> Callable[[np.ndarray], float]:
    target = run_float(nodes, x)["y"].h.numpy()
    return lambda outputs: r_squared(target, outputs)


def made(nodes: list[Node], **settings) -> Lowered:
    return lower(nodes, {"x": SOURCE}, inputs(), **settings)


def test_nothing_is_named_where_nothing_was_lost() -> None:
    nodes, x = healthy_nodes(), inputs()
    assert metric_of(nodes, x)(run_integers(made(nodes), x)) > 0.995
    assert diagnose(made(nodes), x, metric_of(nodes, x), "R2") is None


def range_net() -> Lowered:
    """One channel of the second layer is 2000 times as large as the others."""
    return made(healthy_nodes(np.where(np.arange(12) == 5, 2000.0, 1.0)))


def step_net() -> Lowered:
    """The second layer's values have steps of 2: they reach about 3."""
    return made(healthy_nodes(), pins=Pins(steps={"act2": 2.0}))


def clipping_net() -> Lowered:
    """The second layer is cut at a small part of what it reaches."""
    return made(healthy_nodes(), pins=Pins(steps={"act2": 0.2 / 255}))


def weights_net() -> Lowered:
    """The second layer's weights have a bit each."""
    return made(healthy_nodes(), options=Options(formats={"fc2": FORMATS["binary"]}))


def multiplier_net() -> Lowered:
    """The second layer's multipliers were rounded by one shift that leaves most of them nothing."""
    lowered = made(healthy_nodes())
    fc1, fc2, fc3 = lowered.layers
    multiplier_O = fc2.own_integer.multiplier_O * (np.arange(12) == 0)
    integer = replace(fc2.own_integer, multiplier_O=multiplier_O)
    ops = (*fc2.ops[:-1], integer.requantize("act2", "fc2"))
    return replace(lowered, layers=(fc1, replace(fc2, integer=integer, ops=ops), fc3))


CASES = {
    "range": range_net,
    "step": step_net,
    "clipping": clipping_net,
    "weights": weights_net,
    "multiplier": multiplier_net,
}
FIGURES = {
    "range": r"its channels reach from [\d.]+ to \d+.* and share one step of [\d.]+: 11 of 12 have fewer than 4 steps",
    "step": r"one step is 2, and its values spread by [\d.]+",
    "clipping": r"\d\d\.\d % of its values lie beyond 255 steps of 0.000784",
    "weights": r"on the grid \(2 different integers\) its weights are off by \d\d\.\d %",
    "multiplier": r"is off by 100\.0 %, 11 of 12 by more than 1 %",
}


@pytest.mark.parametrize("cause", CASES)
def test_layer_and_cause_are_named(cause: str) -> None:
    lowered, x = CASES[cause](), inputs()
    metric = metric_of(list(lowered.nodes), x)
    assert metric(run_integers(lowered, x)) < 0.9
    found = diagnose(lowered, x, metric, "R2")
    assert found is not None and (found.layer, found.cause) == ("fc2", cause)
    assert found.drop > 0.05 and found.sentence.startswith(f"fc2: {cause}: ")
    assert f"; with it alone R2 is {1 - found.drop:.4g} instead of 1, with all " in found.sentence
    assert re.search(FIGURES[cause], found.sentence), found.sentence


def test_a_net_trained_on_its_grid_is_not_blamed_for_its_weights() -> None:
    """The float weights behind a net that was trained with binary ones are not the net."""
    lowered, x = weights_net(), inputs()
    on_grid = [
        replace(layer.node, weight_OI=torch.from_numpy(layer.sums.weights.real()))
        for layer in lowered.layers
        if layer.sums and layer.sums.weights
    ]
    assert diagnose(lowered, x, metric_of(on_grid, x), "R2", on_grid_already=True) is None
    clipped = made(on_grid, pins=Pins(steps={"act2": 0.2 / 255}), options=Options(formats={"fc2": FORMATS["binary"]}))
    found = diagnose(clipped, x, metric_of(on_grid, x), "R2", on_grid_already=True)
    assert found is not None and found.cause == "clipping"


def test_a_table_is_diagnosed_by_its_index() -> None:
    nodes = [replace(n, activation=Function("tanh", torch.tanh)) if n.activation else n for n in healthy_nodes()]
    lowered, x = made(nodes), inputs()
    fc1, fc2, fc3 = lowered.layers
    tiny = {"x": inputs()["x"] * 0.05}  # calibrated on far smaller inputs than it meets
    small = lower(nodes, {"x": SOURCE}, tiny)
    found = diagnose(small, x, metric_of(nodes, x), "R2")
    assert found is not None and found.cause == "clipping" and "lie beyond its table" in found.sentence
    assert diagnose(lowered, x, metric_of(nodes, x), "R2") is None and (fc1, fc2, fc3) == lowered.layers
