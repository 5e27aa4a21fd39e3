"""The library that a net is compiled to on this machine: every op, format and instruction set against the interpreter, and its life around."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.images_exact import mismatches, nets
from benchmarks.images_tools import small_cnn
from levsha.applications import Bare
from levsha.errors import LevshaError, LevshaWarning
from levsha.files import cache_folder
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import C_TYPES, Graph, Value, count_macs
from levsha.meaning import Layout, Meaning, Quantity
from levsha.net import Net
from levsha.ops import OPS, Argmax, Dense
from levsha.targets import TARGETS
from levsha.targets.native import INSTRUCTIONS, VARIABLE, Library, compiled
from levsha.targets.native.compiler import loaded, machine
from levsha.targets.native.instructions import found_on, kernels_of
from levsha.targets.native.text import library_text
from tests.library import chat_net
from tests.test_exact import EXAMPLES, always, inputs_of
from tests.test_fused import Chain, cases

HERE = found_on(machine())


def agree(graphs: dict[str, Graph], instructions: str) -> None:
    """Compile graphs as one library, every kernel forced on all that it takes, and compare all outputs of some rows with the interpreter."""
    vectors = INSTRUCTIONS[instructions]
    forced = [always(kernel) for kernel in kernels_of(vectors)]
    texts = [library_text(graph, vectors, f"n{k}", forced) for k, graph in enumerate(graphs.values())]
    # as nets are compiled, but for what is not used here, of which the text alone is in question
    library = loaded("\n".join(texts), "-O3" if instructions == HERE[0] else "-O1")
    for k, (label, graph) in enumerate(graphs.items()):
        inputs = inputs_of(graph, 8)
        found, want = Library(graph, instructions, library, f"n{k}").run(inputs), interpret(graph, inputs)
        assert found is not None, label
        for name in graph.outputs:
            np.testing.assert_array_equal(found[name], want[name], err_msg=label)


def examples(*ops: str) -> dict[str, Graph]:
    named: dict[str, Any] = {str(example.id): example.values[0] for example in EXAMPLES}
    return {name: graph for name, graph in named.items() if name.rpartition("-")[0] in ops}


def random_chain(rng: np.random.Generator) -> Graph:
    """A convolution of any geometry, and what may follow it."""

    def draw(lo: int, hi: int) -> int:
        return int(rng.integers(lo, hi, endpoint=True))

    def some(values: Sequence[Any]) -> Any:
        return values[draw(0, len(values) - 1)]

    groups = some((1, 1, 2, 3))
    channels = groups * draw(1, 9)
    if draw(0, 3) == 0:
        groups = channels
    kernel, dilations = (draw(1, 3), draw(1, 4)), (draw(1, 2), draw(1, 2))
    pads = some(((0, 0, 0, 0), tuple(draw(0, 2) for _ in range(4))))
    x_type = some(("uint8_t", "int8_t", "int16_t"))
    outputs = groups if groups == channels else groups * draw(1, 24)
    more = {"groups": groups, "pads": pads, "dilations": dilations, "strides": (draw(1, 2), draw(1, 3))}
    if any(pads) and draw(0, 1):
        more["pad_I"] = rng.integers(*C_TYPES[x_type][:2], channels)
    small = x_type == "int16_t"
    weights = some([name for name in FORMATS if not (small and name == "int16")])
    chain = Chain((draw(7, 12), draw(9, 14), channels), x_type).conv(weights, outputs, kernel, **more)
    if draw(0, 4) and chain.value.lo < chain.value.hi:
        chain.requantize(*some(((0, 255), (-128, 127), (0, 100))), falling=draw(0, 1) == 0, one=draw(0, 3) == 0)
    value = chain.value
    if value.lo >= 0 and value.hi <= 255 and draw(0, 1):
        chain.lookup(*some(((0, 255), (-128, 127), (-32768, 32767))), rising=bool(draw(0, 2)))
    rows, columns, _ = chain.value.shape
    if draw(0, 1) and rows > 3 and columns > 3:
        chain.pool(kernel=(draw(1, 3), draw(1, 3)), strides=(3, 3))
    return chain.graph


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need) -> None:
    need(TARGETS["host"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.parametrize("ops", [("Conv",), ("Dense",)], ids="-".join)
def test_what_has_kernels_equals_the_interpreter(ops: tuple[str, ...], instructions: str) -> None:
    agree(examples(*ops), instructions)


@pytest.mark.parametrize("instructions", HERE[:1])
def test_every_other_op_equals_the_interpreter(instructions: str) -> None:
    agree(examples(*(op for op in OPS if op not in ("Conv", "Dense"))), instructions)


@pytest.mark.parametrize("instructions", HERE)
def test_what_is_computed_together_equals_the_interpreter(instructions: str) -> None:
    """Requantised, looked up and pooled window by window; more outputs than fit a vector; bytes whose products do not fit 16 bits."""
    graphs = {name: chain.graph for name, chain in cases().items()}
    for count, x_type, outputs in ((1, "uint8_t", 33), (70, "int8_t", 17), (259, "uint8_t", 8), (64, "int16_t", 65)):
        weight_OI = np.where(np.arange(outputs * count).reshape(outputs, count) % 5, 127, -127)
        dense = Dense(name="y", inputs=("x",), weight_OI=weight_OI, format=FORMATS["int8"])
        graphs[f"{count} {x_type} to {outputs}"] = Graph({"x": Value((count,), *C_TYPES[x_type][:2])}, (dense,))
    agree(graphs, instructions)


@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.campaign
def test_random_convolutions_equal_the_interpreter(instructions: str) -> None:
    for seed in range(12):
        agree({f"{seed} {k}": random_chain(np.random.default_rng([seed, k])) for k in range(24)}, instructions)


def _chat_inputs(count: int) -> tuple[Net, dict[str, np.ndarray]]:
    net = chat_net()
    return net, inputs_of(net.graph, count)


def test_several_inputs_of_any_integer_type_on_any_number_of_threads() -> None:
    net, inputs = _chat_inputs(37)
    want = interpret(net.graph, inputs)
    assert net.compile() == HERE[0]
    for kind in (np.int64, np.int32, np.uint8):
        for threads in (1, 3, 64):
            found = net.run({name: x.astype(kind) for name, x in inputs.items()}, threads=threads)
            assert {name: y.dtype for name, y in found.items()} == dict.fromkeys(net.graph.outputs, np.dtype(np.int64))
            for name in net.graph.outputs:
                np.testing.assert_array_equal(found[name], want[name])


def test_a_net_is_compiled_once_it_has_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    net, inputs = _chat_inputs(16)
    calls = []
    monkeypatch.setattr("levsha.net.interpret", lambda *given: calls.append(1) or interpret(*given))
    monkeypatch.setattr(
        compiled, "ENOUGH", 40 * (count_macs(net.graph) + sum(v.size for v in net.graph.values.values()))
    )
    for _ in range(4):
        net.run(inputs)
    assert len(calls) == 2
    cached = list(cache_folder().glob("native/*.so"))
    assert len(cached) == 1
    made = cached[0].stat().st_mtime_ns
    again = Net(replace(net.graph), net.meaning, net.application, net.title)
    assert again.compile() == HERE[0] and cached[0].stat().st_mtime_ns == made


@pytest.mark.parametrize("wrong", [-1, 256])
def test_a_compiled_net_says_what_is_wrong_with_integers_as_the_interpreter_does(wrong: int) -> None:
    net, inputs = _chat_inputs(5)
    net.compile()
    inputs["query"][3, 7] = wrong
    with pytest.raises(LevshaError, match=rf"'query' holds {wrong} at \[3, 7\]"):
        net.run(inputs)
    assert net.run({name: x[:3] for name, x in inputs.items()})


def test_a_damaged_library_is_made_anew() -> None:
    net, inputs = _chat_inputs(5)
    net.compile()
    (kept,) = cache_folder().glob("native/*.so")
    kept.unlink()  # a library that is in use must not be overwritten
    kept.write_bytes(b"no library")
    again = Net(replace(net.graph), net.meaning, net.application, net.title)
    assert again.compile() == HERE[0] and again.run(inputs)


def test_without_a_compiler_the_interpreter_runs_and_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, inputs = _chat_inputs(5)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(compiled, "_said", set())
    monkeypatch.setattr(compiled, "machine", machine.__wrapped__)
    with pytest.warns(LevshaWarning, match="no gcc") as said:
        assert net.compile() == "off"
        assert chat_net(seed=1).compile() == "off"
    assert len(said) == 1
    np.testing.assert_array_equal(net.run(inputs)["logits"], interpret(net.graph, inputs)["logits"])


def test_the_variable_names_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("off", "portable"):
        monkeypatch.setenv(VARIABLE, name)
        assert chat_net().compile() == name
    monkeypatch.setenv(VARIABLE, "sse9")
    with pytest.raises(LevshaError, match="'sse9', which nobody knows; allowed here: off, "):
        chat_net().compile()


def reals_net() -> Net:
    """Three channels, the last axis in memory and the first in the model; steps by channel, by element and for all; classes too."""
    rng = np.random.default_rng(4)
    chain = Chain((4, 5, 3)).conv("int8", 6, (2, 2)).requantize(-127, 127)
    last = chain.ops[-1].name
    graph = Graph(chain.graph.inputs, (*chain.ops, Argmax(name="best", inputs=(last,))), (last, "best"))
    steps = tuple(Quantity(f"c{k}", "", 0.1 + 0.03 * k, -3.0 + k) for k in range(3))
    said = tuple(Quantity(f"e{k}", "", float(step), 0.5) for k, step in enumerate(rng.random(72) + 0.1))
    layouts = {"x": Layout((3, 4, 5), (1, 2, 0)), last: Layout((6, 3, 4), (1, 2, 0))}
    return Net(graph, Meaning("", {"x": steps, last: said}, layouts=layouts), Bare(), "reals")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int16, np.float16])
def test_a_compiled_net_takes_real_numbers_as_one_that_is_interpreted(kind: type) -> None:
    net, rng = reals_net(), np.random.default_rng(3)
    x = (rng.random((9, 3, 4, 5)) * 40 - (0 if kind is np.uint8 else 9)).astype(kind)
    x[0] = np.rint(x[0]) + (0.5 if np.dtype(kind).kind == "f" else 0)
    want = net(x), net(x[2])
    assert net.compile() == HERE[0]
    for found, wanted in zip((net(x), net(x[2])), want, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    assert pickle.loads(pickle.dumps(net))(x).tolist() == want[0].tolist()


def test_what_real_numbers_a_compiled_net_refuses_and_which_it_clips() -> None:
    net = reals_net()
    net.compile()
    x = np.zeros((2, 3, 4, 5))
    for wrong in (np.nan, np.inf):
        x[1, 2, 3, 4] = wrong
        with pytest.raises(LevshaError, match="x holds NaN or infinity"):
            net(x)
    with pytest.raises(LevshaError, match=r"the input has shape \(2, 3, 5, 4\)"):
        net(np.zeros((2, 3, 5, 4)))
    for far in (1e6, 1e30):
        for sign in (1, -1):
            x[1] = sign * far
            inside = net.meaning.to_real("x", net.integers("x", x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(net(x), net(inside))
            assert (net.integers("x", x.transpose(0, 2, 3, 1))[1] == (255 if sign > 0 else 0)).all()


@pytest.mark.parametrize(
    "formats", [["ternary"], pytest.param(list(FORMATS), marks=pytest.mark.campaign)], ids=["one", "all"]
)
def test_every_engine_agrees_on_digits(formats: list[str]) -> None:
    pytest.importorskip("sklearn")
    for net, integers in nets("digits", formats, model=small_cnn, batches=10):
        found = mismatches(net, integers)
        assert set(HERE) < set(found) and not any(found.values()), (net.title, found)


@pytest.mark.campaign
@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_every_engine_agrees_on_all_images(data: str) -> None:
    for net, integers in nets(data, list(FORMATS)):
        found = mismatches(net, integers)
        assert len(integers) == 10_000 and not any(found.values()), (net.title, found)
