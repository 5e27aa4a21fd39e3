"""A sensor model on a simulated Arduino UNO: vectors, typed lines, whatever else may be typed, and the sketch."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from levsha.applications import Sensor
from levsha.arith import half
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning, Quantity
from levsha.ops import Argmax, Dense, Lookup, Requantize
from levsha.targets import TARGETS, Firmware, Outcome

UNO = TARGETS["uno"]
APART = [(-500, 1023), (0, 1), (7, 300)]  # readings of different ranges
NAMES = Meaning("Three readings.", {"readings": (Quantity("sun", "W"), Quantity("door"), Quantity('odd "*/\\ name'))})
CORE = Path("/usr/share/arduino/hardware/arduino/avr")
CHIP = ["-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10607", "-DARDUINO_AVR_UNO", "-DARDUINO_ARCH_AVR", "-Os"]
LO, HI = -500, 1023


def requantize(name: str, source: str, reach: int, size: int, rng: np.random.Generator, lo: int, hi: int) -> Requantize:
    """A multiplier of its own for each channel, such that most of -reach..reach lands in lo..hi."""
    shift = 14
    multiplier = (rng.uniform(0.6, 1.4, size) * (hi - lo) / (2 * reach) * (1 << shift)).astype(int) + 1
    bias = rng.integers(-9, 9, size) + (lo + hi) // 2
    return Requantize(
        name=name, inputs=(source,), multiplier_O=multiplier, bias_O=bias, bias_shift=shift, shift=shift,
        rounding=half(shift), lo=lo, hi=hi,
    )  # fmt: skip


def sensor_graph(
    seed: int,
    sizes: tuple[int, int, int] = (3, 5, 2),
    readings: tuple[int, int] = (LO, HI),
    ranges: list[tuple[int, int]] | None = None,
) -> Graph:
    """Readings to int8, dense, a curve from a table, dense, and outputs of int16."""
    rng, grid = np.random.default_rng(seed), FORMATS["int8"].grid
    inputs, hidden, outputs = sizes
    curve = np.round(127 * np.tanh(np.linspace(-3, 3, 256))).astype(int)
    weights = [rng.choice(grid, shape) for shape in ((hidden, inputs), (outputs, hidden))]
    ops = (
        requantize("scaled", "readings", max(map(abs, readings)), inputs, rng, -128, 127),
        Dense(name="fc1", inputs=("scaled",), weight_OI=weights[0], format=FORMATS["int8"]),
        requantize("index", "fc1", 12_000 * inputs, hidden, rng, 0, 255),
        Lookup(name="act", inputs=("index",), table=curve),
        Dense(name="fc2", inputs=("act",), weight_OI=weights[1], format=FORMATS["int8"]),
        requantize("answer", "fc2", 9_000 * hidden, outputs, rng, -3000, 3000),
    )
    return Graph({"readings": Value.of_ranges(ranges) if ranges else Value((inputs,), *readings)}, ops)


def random_readings(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    value = graph.inputs["readings"]
    x = np.random.default_rng(seed).integers(value.lows, value.highs, (count, value.size), endpoint=True)
    x[0], x[1] = value.lows, value.highs
    return x


def answers(graph: Graph, readings: np.ndarray) -> list[str]:
    return [" ".join(map(str, y)) for y in interpret(graph, {"readings": readings})[graph.outputs[0]].tolist()]


def needs(graph: Graph) -> str:
    value = graph.inputs["readings"]
    return f"? needs {value.size} integers" + ("" if value.ranges else f" in {value.lo}..{value.hi}")


def expected(graph: Graph, line: str) -> str:
    """What a line deserves, said independently of vector.h and vector.py; nothing where it is empty."""
    value = graph.inputs["readings"]
    words = re.split(r"[ ,;\t]+", line.strip(" ,;\t"))
    if words == [""]:
        return ""
    whole = [re.fullmatch(r"[+-]?[0-9]+", word) for word in words]
    ranges = value.ranges or [(value.lo, value.hi)] * value.size
    for k, word in enumerate(words):
        if not whole[k] or k >= value.size:
            return needs(graph)
        if len(word) > 99 or not ranges[k][0] <= int(word) <= ranges[k][1]:
            shown = ["sun", "door", 'odd "*/\\ name'][k] if value.ranges else ""
            return f"? {shown}: {ranges[k][0]}..{ranges[k][1]}" if value.ranges else needs(graph)
    return answers(graph, np.array([[int(word) for word in words]]))[0] if len(words) == value.size else needs(graph)


def typed(firmware: Firmware, lines: list[str]) -> tuple[Outcome, list[str]]:
    """Type lines; every answer must be the application's own expectation."""
    result = firmware.type(lines)
    assert result.answers == [firmware.application.expected(firmware.graph, line) for line in lines]
    assert result.outcome
    return result.outcome, result.answers


