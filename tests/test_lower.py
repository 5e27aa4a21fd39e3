"""The way from a float net to integers: what was right stays as it was, and what rounding would lose is kept or named."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from levsha.applications import Sensor
from levsha.data.table import Table
from levsha.errors import LevshaError
from levsha.evidence.regression import r_squared
from levsha.formats import FORMATS, Format, loss_verdict
from levsha.interpret import interpret
from levsha.ir import Value
from levsha.lower import (
    RELU,
    Clip,
    Function,
    IntegerLayer,
    Lowered,
    Node,
    Options,
    Pins,
    Source,
    lower,
    round_layer,
    run_float,
)
from levsha.lower.diagnose import run_integers
from levsha.net import Net
from levsha.ops import Argmax, Dense, Requantize
from levsha.recipes.regression.integer import lower_net
from levsha.recipes.regression.learn import integer_answer
from levsha.recipes.regression.net import Prepared, build_mlp
from levsha.recipes.regression.settings import TableTraining
from levsha.recipes.tinychat.integer import lower_chat
from levsha.recipes.tinychat.settings import top_of
from levsha.store import graph_hash
from levsha.train.fit import fit, predict
from levsha.train.mlp import Mlp

CHARSET = b" ABCDEFGHI!\0"


def random_mlp(hidden: tuple[int, ...], top: int) -> Mlp:
    """A calibrated chat net; sums of its weights are exact in float32, so that it is the same net on every machine."""
    rng = np.random.default_rng(len(hidden))
    mlp = Mlp([], [], [])
    for inputs, outputs in pairwise([256, *hidden, len(CHARSET)]):
        most = int(400 * (2 / inputs) ** 0.5)
        parts = [rng.integers(-most, most, (outputs, inputs)) / 256]
        parts += [rng.uniform(0.5, 2, outputs), rng.normal(0, 0.5, outputs), rng.normal(0, 0.3, outputs)]
        parts += [rng.uniform(0.1, 3, outputs)]
        lists = (mlp.weight_OI, mlp.gamma_O, mlp.beta_O, mlp.mean_O, mlp.var_O)
        for some, part in zip(lists, parts, strict=True):
            some.append(torch.from_numpy(part.astype(np.float32)))
    mlp.step.extend((rng.uniform(2, 5, len(hidden)) / top).tolist())
    return mlp


def random_counts() -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).poisson(0.4, (50, 256)).astype(np.float32))


# Made by lower_mlp and build_graph of commit bc5ebc7: a hash of all ops before the logits, and of these shift, bias shift and two sums.
FROZEN = {
    ("binary", (9,)): ("f2f4470b9f8030d2", 8, 5, 84533, 79955),
    ("binary", (13, 10)): ("89f8352a9bef52ff", 8, 6, 75670, -24154),
    ("binary", (24, 16, 12)): ("fd44dc0e7868bb41", 8, 6, 69265, -15164),
    ("ternary", (9,)): ("10a7f6fc3b5b7a1e", 8, 5, 106946, 72252),
    ("ternary", (13, 10)): ("e597cb6da39ec293", 8, 6, 80321, -18313),
    ("ternary", (24, 16, 12)): ("bcc70ccf949dadbf", 8, 5, 49307, -15420),
    ("two_bit", (9,)): ("a85b4379861f0d0d", 8, 4, 60410, 91206),
    ("two_bit", (13, 10)): ("3f39bac16288e529", 8, 5, 63450, -32332),
    ("two_bit", (24, 16, 12)): ("b7dcf53776223fa0", 8, 5, 43684, -15264),
    ("two_bit_z80", (9,)): ("ecc971adeeac566c", 7, 4, 132815, 100102),
    ("two_bit_z80", (13, 10)): ("634a7856bb31bbf2", 8, 6, 188721, -23999),
    ("two_bit_z80", (24, 16, 12)): ("f0d9bfef1c1e070b", 8, 5, 119344, -20820),
    ("int4", (9,)): ("ca8edc0045149b5c", 8, 5, 105996, 58971),
    ("int4", (13, 10)): ("5e449dbeb1f415de", 8, 6, 103960, -19519),
    ("int4", (24, 16, 12)): ("c6930b68dceb330e", 8, 6, 91161, -11738),
    ("int8", (9,)): ("6def8a1abd440241", 14, 11, 58280, 62646),
    ("int8", (13, 10)): ("67d10a566e2559e7", 15, 13, 110307, -18730),
}


@pytest.mark.parametrize(("weights", "hidden"), FROZEN)
def test_a_net_that_needs_nothing_more_comes_out_as_ever(weights: str, hidden: tuple[int, ...]) -> None:
    mlp = random_mlp(hidden, top_of(FORMATS[weights]))
    graph = lower_chat(mlp, FORMATS[weights], random_counts(), CHARSET).graph
    names = [op.name for op in graph.ops]
    assert names[:6] == ["query_counts", "fc1_query", "context_counts", "fc1_context", "fc1", "act1"]
    assert names[-3:] == ["logits", "choice", "next"] and graph.outputs == ("logits", "next")
    digest, shift, bias_shift, multipliers, biases = FROZEN[weights, hidden]
    at = names.index("logits")
    logits = graph.ops[at]
    assert isinstance(logits, Requantize)
    assert graph_hash(graph.prefix(at)).startswith(digest)
    assert (logits.shift, logits.bias_shift, logits.pre_shift, logits.extra_O) == (shift, bias_shift, 0, None)
    # the step of the logits comes from float sums, whose last bits depend on the machine
    assert abs(int(logits.multiplier_O.sum()) - multipliers) <= 2 and abs(int(logits.bias_O.sum()) - biases) <= 2


def test_a_weight_is_quantised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    whole = Format.to_integers
    monkeypatch.setattr(Format, "to_integers", lambda self, x: seen.append(tuple(x.shape)) or whole(self, x))
    nodes = chain_nodes([6, 5, 4, 3])
    lower(nodes, {"x": BYTES}, {"x": torch.rand(20, 6)})
    assert seen == [(5, 6), (4, 5), (3, 4)]


BYTES = Source(Value((6,), 0, 255), 1 / 255)


def chain_nodes(widths: list[int], activation: Clip | Function | None = RELU, source: str = "x") -> list[Node]:
    generator = torch.Generator().manual_seed(1)
    nodes: list[Node] = []
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        weight_OI = torch.randn(outputs, inputs, generator=generator) * (2 / inputs) ** 0.5
        last = k == len(widths) - 2
        name, output = f"fc{k + 1}", "y" if last else f"act{k + 1}"
        factor_O, offset_O = np.linspace(0.5, 1.5, outputs), np.linspace(-0.3, 0.3, outputs)
        nodes.append(
            Node(name, "linear", (source,), output, factor_O, offset_O, weight_OI, None if last else activation)
        )
        source = output
    return nodes


def agreement(lowered: Lowered, x: dict[str, Tensor]) -> float:
    """R2 of the integer net's real outputs against the float net's, as if that were the truth."""
    return r_squared(run_float(lowered.nodes, x)[lowered.nodes[-1].output].h.numpy(), run_integers(lowered, x))


@pytest.mark.parametrize(
    "activation",
    [RELU, Clip(0.0, 1.0), Clip(-1.0, 1.0), None, Function("tanh", torch.tanh)],
    ids=["relu", "0..1", "-1..1", "none", "tanh"],
)
def test_every_activation_is_met(activation: Clip | Function | None) -> None:
    x = {"x": torch.rand(500, 6, dtype=torch.float64)}
    lowered = lower(chain_nodes([6, 24, 16, 2], activation), {"x": BYTES}, x)
    assert agreement(lowered, x) > 0.995 and lowered.findings == ()


def test_a_last_clip_is_kept() -> None:
    nodes = chain_nodes([6, 8, 3])
    nodes[-1] = replace(nodes[-1], activation=RELU)
    x = {"x": torch.rand(200, 6, dtype=torch.float64)}
    lowered = lower(nodes, {"x": BYTES}, x)
    assert lowered.graph.values["y"].lo == 0 and agreement(lowered, x) > 0.998


def test_inputs_with_steps_and_zeros_of_their_own_are_read_side_by_side() -> None:
    """A slow input and a fast one: two products and their sum, the slow one of its own stage; units fold into the weights."""
    rng = np.random.default_rng(0)
    slow = Source(Value((3,), 0, 1000), 0.01, np.array([-5.0, 0.0, 20.0]))
    fast = Source(Value((2,), -100, 100), np.array([1.0, 0.002]))
    x = {
        "slow": torch.from_numpy(slow.zero + 0.01 * rng.integers(0, 1000, (400, 3))),
        "fast": torch.from_numpy(fast.step * rng.integers(-100, 100, (400, 2))),
    }
    weight_OI = torch.from_numpy(rng.normal(0, [[1, 1, 1, 0.1, 50]], (7, 5)))
    first = Node("fc1", "linear", ("slow", "fast"), "act1", np.ones(7), np.zeros(7), weight_OI, RELU)
    lowered = lower(
        [first, *(replace(n, name="fc2") for n in chain_nodes([7, 2], None, "act1"))], {"slow": slow, "fast": fast}, x
    )
    assert [op.name for op in lowered.graph.ops] == ["fc1_slow", "fc1_fast", "fc1", "act1", "fc2", "y"]
    assert [op.name for op in lowered.graph.stages[0]] == ["fc1_slow"]
    assert agreement(lowered, x) > 0.995


def test_sums_that_would_not_fit_are_clipped_before() -> None:
    nodes, x = chain_nodes([6, 120, 30, 2]), {"x": torch.rand(300, 6, dtype=torch.float64)}
    small = Source(Value((6,), 0, 15), 1 / 15)
    lowered = lower(nodes, {"x": small}, x, Options(FORMATS["int4"], sum_bits=16))
    assert lowered.graph.values["fc2"].c_type == "int16_t"
    wide = lower(nodes, {"x": small}, x, Options(FORMATS["int4"]))
    assert lowered.layer("fc1").own_scale.hi < 255 == wide.layer("fc1").own_scale.hi
    assert agreement(lowered, x) > agreement(wide, x) - 0.1


def test_an_error_names_layer_and_place() -> None:
    node = replace(chain_nodes([6, 2])[0], place="net.py, line 7", factor_O=np.array([1.0, 1e9]))
    with pytest.raises(
        LevshaError, match=r"^lower: fc1 \(net.py, line 7\): a channel needs a factor of .* more than 32 bits hold"
    ):
        lower([node], {"x": BYTES}, {"x": torch.rand(9, 6)}, pins=Pins(steps={"y": 1e-3}))


def rescaled(layer: IntegerLayer, sums: np.ndarray) -> np.ndarray:
    """What a rounded layer makes of sums (N, O)."""
    return layer.requantize("y", "x").run(sums)


def test_multipliers_of_large_sums_keep_eleven_bits() -> None:
    reach = 1 << 27
    factor_O, offset_O = np.array([255 / reach, 200 / reach]), np.array([3.0, -2.0])
    layer = round_layer(np.zeros((2, 1), np.int64), factor_O, offset_O, reach, 0, 255, 1.0)
    assert layer.pre_shift and layer.extra_O is None and np.abs(layer.multiplier_O).max() >= 1024
    sums = np.random.default_rng(0).integers(-reach, reach, (1000, 2))
    np.testing.assert_allclose(rescaled(layer, sums), (sums * factor_O + offset_O).clip(0, 255), atol=0.7)
    requantize = layer.requantize("y", "x")
    assert requantize.infer(Value((2,), -reach, reach)).hi == 255  # the graph proves it
    less = replace(layer, pre_shift=layer.pre_shift - 1)
    with pytest.raises(LevshaError, match="int32 allows"):
        less.requantize("y", "x").infer(Value((2,), -reach, reach))


def test_channels_far_apart_have_a_shift_each() -> None:
    """Sums of 0..1, 0..30000 and 0..4000 become 0..255: multipliers of one shift would be 32640, 1 and 16."""
    reach_O = np.array([1, 30_000, 4000])
    factor_O, offset_O = 255 / reach_O, np.array([0.0, 5.0, -5.0])
    layer = round_layer(None, factor_O, offset_O, reach_O, 0, 255, 1.0)
    assert layer.extra_O is not None and layer.findings == ()
    sums = np.random.default_rng(0).integers(0, reach_O, (1000, 3), endpoint=True)
    np.testing.assert_allclose(rescaled(layer, sums), (sums * factor_O + offset_O).clip(0, 255), atol=1.1)
    assert layer.requantize("y", "x").infer(Value.of_ranges([(0, int(r)) for r in reach_O])).hi == 255


def test_a_channel_that_cannot_move_becomes_a_constant() -> None:
    factor_O, offset_O = np.array([255.0, 1e-6, 255 / 40_000]), np.array([0.0, 77.4, 0.0])
    layer = round_layer(None, factor_O, offset_O, np.array([1, 1000, 40_000]), 0, 255, 1.0)
    assert layer.multiplier_O[1] == 0
    assert set(rescaled(layer, np.array([[0, -1000, 0], [1, 1000, 9]]))[:, 1]) == {77}


def test_what_32_bits_cannot_hold_is_named() -> None:
    """A huge offset leaves a small factor no bits."""
    weight_OI = torch.tensor([[1.0], [1.0]])
    node = Node("fc1", "linear", ("x",), "y", np.array([1.0, 1e-4]), np.array([0.0, 3e5]), weight_OI)
    source = Source(Value((1,), -32_767, 32_767))
    x = {"x": torch.arange(-32_000.0, 32_000, 500, dtype=torch.float64)[:, None]}
    found = lower([node], {"x": source}, x, pins=Pins(steps={"y": 0.01})).findings
    assert any(sentence.startswith("fc1: multiplier: channel 1") for sentence in found)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_keeps_every_output_within_a_step_or_says_so(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, reach = 12, int(2 ** rng.uniform(3, 24))
    factor_O = 10 ** rng.uniform(-4, 0, count) * 255 / reach * rng.choice([-1, 1], count)
    offset_O = rng.normal(0, 60, count)
    layer = round_layer(None, factor_O, offset_O, reach, 0, 255, 1.0)
    sums = rng.integers(-reach, reach, (500, count), endpoint=True)
    off_O = np.abs(rescaled(layer, sums) - (sums * factor_O + offset_O).clip(0, 255)).max(0)
    allowed_O = 1.1 + 0.01 * np.abs(factor_O) * reach  # an error of 1 % in a multiplier is nobody's loss
    assert layer.findings or (off_O <= allowed_O).all()
    assert layer.requantize("y", "x").infer(Value((count,), -reach, reach)).hi <= 255


def test_the_expected_loss_decides() -> None:
    int8, binary = FORMATS["int8"], FORMATS["binary"]
    assert loss_verdict(91.2, 90.9, int8, "accuracy") and not loss_verdict(91.2, 89.0, int8, "accuracy")
    assert loss_verdict(91.2, 89.0, int8, "accuracy", margin=2.0) and loss_verdict(91.2, 70.0, binary, "accuracy")


def sensor_table(rows: int = 600) -> Table:
    """A sensor of 0..32767 counts, a flag set in 1 row of 100, a voltage, and two columns that never change."""
    rng = np.random.default_rng(3)
    counts, flag = rng.integers(0, 32_700, rows).astype(float), (np.arange(rows) % 100 == 7).astype(float)
    volts = np.rint(rng.uniform(3.1, 4.2, rows) * 1000) / 1000
    x = np.column_stack([counts, flag, volts, np.full(rows, 5.0), np.zeros(rows)])
    y = counts / 400 + 30 * flag + 5 * np.sin(3 * volts)
    return Table(
        "own",
        "A table.",
        x,
        y[:, None],
        ("adc", "door", "battery", "heater", "fan"),
        ("", "", "V", "V", ""),
        ("power",),
        "W",
    )


def trained(table: Table, hidden: tuple[int, ...] = (24, 12)) -> tuple[nn.Sequential, Prepared]:
    prepared = Prepared(table, 0)
    model = build_mlp([table.x_NI.shape[1], *hidden, 1], "relu", 0, prepared.x.constant_C)
    settings = replace(TableTraining(epochs=60, batch=16, rate=5e-3), loss="mse")
    made = fit(model, prepared.pair(prepared.train), prepared.pair(prepared.validation), settings).model
    assert isinstance(made, nn.Sequential)
    return made, prepared


def test_a_rare_flag_and_a_wide_sensor_cost_nothing_as_integers() -> None:
    table = sensor_table()
    model, prepared = trained(table)
    lowered, meaning = lower_net(model, prepared)
    x, y = table.x_NI[prepared.test], table.y_NO[prepared.test]
    by_float = r_squared(y, prepared.real(predict(model, prepared.standardise(x))))
    by_integer = r_squared(y, integer_answer(Net(lowered.graph, meaning, Sensor(meaning), "test"), x))
    assert by_float > 0.98 and by_integer > by_float - 0.01 and lowered.findings == ()


def test_each_reading_has_a_range_of_its_own() -> None:
    prepared = Prepared(sensor_table(), 0)
    lowered, meaning = lower_net(build_mlp([5, 4, 1], "relu", 0, prepared.x.constant_C), prepared)
    value = lowered.graph.inputs["readings"]
    assert value.ranges is not None
    adc, door, battery, heater, fan = value.ranges
    assert adc[0] == 0 and adc[1] == 32_767 and door == (0, 1) and heater == (5, 5) and fan == (0, 0)
    assert [q.step for q in meaning.quantities["readings"]] == [1.0, 1.0, 0.001, 1.0, 1.0]
    assert 2700 <= battery[0] < 3000 and 4300 < battery[1] <= 4500
    for wrong in ([9, 0, 3500, 12, 0], [9, 2, 3500, 5, 0], [9, 0, 100, 5, 0]):
        with pytest.raises(LevshaError, match="its proven range there is"):
            interpret(lowered.graph, {"readings": np.array([wrong])})


def test_a_constant_input_is_as_if_it_were_not_there() -> None:
    table = sensor_table(300)
    without = replace(table, x_NI=table.x_NI[:, :3], features=table.features[:3], units=table.units[:3])
    model, prepared = trained(table, (8,))
    bare, bare_prepared = trained(without, (8,))
    assert prepared.x.constant_C.tolist() == [False, False, False, True, True]
    test = prepared.test
    want = bare_prepared.real(predict(bare, bare_prepared.inputs(test)))
    np.testing.assert_allclose(prepared.real(predict(model, prepared.inputs(test))), want, rtol=1e-4)
    x = prepared.inputs(test).requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None and not x.grad[:, 3:].any()
    changed = table.x_NI[test] + [0, 0, 0, 7, 7]
    np.testing.assert_allclose(prepared.real(predict(model, prepared.standardise(changed))), want, rtol=1e-4)
    lowered, meaning = lower_net(model, prepared)
    got = integer_answer(Net(lowered.graph, meaning, Sensor(meaning), "test"), table.x_NI[test])
    bare_lowered, bare_meaning = lower_net(bare, bare_prepared)
    assert (
        r_squared(
            integer_answer(Net(bare_lowered.graph, bare_meaning, Sensor(bare_meaning), "test"), without.x_NI[test]), got
        )
        > 0.9999
    )


@pytest.mark.parametrize("scale", [1e-165, 1e-280, 1e25])
def test_the_unit_of_a_column_does_not_matter(scale: float) -> None:
    table = sensor_table(200)
    other = replace(table, x_NI=table.x_NI * np.array([1, 1, scale, 1, 1]), y_NO=table.y_NO * scale)
    model, prepared = trained(other, (8,))
    lowered, meaning = lower_net(model, prepared)
    answer = integer_answer(Net(lowered.graph, meaning, Sensor(meaning), "test"), other.x_NI[prepared.test])
    assert (
        np.isfinite(answer).all()
        and np.abs(answer - prepared.real(predict(model, prepared.inputs(prepared.test)))).max() < 3 * scale
    )


def test_a_column_too_small_for_float64_is_named() -> None:
    table = sensor_table(50)
    table.x_NI[:, 2] *= 1e-310
    with pytest.raises(LevshaError, match=r"own: column 'battery' varies by only .*e-31.; 1e-290 or more is needed"):
        Prepared(table, 0)


def test_a_class_has_its_name_and_logits_their_step() -> None:
    table = sensor_table(200)
    classes = replace(table, y_NO=(table.x_NI[:, 0] > 16_000).astype(np.int64), outputs=("low", "high"), output_unit="")
    prepared = Prepared(classes, 0)
    lowered, meaning = lower_net(build_mlp([5, 6, 2], "tanh", 0, prepared.x.constant_C), prepared)
    assert lowered.graph.outputs == ("class", "logits") and meaning.classes == {"class": ("low", "high")}
    assert isinstance(lowered.graph.ops[-1], Argmax) and isinstance(lowered.graph.ops[1], Dense)
    assert [q.step for q in meaning.quantities["logits"]] == [lowered.graph.values["logits"].step] * 2
