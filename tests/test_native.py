"""The library that a net is compiled to on this machine: every op, format and instruction set against the interpreter, and its life around."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.errors import LevshaError, LevshaWarning
from levsha.files import cache_folder
from levsha.interpret import interpret
from levsha.ir import Graph, count_macs
from levsha.net import Net
from levsha.ops import OPS
from levsha.targets import TARGETS
from levsha.targets.native import INSTRUCTIONS, VARIABLE, Library, compiled
from levsha.targets.native.compiler import loaded, machine
from levsha.targets.native.text import library_text
from tests.library import chat_net
from tests.test_exact import EXAMPLES, inputs_of

HERE = [name for name, one in INSTRUCTIONS.items() if one.found(machine())]


def libraries(graphs: list[Graph], instructions: str) -> list[Library]:
    """Compile many graphs as one library."""
    texts = [library_text(graph, INSTRUCTIONS[instructions], f"n{k}") for k, graph in enumerate(graphs)]
    library = loaded("\n".join(texts))
    return [Library(graph, instructions, library, f"n{k}") for k, graph in enumerate(graphs)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need) -> None:
    need(TARGETS["host"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("instructions", HERE)
@pytest.mark.parametrize("op", OPS)
def test_every_op_equals_the_interpreter(op: str, instructions: str) -> None:
    graphs: list[Any] = [example.values[0] for example in EXAMPLES if str(example.id).rpartition("-")[0] == op]
    for graph, library in zip(graphs, libraries(graphs, instructions), strict=True):
        inputs = inputs_of(graph, 8)
        found, want = library.run(inputs), interpret(graph, inputs)
        assert found is not None
        for name in graph.outputs:
            np.testing.assert_array_equal(found[name], want[name])


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
    with pytest.raises(LevshaError, match="'sse9'; off, or one of"):
        chat_net().compile()