@pytest.fixture(scope="module")
def graph() -> Graph:
    return sensor_graph(0)


@pytest.fixture(scope="module")
def firmware(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    if UNO.missing():
        pytest.skip(UNO.missing())  # test_uno.py fails in CI where it is missing
    return UNO.firmware(graph, Sensor(), "test").built(tmp_path_factory.mktemp("sensor"))


@pytest.mark.parametrize(
    ("seed", "sizes", "readings"),
    [(1, (3, 5, 2), (LO, HI)), (2, (12, 24, 1), (0, 1023)), (3, (1, 1, 1), (-32768, 32767)), (4, (4, 7, 3), (5, 90))],
)
def test_vectors_and_typed_lines_equal_the_interpreter(seed: int, sizes, readings, tmp_path: Path, need) -> None:
    need(UNO)
    net = sensor_graph(seed, sizes, readings)
    x = random_readings(net, 300, seed)
    firmware = UNO.firmware(net, Sensor(), "test").built(tmp_path)
    outcome = UNO.firmware(net, Sensor(), "test").at(firmware.built_image).vectors({"readings": x})
    comparison = compare(net, outcome, {"readings": x})
    assert (comparison.vectors, comparison.mismatches, comparison.example) == (300, 0, "")
    assert outcome.cycles is not None and (outcome.cycles > 300).all()
    assert len(np.unique(outcome.outputs["answer"])) > 20, "a net that hardly answers tests little"
    asked, said = typed(firmware, [" ".join(map(str, row)) for row in x[:30]])
    assert said == answers(net, x[:30])
    np.testing.assert_array_equal(asked.inputs["readings"], x[:30])
    assert (firmware.sizes.static_bytes or 0) + (asked.stack_bytes or 0) < 2048


@pytest.mark.parametrize(
    "line",
    [
        "1,2,3", "1;2;3", "1\t2\t3", "  1   2   3  ", "1, 2; 3,", ",,1,,2 ,3;", "1 2 3\r", "-500 -1 1023", "+1 -0 +3",
        "0000000000000000000000001 2 3", "-00000000500 2 3",
    ],
)  # fmt: skip
def test_spellings_of_readings(firmware: Firmware, graph: Graph, line: str) -> None:
    numbers = [int(word) for word in re.findall(r"[-+0-9]+", line)]
    outcome, said = typed(firmware, [line, "4 5 6"])
    assert said == answers(graph, np.array([numbers, [4, 5, 6]]))
    assert outcome.inputs["readings"].tolist() == [numbers, [4, 5, 6]]


@pytest.mark.parametrize(
    "line",
    [
        "1 2", "1 2 3 4", "x", "1 2 x", "1 2 3x", "x1 2 3", "1.5 2 3", "1e2 2 3", "1 2 3 ?", "- 1 2", "1 2 -", "--1 2 3", "1-2 3 4",
        "5- 2 3", "1 2 3 -", "-501 2 3", "1 2 1024", "32769 2 3", "65537 2 3", "65536 65536 65536", "4294967297 2 3",
        "99999999999999999999 2 3", "1 2 3\b", "\x01", "1 2 ٣", "7 " * 5000, "7" * 9999 + " 2 3",
    ],
)  # fmt: skip
def test_what_is_no_list_of_readings_is_refused(firmware: Firmware, graph: Graph, line: str) -> None:
    outcome, said = typed(firmware, [line, "4 5 6"])
    assert said == ["? needs 3 integers in -500..1023", *answers(graph, np.array([[4, 5, 6]]))]
    assert outcome.inputs["readings"].tolist() == [[4, 5, 6]], "the net ran on what was refused"


def test_only_refusals_are_an_outcome_too(firmware: Firmware) -> None:
    outcome, said = typed(firmware, ["1", "2 2"])
    assert said == ["? needs 3 integers in -500..1023"] * 2 and outcome.inputs["readings"].shape == (0, 3)


def test_empty_lines_are_ignored_and_crlf_is_one_end(firmware: Firmware, graph: Graph) -> None:
    outcome, said = typed(firmware, ["", " \t ", "1 2 3", "", "4 5 6", "7 8", "7 8 9"])
    want = answers(graph, np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))
    assert said == ["", "", want[0], "", want[1], needs(graph), want[2]]
    with_cr = firmware.type(["\r", "1 2 3\r", "\r", "4 5 6\r"])
    assert [answer for answer in with_cr.answers if answer] == want[:2] and with_cr.outcome
    assert len(outcome.inputs["readings"]) == 3 and len(with_cr.outcome.inputs["readings"]) == 2


