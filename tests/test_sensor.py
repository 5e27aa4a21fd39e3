"""A sensor model on a simulated Arduino UNO: vectors, typed lines, whatever else may be typed, and the sketch."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from levsha.arith import half
from levsha.emit.sensor import needs, sensor_files
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.ops import Dense, Lookup, Requantize
from levsha.targets import TARGETS
from levsha.targets.host import FLAGS
from levsha.targets.uno.sensor import ask_sensor, build_sensor, load_sensor, save_sensor, sensor_sketch
from levsha.targets.uno.target import Firmware

UNO = TARGETS["uno"]
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


def sensor_graph(seed: int, sizes: tuple[int, int, int] = (3, 5, 2), readings: tuple[int, int] = (LO, HI)) -> Graph:
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
    return Graph({"readings": Value((inputs,), *readings)}, ops)


def random_readings(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    value = graph.inputs["readings"]
    x = np.random.default_rng(seed).integers(value.lo, value.hi, (count, value.size), endpoint=True)
    x[0], x[1] = value.lo, value.hi
    return x


def answers(graph: Graph, readings: np.ndarray) -> list[str]:
    return [" ".join(map(str, y)) for y in interpret(graph, {"readings": readings})[graph.outputs[0]].tolist()]


def expected(graph: Graph, line: str) -> str | None:
    """What a line deserves, said independently of sensor.h; None: it is empty."""
    value = graph.inputs["readings"]
    words = re.split(r"[ ,;\t]+", line.strip(" ,;\t"))
    if words == [""]:
        return None
    if len(words) == value.size and all(re.fullmatch(r"[+-]?[0-9]+", word) for word in words):
        numbers = [int(word) for word in words]
        if min(numbers) >= value.lo and max(numbers) <= value.hi:
            return answers(graph, np.array([numbers]))[0]
    return needs(value)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return sensor_graph(0)


@pytest.fixture(scope="module")
def firmware(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    if UNO.missing():
        pytest.skip(UNO.missing())  # test_uno.py fails in CI where it is missing
    return build_sensor(graph, "test", tmp_path_factory.mktemp("sensor"))


@pytest.mark.parametrize(
    ("seed", "sizes", "readings"),
    [(1, (3, 5, 2), (LO, HI)), (2, (12, 24, 1), (0, 1023)), (3, (1, 1, 1), (-32768, 32767)), (4, (4, 7, 3), (5, 90))],
)
def test_vectors_and_typed_lines_equal_the_interpreter(seed: int, sizes, readings, tmp_path: Path, need) -> None:
    need(UNO)
    net = sensor_graph(seed, sizes, readings)
    x = random_readings(net, 300, seed)
    firmware = build_sensor(net, "test", tmp_path)
    outcome = load_sensor(firmware.elf, net).vectors({"readings": x})
    comparison = compare(net, outcome, {"readings": x})
    assert (comparison.vectors, comparison.mismatches, comparison.example) == (300, 0, "")
    assert outcome.cycles is not None and (outcome.cycles > 300).all()
    assert len(np.unique(outcome.outputs["answer"])) > 20, "a net that hardly answers tests little"
    typed, said = ask_sensor(firmware, [" ".join(map(str, row)) for row in x[:30]])
    assert said == answers(net, x[:30])
    np.testing.assert_array_equal(typed.inputs["readings"], x[:30])
    assert firmware.static_bytes + (typed.stack_bytes or 0) < 2048


@pytest.mark.parametrize(
    "typed",
    [
        "1,2,3", "1;2;3", "1\t2\t3", "  1   2   3  ", "1, 2; 3,", ",,1,,2 ,3;", "1 2 3\r", "-500 -1 1023", "+1 -0 +3",
        "0000000000000000000000001 2 3", "-00000000500 2 3",
    ],
)  # fmt: skip
def test_spellings_of_readings(firmware: Firmware, graph: Graph, typed: str) -> None:
    numbers = [int(word) for word in re.findall(r"[-+0-9]+", typed)]
    outcome, said = ask_sensor(firmware, [typed, "4 5 6"])
    assert said == answers(graph, np.array([numbers, [4, 5, 6]]))
    assert outcome.inputs["readings"].tolist() == [numbers, [4, 5, 6]]


@pytest.mark.parametrize(
    "typed",
    [
        "1 2", "1 2 3 4", "x", "1 2 x", "1 2 3x", "x1 2 3", "1.5 2 3", "1e2 2 3", "1 2 3 ?", "- 1 2", "1 2 -", "--1 2 3", "1-2 3 4",
        "5- 2 3", "1 2 3 -", "-501 2 3", "1 2 1024", "32769 2 3", "65537 2 3", "65536 65536 65536", "4294967297 2 3",
        "99999999999999999999 2 3", "1 2 3\b", "\x01", "1 2 ٣", "7 " * 5000, "7" * 9999 + " 2 3",
    ],
)  # fmt: skip
def test_what_is_no_list_of_readings_is_refused(firmware: Firmware, graph: Graph, typed: str) -> None:
    outcome, said = ask_sensor(firmware, [typed, "4 5 6"])
    assert said == ["? needs 3 integers in -500..1023", *answers(graph, np.array([[4, 5, 6]]))]
    assert outcome.inputs["readings"].tolist() == [[4, 5, 6]], "the net ran on what was refused"


def test_only_refusals_are_an_outcome_too(firmware: Firmware) -> None:
    outcome, said = ask_sensor(firmware, ["1", "2 2"])
    assert said == ["? needs 3 integers in -500..1023"] * 2 and outcome.inputs["readings"].shape == (0, 3)


def test_empty_lines_are_ignored_and_crlf_is_one_end(firmware: Firmware, graph: Graph) -> None:
    outcome, text = firmware.lines(["", "\r", " \t ", "1 2 3\r", "\r", "4 5 6\r", "", "7 8\r", "7 8 9"])
    want = answers(graph, np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))
    want.insert(2, needs(graph.inputs["readings"]))
    assert text == "".join(f"> {answer}\r\n" for answer in want) + "> "
    assert len(outcome.inputs["readings"]) == 3


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
    want = [answer for answer in (expected(graph, line) for line in lines) if answer is not None]
    outcome, said = ask_sensor(firmware, lines)
    assert said == want and compare(graph, outcome).mismatches == 0 and 20 < len(outcome.inputs["readings"]) < 150


def test_the_conversation_is_portable_c(graph: Graph, tmp_path: Path, need) -> None:
    """The same headers on this machine, with every warning and the sanitizer, over lines of every kind."""
    need(TARGETS["host"])
    for name, text in sensor_files(graph, "test").items():
        (tmp_path / name).write_text(text)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include <stdlib.h>\n#include "net.h"\n'
        "static uint8_t sensor_get(void) { int c = getchar(); if (c == EOF) exit(0); return (uint8_t)c; }\n"
        "static void sensor_put(uint8_t c) { putchar(c); }\n"
        '#include "sensor.h"\nint main(void) { for (;;) sensor_turn(); }\n'
    )
    subprocess.run(["gcc", *FLAGS, "-o", "talk", "main.c"], cwd=tmp_path, check=True)
    lines = [*random_lines(1000, 6), "1\0002 3", "\0", "1 2 3\x7f", "1 " * (65_536 + 3)]
    typed = "".join(line + ("\n", "\r", "\r\n")[i % 3] for i, line in enumerate(lines))
    done = subprocess.run([tmp_path / "talk"], input=typed.encode(), capture_output=True, check=True)
    want = [answer for answer in (expected(graph, line) for line in lines) if answer is not None]
    assert done.stdout.decode() == "".join(f"> {answer}\r\n" for answer in want) + "> "


def test_a_graph_that_is_no_sensor_model_is_named() -> None:
    double = Requantize(
        name="y", inputs=("x",), multiplier_O=np.array([2]), bias_O=np.array([0]), bias_shift=0, shift=0, rounding=0,
        lo=-70_000, hi=70_000,
    )  # fmt: skip
    with pytest.raises(LevshaError, match="reads x; a sensor model reads one input, called 'readings'"):
        sensor_files(Graph({"x": Value((2,), 0, 9)}, (double,)), "test")
    renamed = Requantize(**{**vars(double), "inputs": ("readings",)})
    with pytest.raises(LevshaError, match=r"'readings' can be 0..40000; a line holds integers of -32768..32767"):
        sensor_files(Graph({"readings": Value((2,), 0, 40_000)}, (renamed,)), "test")
    with pytest.raises(LevshaError, match=r"'y' can be 0..40000"):
        sensor_files(Graph({"readings": Value((2,), 0, 20_000)}, (renamed,)), "test")


def test_files_a_user_takes_away(firmware: Firmware, tmp_path: Path) -> None:
    save_sensor(firmware, "test", tmp_path / "small-int8", "reading 0: light, counts of A0\nreading 1: /* odd */")
    names = {str(p.relative_to(tmp_path / "small-int8")) for p in tmp_path.rglob("*") if p.is_file()}
    sketch = "small_int8"
    assert names == {
        "firmware.elf", "firmware.hex", "firmware.c", "net.h", "sensor.h", "uart.h",
        f"{sketch}/{sketch}.ino", f"{sketch}/net.h", f"{sketch}/sensor.h", f"{sketch}/uart.h",
    }  # fmt: skip
    top = (tmp_path / "small-int8" / sketch / f"{sketch}.ino").read_text().split("#include")[0]
    assert top.startswith(
        "/* test\n   reading 0: light, counts of A0\n   reading 1: / * odd * /\n   Type 3 integers in"
    )


def test_no_float_no_malloc_no_text_in_sram(firmware: Firmware) -> None:
    names = subprocess.run(["avr-nm", str(firmware.elf)], capture_output=True, text=True, check=True).stdout.split()
    assert not {"malloc", "free", "__mulsf3", "__addsf3", "__divsf3", "printf", "__do_copy_data"} & set(names)


@pytest.mark.parametrize("reads_pins", [False, True])
def test_sketch_compiles_against_the_real_arduino_core(graph: Graph, reads_pins: bool, tmp_path: Path, need) -> None:
    """As the IDE does: the .ino becomes C++ with Arduino.h in front; also with the loop that its comment offers."""
    need(UNO)
    if not CORE.exists():
        assert not os.environ.get("CI"), "arduino-core-avr is not installed"
        pytest.skip("arduino-core-avr is not installed")
    for name, text in sensor_sketch(graph, "test", "sensor", "/* three */ readings").items():
        (tmp_path / name).write_text(text)
    ino = (tmp_path / "sensor.ino").read_text()
    if reads_pins:
        first, _, rest = ino.partition("void loop()")
        ino = first + "void loop()" + rest.partition("void loop()")[2].removesuffix("*/\n")
        assert "analogRead" in ino
    (tmp_path / "sensor.cpp").write_text(f"#include <Arduino.h>\n{ino}")
    core = [f"-I{CORE / 'cores' / 'arduino'}", f"-I{CORE / 'variants' / 'standard'}"]
    warnings = ["-Wno-unused-function"] if reads_pins else []
    cpp = ["avr-g++", *CHIP, *core, "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*cpp, *warnings, "-c", "sensor.cpp", "-o", "sensor.o"], cwd=tmp_path, check=True)
