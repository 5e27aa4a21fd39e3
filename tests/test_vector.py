"""A line of integers into any net with one input, on this machine and on the chip: what is said is what the interpreter says."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from levsha.applications import APPLICATIONS, Application, Sensor, Vector
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning
from levsha.net import Net
from levsha.ops import Argmax, Dense, Requantize
from levsha.targets import TARGETS
from tests.test_sensor import random_lines, sensor_graph

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
INT8 = FORMATS["int8"]


def dense_graph(x: Value, outputs: int, name: str = "x", seed: int = 0) -> Graph:
    """A dense layer alone: its sums are the outputs, of 32 bits where the inputs are many."""
    weight_OI = np.random.default_rng(seed).choice(INT8.grid, (outputs, x.size))
    return Graph({name: x}, (Dense(name="logits", inputs=(name,), weight_OI=weight_OI, format=INT8),))


def channel_graph(shape: tuple[int, ...], ranges: list[tuple[int, int]], name: str = "image") -> Graph:
    """Each channel with a range and a multiplier of its own; the outputs are as many as the inputs."""
    x = Value(shape, min(lo for lo, _ in ranges), max(hi for _, hi in ranges), ranges=tuple(ranges))
    ones = np.arange(1, len(ranges) + 1)
    op = Requantize(
        name="y", inputs=(name,), multiplier_O=ones, bias_O=-ones, bias_shift=0, shift=0, rounding=0, lo=-30_000, hi=30_000
    )  # fmt: skip
    return Graph({name: x}, (op,))


NETS = {
    "bytes": dense_graph(Value((4,), 0, 255), 3),
    "int8": dense_graph(Value((5,), -128, 127), 2, "features"),
    "int16": dense_graph(Value((3,), -32768, 32767), 2, "input_1"),
    "one": dense_graph(Value((1,), -7, 300), 1),
    "picture": dense_graph(Value((28 * 28,), 0, 255), 4, "pixels"),
    "channels": channel_graph((2, 3, 3), [(0, 9), (-500, 1023), (7, 7)]),
    "elements": channel_graph((3,), [(-500, 1023), (0, 1), (7, 300)]),
    "sensor": sensor_graph(1),
}


def random_x(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    (x,) = graph.inputs.values()
    return np.random.default_rng(seed).integers(x.lows, x.highs, (count, *x.shape), endpoint=True)


def written(x: np.ndarray) -> list[str]:
    return [" ".join(map(str, row)) for row in x.reshape(len(x), -1)]


def deserved(graph: Graph, line: str) -> str:
    """What a line deserves, said independently of vector.h and vector.py; nothing where it is empty."""
    ((name, x),) = graph.inputs.items()
    words = re.split(r"[ ,;\t]+", line.strip(" ,;\t"))
    if words == [""]:
        return ""
    needs = f"? needs {x.size} integers" + ("" if x.ranges else f" in {x.lo}..{x.hi}")
    ranges = list(x.ranges or [(x.lo, x.hi)]) * (x.size if x.ranges is None else x.size // len(x.ranges))
    for k, word in enumerate(words):
        if not re.fullmatch(r"[+-]?[0-9]+", word) or k >= x.size:
            return needs
        if len(word) > 99 or not ranges[k][0] <= int(word) <= ranges[k][1]:
            return f"? number {k + 1}: {ranges[k][0]}..{ranges[k][1]}" if x.ranges else needs
    if len(words) < x.size:
        return needs
    x_1 = np.array([int(word) for word in words]).reshape(1, *x.shape)
    return " ".join(map(str, interpret(graph, {name: x_1})[graph.outputs[0]].ravel()))


def spoilt(graph: Graph) -> list[str]:
    """Lines that are too short, too long, out of range or garbage, and odd spellings of right ones."""
    (x,) = graph.inputs.values()
    good = written(random_x(graph, 3, seed=3))
    words = good[0].split()
    lines = [good[0], *(" ".join([*words[:k], bad, *words[k + 1 :]]) for k in {0, x.size // 2, x.size - 1} for bad in (
        str(x.hi + 1), str(x.lo - 1), "99999", "-99999", "9" * 30, "x", "1.5", "--1", "-", "+", "1e2", "3\b", "٣", f"{words[k]}x",
    ))]  # fmt: skip
    lines += [
        "",
        " \t ",
        " ".join(words[1:]),
        f"{good[0]} 1",
        f"{good[0]} {good[0]}",
        "?",
        ",,;",
        good[1].replace(" ", ",, ;\t"),
    ]
    lines += [
        f"  {good[2]}  ",
        f"{good[0]},",
        " ".join(f"000{word}" if word[0] != "-" else f"-00{word[1:]}" for word in words),
    ]
    return [*lines, "7 " * 5000, "7" * 9999, good[1]]


@pytest.mark.parametrize("net", NETS)
@ALL
def test_typed_lines_are_answered_as_expected(target, net: str, tmp_path: Path, need) -> None:
    need(target)
    graph = NETS[net]
    firmware = target.firmware(graph, Vector(), "test").built(tmp_path)
    lines = [*written(random_x(graph, 5)), *(spoilt(graph) if net != "picture" else spoilt(graph)[::5])]
    typed = firmware.type(lines)
    assert typed.answers == [deserved(graph, line) for line in lines]
    assert typed.answers == [firmware.application.expected(graph, line) for line in lines]
    right = [answer for answer in typed.answers if answer and not answer.startswith("?")]
    assert len(right) > 5 and len(set(right)) > 3
    if typed.outcome:
        assert compare(graph, typed.outcome).mismatches == 0 and len(
            typed.outcome.inputs[next(iter(graph.inputs))]
        ) == len(right)


@pytest.mark.parametrize("net", NETS)
def test_vectors_equal_the_interpreter(net: str, tmp_path: Path, need) -> None:
    need(TARGETS["uno"])
    graph = NETS[net]
    count = 5 if net == "picture" else 100
    inputs = {next(iter(graph.inputs)): random_x(graph, count, seed=1)}
    outcome = TARGETS["uno"].firmware(graph, Vector(), "test").built(tmp_path).vectors(inputs)
    comparison = compare(graph, outcome, inputs)
    assert (comparison.vectors, comparison.mismatches, comparison.example) == (count, 0, "")


def test_a_line_of_numbers_may_be_as_long_as_the_memory(tmp_path: Path, need) -> None:
    """The line that wakes the firmware for a vector has to hold 784 numbers of six characters."""
    need(TARGETS["uno"])
    graph = dense_graph(Value((784,), -32768, -10_000), 1)
    x = random_x(graph, 2)
    assert len(Vector().wake(graph)) > 5000
    outcome = TARGETS["uno"].firmware(graph, Vector(), "test").built(tmp_path).vectors({"x": x})
    assert compare(graph, outcome, {"x": x}).mismatches == 0


@ALL
def test_any_line_deserves_its_answer(target, tmp_path: Path, need) -> None:
    need(target)
    graph = NETS["sensor"]
    firmware = target.firmware(graph, Vector(), "test").built(tmp_path)
    lines = random_lines(60, 9)
    assert firmware.type(lines).answers == [deserved(graph, line) for line in lines]


@ALL
def test_names_of_classes_come_out(target, tmp_path: Path, need) -> None:
    need(target)
    base = dense_graph(Value((4,), -128, 127), 3)
    graph = Graph(base.inputs, (*base.ops, Argmax(name="class", inputs=("logits",))), ("class", "logits"))
    meaning = Meaning("Shapes.", {}, {"class": ("round", 'odd "\\ ??/ name', "ünï")})
    firmware = target.firmware(graph, Vector(meaning), "test", meaning).built(tmp_path)
    x = random_x(graph, 30)
    said = firmware.type(written(x)).answers
    assert (
        said == [meaning.classes["class"][k] for k in interpret(graph, {"x": x})["class"][:, 0]] and len(set(said)) == 3
    )


def test_a_vector_of_more_than_65535_elements(tmp_path: Path, need) -> None:
    """Where a place takes more than 16 bits to say."""
    need(TARGETS["host"])
    graph = channel_graph((40_000, 2), [(0, 9), (1, 8)])
    firmware = TARGETS["host"].firmware(graph, Vector(), "test").built(tmp_path)
    x = random_x(graph, 1)
    (line,) = written(x)
    words = line.split()
    lines = [line, " ".join(words[:-1]), " ".join([*words[:-1], "9"]), " ".join([*words[:-2], "x", "1"])]
    assert firmware.type(lines).answers == [deserved(graph, line) for line in lines]
    assert deserved(graph, lines[2]) == "? number 80000: 1..8"


def test_a_sensor_is_a_vector_whose_readings_have_names(tmp_path: Path, need) -> None:
    need(TARGETS["uno"])
    size = {}
    for application in (Sensor(), Vector()):
        firmware = TARGETS["uno"].firmware(NETS["sensor"], application, "test").built(tmp_path / application.name)
        size[application.name] = firmware.sizes
        line = written(random_x(NETS["sensor"], 1))[0]
        assert firmware.type([line]).answers == [deserved(NETS["sensor"], line)]
    assert size["sensor"] == size["vector"], "where one range is enough, both are the same C"


def test_one_range_takes_no_table(tmp_path: Path, need) -> None:
    """784 pixels cost hardly more than 4: no table of ranges or names, and 16 bits to say where 32 are not needed."""
    need(TARGETS["uno"])

    def flash(graph: Graph) -> int:
        sizes = (
            TARGETS["uno"].firmware(graph, Vector(), "test").built(tmp_path / str(graph.outputs) / str(id(graph))).sizes
        )
        return (sizes.flash_bytes or 0) - sum(op.weight_OI.size for op in graph.ops if isinstance(op, Dense))

    small, large = dense_graph(Value((4,), 0, 255), 8), dense_graph(Value((784,), 0, 255), 8)
    assert flash(large) - flash(small) < 400


def test_a_sketch_of_a_vector(tmp_path: Path, need) -> None:
    need(TARGETS["uno"])
    firmware = TARGETS["uno"].firmware(NETS["bytes"], Vector(), "test").built(tmp_path / "build")
    firmware.save(tmp_path / "small")
    ino = (tmp_path / "small" / "small" / "small.ino").read_text()
    assert "Type 4 integers in 0..255, separated by spaces or commas" in ino and "vector_turn();" in ino
    assert (tmp_path / "small" / "small" / "vector.h").exists()
    names = subprocess.run(
        ["avr-nm", str(firmware.built_image)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"malloc", "free", "__mulsf3", "printf", "__do_copy_data"} & set(names)


def test_a_net_file_keeps_the_application(tmp_path: Path) -> None:
    meaning = Meaning("A net.", {}, {})
    Net(NETS["bytes"], meaning, Vector(meaning), "t").save(tmp_path / "a.safetensors", {})
    found = Net.load(tmp_path / "a.safetensors").application
    assert found == Vector(meaning) and APPLICATIONS["vector"] is Vector


@pytest.mark.parametrize(
    ("graph", "application", "text"),
    [
        (
            Graph({"a": Value((2,), 0, 9), "b": Value((2,), 0, 9)}, dense_graph(Value((2,), 0, 9), 1, "a").ops), Vector(),
            "vector: the graph reads a, b; a line of integers fills one input",
        ),
        (dense_graph(Value((2,), 0, 40_000), 1), Vector(), r"vector: 'x' can be 0..40000; a line holds integers of -32768..32767"),
        (dense_graph(Value((2,), 0, 9), 1, "input.1"), Vector(), "C: a value is called 'input.1'; a C identifier that is no keyword is needed"),
        (
            dense_graph(Value((2,), 0, 9), 1), Vector(Meaning("", {}, {"logits": ("no", "yes")})),
            r"vector: 'logits' can be .* it has 2 names of classes",
        ),
    ],
)  # fmt: skip
def test_graphs_that_are_refused(graph: Graph, application: Application, text: str) -> None:
    with pytest.raises(LevshaError, match=text):
        application.header(graph)