def random_lines(count: int, seed: int) -> list[str]:
    """One half nearly right, words and separators; the other half any characters that matter."""
    rng = np.random.default_rng(seed)
    words = ["0", "7", "-2", "+30", "999", "1023", "-500", "-0", "007"] * 3
    words += ["1024", "-501", "x", "1.5", "--1", "-", ""]
    gaps = [" ", " ", ",", ";", "\t", "  ", ", ", ""]
    near = [
        "".join(rng.choice(words) + rng.choice(gaps[: 7 + (i % 4 == 0)]) for _ in range(rng.choice([2, 3, 3, 3, 3, 4])))
        for i in range(count)
    ]
    far = ["".join(rng.choice(list("0123456789 ,;\t-+.x\b"), rng.integers(0, 40))) for _ in range(count)]
    return near + far


def test_any_line_deserves_its_answer(firmware: Firmware, graph: Graph) -> None:
    lines = random_lines(100, 5)
    outcome, said = typed(firmware, lines)
    assert said == [expected(graph, line) for line in lines]
    assert compare(graph, outcome).mismatches == 0 and 20 < len(outcome.inputs["readings"]) < 150


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_readings_of_different_ranges_are_refused_each_by_its_own(target, tmp_path: Path, need) -> None:
    need(target)
    net = sensor_graph(5, ranges=APART)
    firmware = target.firmware(net, Sensor(NAMES), "test", NAMES).built(tmp_path)
    lines = [
        "0 0 7", "1023 1 300", "1024 0 7", "0 2 7", "0 -1 7", "0 1 6", "0 1 301", "0 2 99999", "9999 2 x", "0 1", "0 1 7 8", "",
        *random_lines(40, 7), "5 1 100",
    ]  # fmt: skip
    result = firmware.type(lines)
    assert result.answers == [expected(net, line) for line in lines]
    assert result.answers == [firmware.application.expected(net, line) for line in lines]
    assert result.answers[2:5] == ["? sun: -500..1023", "? door: 0..1", "? door: 0..1"]
    assert result.answers[5] == '? odd "*/\\ name: 7..300'


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_names_of_classes_come_out(target, tmp_path: Path, need) -> None:
    need(target)
    base = sensor_graph(6, (3, 5, 3))
    net = Graph(base.inputs, (*base.ops, Argmax(name="class", inputs=("answer",))), ("class", "answer"))
    meaning = Meaning("Gestures.", {}, {"class": ("still", "wave", "shake ✓")})
    firmware = target.firmware(net, Sensor(meaning), "test", meaning).built(tmp_path)
    lines = [" ".join(map(str, row)) for row in random_readings(net, 40)]
    said = firmware.type(lines).answers
    names = interpret(net, {"readings": random_readings(net, 40)})["class"][:, 0]
    assert said == [meaning.classes["class"][k] for k in names] and len(set(said)) > 1


def test_the_conversation_is_portable_c(graph: Graph, tmp_path: Path, need) -> None:
    """The same headers on this machine, with every warning and the sanitizer, over lines of every kind."""
    need(TARGETS["host"])
    image = TARGETS["host"].firmware(graph, Sensor(), "test").built(tmp_path).built_image
    lines = [*random_lines(1000, 6), "1\0002 3", "\0", "1 2 3\x7f", "1 " * (65_536 + 3)]
    text = "".join(line + ("\n", "\r", "\r\n")[i % 3] for i, line in enumerate(lines))
    done = subprocess.run([image], input=text.encode(), capture_output=True, check=True)
    want = [answer for answer in (expected(graph, line) for line in lines) if answer]
    assert done.stdout.decode().replace("\x01", "") == "".join(f"> {answer}\r\n" for answer in want) + "> "


