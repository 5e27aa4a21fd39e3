"""A format for each layer: the choice within the bytes is the best there is, what it takes is what was said, and what cannot be is refused."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from levsha.conversion.captured import net_of, options_of
from levsha.conversion.mixed import choose_formats, least_cost, packed_bytes
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ir import Value
from levsha.lower.weights import matrices_of
from levsha.ops import Conv, Dense
from levsha.recipes.convert.settings import Convert
from tests.test_fine_tune import captured
from tests.test_quantise import a_conv

NARROW = ("int8", "int4", "ternary")


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_choice_within_the_bytes_is_better(data: st.DataObject) -> None:
    layers, formats = range(data.draw(st.integers(1, 4))), ("int8", "int4", "ternary")
    whole = st.integers(1, 30)
    sizes = {f"l{k}": {f: data.draw(whole) for f in formats} for k in layers}
    costs = {f"l{k}": {f: data.draw(whole) / 8 for f in formats} for k in layers}
    fewest = 5 + sum(min(each.values()) for each in sizes.values())
    allowed = fewest + data.draw(st.integers(0, 40))
    found = least_cost(sizes, costs, 5, allowed)
    every = [dict(zip(sizes, choice, strict=True)) for choice in product(formats, repeat=len(sizes))]
    fitting = [c for c in every if 5 + sum(sizes[name][f] for name, f in c.items()) <= allowed]
    assert found.bytes <= allowed and found.cost == sum(costs[name][f] for name, f in found.formats.items())
    assert found.cost == min(sum(costs[name][f] for name, f in c.items()) for c in fitting)


@pytest.mark.parametrize("weights", FORMATS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("kind, groups", [("conv", 1), ("conv", 2), ("conv", 4), ("linear", 1)])
def test_bytes_are_those_of_the_code(kind: str, groups: int, weights: Format) -> None:
    node, _ = a_conv(groups, kind)
    assert node.weight_OI is not None
    weight_OI = np.full(node.weight_OI.shape, weights.grid[0]) // (300 if weights.name == "int16" else 1)
    op = Dense(name="y", inputs=("x",), weight_OI=weight_OI, format=weights)
    if node.window is not None:
        window = node.window
        op = Conv(name="y", inputs=("x",), weight_OI=weight_OI, format=weights, shape=window.shape, kernel=window.kernel, pads=window.pads, groups=groups)  # fmt: skip
    x = Value((6, 5, 4), 0, 255)
    code = op.code(op.infer(x), x)
    assert packed_bytes(node, weights) == sum(c.data.size for name, c in code.constants.items() if "weight" in name)


def test_a_choice_takes_what_was_said_and_less_costs_more() -> None:
    found = captured()
    options = options_of(found, "int8", {"conv1": "int8"})
    wide, narrow = (choose_formats(found, options, NARROW, flash) for flash in (4000, 1400))
    for choice, most in ((wide, 4000), (narrow, 1400)):
        net = net_of(found, found.lower(options_of(found, "int8", dict(choice.formats))))
        assert net.sizes.weight_bytes == choice.bytes <= most
        assert choice.formats.keys() == {node.name for node in found.folded.nodes if matrices_of(node)}
        assert choice.formats["conv1"] == "int8"
    assert wide.cost < narrow.cost


def test_what_nothing_fits_is_refused_with_what_would() -> None:
    options = options_of(captured(), "int8", {})
    message = r"--flash: 500 B hold no choice of formats: the smallest takes \d+ B \(conv1 ternary, conv2 ternary, fc1 ternary, fc2 ternary; \d+ B"
    with pytest.raises(LevshaError, match=message):
        choose_formats(captured(), options, NARROW, 500)


def test_bytes_without_a_choice_are_refused() -> None:
    with pytest.raises(
        LevshaError, match="--flash: limits the variant whose formats are chosen by layer; add --per-layer auto"
    ):
        Convert(model="m.onnx", data="digits", flash=1000).check()
    assert [v.name for v in Convert(model="m.onnx", data="digits", per_layer="auto").integers] == [
        "float-int8",
        "float-auto",
    ]