def test_a_graph_that_is_no_sensor_model_is_named() -> None:
    double = Requantize(
        name="y", inputs=("x",), multiplier_O=np.array([2]), bias_O=np.array([0]), bias_shift=0, shift=0, rounding=0,
        lo=-70_000, hi=70_000,
    )  # fmt: skip
    with pytest.raises(LevshaError, match="reads x; a sensor model reads one input, called 'readings'"):
        Sensor().header(Graph({"x": Value((2,), 0, 9)}, (double,)))
    renamed = Requantize(**{**vars(double), "inputs": ("readings",)})
    with pytest.raises(LevshaError, match=r"'readings' can be 0..40000; a line holds integers of -32768..32767"):
        Sensor().header(Graph({"readings": Value((2,), 0, 40_000)}, (renamed,)))
    with pytest.raises(LevshaError, match=r"'y' can be 0..40000"):
        Sensor().header(Graph({"readings": Value((2,), 0, 20_000)}, (renamed,)))


def test_files_a_user_takes_away(firmware: Firmware, tmp_path: Path) -> None:
    meaning = Meaning("Three readings: /* odd */ ones.")
    own = UNO.firmware(firmware.graph, Sensor(meaning), "test", meaning).at(firmware.built_image)
    own.save(tmp_path / "small-int8")
    names = {str(p.relative_to(tmp_path / "small-int8")) for p in tmp_path.rglob("*") if p.is_file()}
    sketch, headers = "small_int8", {"net.h", "mark.h", "sensor.h", "serial.h"}
    assert names == {
        "firmware.elf", "firmware.hex", "firmware.c", "firmware.json", *headers,
        f"{sketch}/{sketch}.ino", *(f"{sketch}/{name}" for name in headers),
    }  # fmt: skip
    top = (tmp_path / "small-int8" / sketch / f"{sketch}.ino").read_text().split("#include")[0]
    assert top.startswith("/* test: sensor\n   Three readings: / * odd * / ones.\n   Type 3 integers in")


def test_no_float_no_malloc_no_text_in_sram(firmware: Firmware) -> None:
    names = subprocess.run(
        ["avr-nm", str(firmware.built_image)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"malloc", "free", "__mulsf3", "__addsf3", "__divsf3", "printf", "__do_copy_data"} & set(names)


def compile_sketch(folder: Path, ino: str, warnings: list[str]) -> None:
    """Compile a sketch as the IDE does, behind Arduino.h, with all warnings as errors but those that are switched off."""
    if not CORE.exists():
        assert not os.environ.get("CI"), "arduino-core-avr is not installed"
        pytest.skip("arduino-core-avr is not installed")
    (folder / "sketch.cpp").write_text(f"#include <Arduino.h>\n{ino}")
    core = [f"-I{CORE / 'cores' / 'arduino'}", f"-I{CORE / 'variants' / 'standard'}"]
    cpp = ["avr-g++", *CHIP, *core, "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*cpp, *warnings, "-c", "sketch.cpp", "-o", "sketch.o"], cwd=folder, check=True)


@pytest.mark.parametrize("reads_pins", [False, True])
def test_sketch_compiles_against_the_real_arduino_core(graph: Graph, reads_pins: bool, tmp_path: Path, need) -> None:
    """As the IDE does: the .ino becomes C++ with Arduino.h in front; also with the loop that its comment offers."""
    need(UNO)
    meaning = Meaning("/* three */ readings")
    UNO.firmware(graph, Sensor(meaning), "test", meaning).built(tmp_path / "build").save(tmp_path / "sensor")
    tmp_path = tmp_path / "sensor" / "sensor"
    ino = (tmp_path / "sensor.ino").read_text()
    if reads_pins:
        first, _, rest = ino.partition("void loop()")
        ino = first + "void loop()" + rest.partition("void loop()")[2].removesuffix("*/\n")
        assert "analogRead" in ino
    compile_sketch(tmp_path, ino, ["-Wno-unused-function"] if reads_pins else [])
