"""The chat on a simulated Arduino UNO, and everything a user may do to it."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kernels import example_layer
from levsha.applications import Bare, Chat
from levsha.applications.chat import decode, graph_predictor
from levsha.data.pairs import cut_text, typed_query
from levsha.emit.choose import choose
from levsha.errors import LevshaError
from levsha.evidence.check import compare, find_first_difference
from levsha.formats import FORMATS
from levsha.ir import Graph, Value
from levsha.ops import Conv
from levsha.targets import TARGETS, Firmware, find_image
from levsha.targets.avr import Uno
from levsha.targets.host import Host, HostFirmware
from tests.nets import CHARSET, small_chat_graph
from tests.write_golden import GOLDEN, LEDGER, golden_texts, measure

UNO = TARGETS["uno"]
CORE = Path("/usr/share/arduino/hardware/arduino/avr")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return small_chat_graph("two_bit")


@pytest.fixture(scope="module")
def firmware(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    if UNO.missing():
        pytest.skip(UNO.missing())
    return UNO.firmware(graph, Chat(), "test").built(tmp_path_factory.mktemp("firmware"))


def test_uno_is_there_in_ci(need) -> None:
    need(UNO)


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_whole_net_equals_interpreter(weights: str, target, tmp_path: Path, need) -> None:
    need(target)
    net = small_chat_graph(weights)
    rng = np.random.default_rng(0)
    inputs = {"query": rng.integers(0, 256, (20, 60)), "context": rng.integers(0, 256, (20, 8))}
    assert compare(net, target.run(net, inputs, tmp_path)).mismatches == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hello", b"hello"),
        ("  hello  ", b"hello"),
        ("helko\x08\x08lo", b"hello"),
        ("x\x7f\x7f\x7fhi", b"hi"),
        ("he\x01\x02\x1bllo\t", b"hello"),
        ("HELLO", b"HELLO"),
        ("a" * 61, b"a" * 60),
        ("a" * 300, b"a" * 60),
        ("word " * 30, cut_text(b"word " * 30, 60, 40)),
        ("b" * 45 + " " + "c" * 40, b"b" * 45),
        ("b" * 39 + " " + "c" * 40, b"b" * 39 + b" " + b"c" * 20),  # a space before the second half is none to cut at
        ("b" * 40 + " " + "c" * 40, b"b" * 40),
        ("b" * 59 + " " + "c" * 40, b"b" * 59),
        ("b" * 60 + " " + "c" * 40, b"b" * 60),
        ("b" * 58 + "   ", b"b" * 58),
        ("d" * 60 + "    ", b"d" * 60),
        ("e" * 70 + "\x08" * 3, b"e" * 57),
    ],
)
def test_line_editing(firmware: Firmware, graph: Graph, typed: str, meant: bytes) -> None:
    typed_out = firmware.type([typed])
    outcome = typed_out.outcome
    assert outcome
    query = bytes(outcome.inputs["query"][0].astype(np.uint8)).rstrip(b"\0")
    assert query == meant
    if not any(c in typed for c in "\x08\x7f"):
        assert typed_query(typed) == meant  # the chat on this machine makes the same of it
    answer = decode(graph_predictor(graph), [meant], CHARSET)[0].decode()
    assert typed_out.answers == [answer] == [firmware.application.expected(graph, meant.decode())]


def test_a_line_of_ten_thousand_bytes_is_cut(firmware: Firmware) -> None:
    outcome = firmware.type(["x" * 10_000, "hello"]).outcome
    assert outcome
    assert bytes(outcome.inputs["query"][0].astype(np.uint8)) == b"x" * 60


def test_empty_lines_and_crlf_are_no_questions(firmware: Firmware) -> None:
    typed = firmware.type(["", "   ", "hello\r"])
    outcome = typed.outcome
    assert outcome and typed.answers[:2] == ["", ""] and typed.answers[2]
    assert len({bytes(q.astype(np.uint8)) for q in outcome.inputs["query"]}) == 1


def test_any_bytes_never_reset_it(firmware: Firmware, graph: Graph) -> None:
    rng = np.random.default_rng(1)
    noise = ["".join(chr(c) for c in rng.integers(1, 128, 200) if c not in (10, 13)) for _ in range(10)]
    outcome = firmware.type([*noise, "hello"]).outcome
    assert outcome
    assert compare(graph, outcome).mismatches == 0
    assert outcome.stack_bytes and (firmware.sizes.static_bytes or 0) + outcome.stack_bytes < 2048


def test_vectors_go_through_the_firmware_that_ships(firmware: Firmware, graph: Graph) -> None:
    rng = np.random.default_rng(2)
    inputs = {"query": rng.integers(0, 256, (50, 60)), "context": rng.integers(0, 256, (50, 8))}
    outcome = firmware.vectors(inputs)
    comparison = compare(graph, outcome, inputs)
    assert (comparison.vectors, comparison.mismatches) == (50, 0)
    assert outcome.cycles is not None and (outcome.cycles > 1000).all()


def test_a_conversation_answers_line_by_line(firmware: Firmware, graph: Graph) -> None:
    want = [a.decode() for a in decode(graph_predictor(graph), [b"hello", b"bye"], CHARSET)]
    with firmware.talk() as chat:
        for line, answer in zip(("hello", "bye"), want, strict=True):
            said = chat.say(line)
            assert said.text == answer and len(said.cycles) == min(50, len(answer) + 1)
        assert chat.say("").text == "" and chat.say("").cycles == []


def test_the_same_chat_on_this_machine(graph: Graph, tmp_path: Path, need) -> None:
    need(TARGETS["host"])
    lines = ["hello", "  who are you ", "", "a" * 80, "привет"]
    chat = Chat()
    answers = TARGETS["host"].firmware(graph, chat, "test").built(tmp_path).type(lines).answers
    assert answers == [chat.expected(graph, line) for line in lines]


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_capitals_beyond_a_to_z_are_folded_on_the_chip(graph: Graph, target, tmp_path: Path, need) -> None:
    need(target)
    chat, lines = Chat(folds=True), ["ПРИВЕТ Мир", "привет мир", "ÀÉ Ω"]
    typed = target.firmware(graph, chat, "test").built(tmp_path).type(lines)
    assert typed.answers == [chat.expected(graph, line) for line in lines] and typed.answers[0] == typed.answers[1]


def test_a_wrong_kernel_is_found_and_named(graph: Graph, tmp_path: Path, need) -> None:
    """A compiler fault is played by a target whose second dense layer is off by one."""
    need(TARGETS["host"])

    class FaultyFirmware(HostFirmware):
        def built(self, folder):
            text = self.sources["net.h"]
            faulty = text.replace("fc2_ + 0, 10);", "fc2_ + 0, 10); ++fc2_[3];")
            return HostFirmware.built(replace(self, sources={**self.sources, "net.h": faulty}), folder)

    class Faulty(Host):
        def firmware(self, graph, application, title, meaning=None):
            good = super().firmware(graph, application, title, meaning)
            return FaultyFirmware(good.graph, good.application, good.title, good.sources)

    rng = np.random.default_rng(3)
    inputs = {"query": rng.integers(0, 256, (20, 60)), "context": rng.integers(0, 256, (20, 8))}
    assert compare(graph, Faulty().run(graph, inputs, tmp_path)).mismatches > 0
    assert find_first_difference(graph, Faulty(), inputs) == "fc2 (Dense)"


def test_a_net_that_is_too_large_is_measured_and_refused(tmp_path: Path, need) -> None:
    need(UNO)
    large = small_chat_graph("int8", (256, 192))
    firmware = UNO.firmware(large, Chat(), "test").built(tmp_path)
    assert firmware.sizes.flash_bytes and firmware.sizes.flash_bytes > 120_000
    assert firmware.excess.startswith(f"flash {firmware.sizes.flash_bytes - 32_256} B over 32256")


def test_no_float_no_malloc_no_libm(firmware: Firmware) -> None:
    names = subprocess.run(
        ["avr-nm", str(firmware.built_image)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"malloc", "free", "__mulsf3", "__addsf3", "__divsf3", "__floatsisf", "exp", "printf"} & set(names)


def test_files_a_user_takes_away(firmware: Firmware, tmp_path: Path) -> None:
    firmware.save(tmp_path / "pruned-two_bit")
    names = {str(p.relative_to(tmp_path / "pruned-two_bit")) for p in tmp_path.rglob("*") if p.is_file()}
    sketch = "pruned_two_bit"
    headers = {"net.h", "mark.h", "chat.h", "serial.h"}
    assert names == {
        "firmware.elf", "firmware.hex", "firmware.c", "firmware.json", *headers,
        f"{sketch}/{sketch}.ino", *(f"{sketch}/{name}" for name in headers),
    }  # fmt: skip
    assert (tmp_path / "pruned-two_bit" / "firmware.hex").read_text().endswith(":00000001FF\n")


def test_a_firmware_of_another_net_or_altered_is_refused(firmware: Firmware, graph: Graph, tmp_path: Path) -> None:
    firmware.save(tmp_path / "net")
    assert find_image(tmp_path / "net", graph, "levsha run").name == "firmware.elf"
    with pytest.raises(LevshaError, match="is the firmware of another net"):
        find_image(tmp_path / "net", small_chat_graph("two_bit", seed=5), "levsha run")
    (tmp_path / "net" / "firmware.elf").write_bytes(b"x")
    with pytest.raises(LevshaError, match="is not the image that was built"):
        find_image(tmp_path / "net", graph, "levsha run")
    with pytest.raises(LevshaError, match=r"no firmware with a manifest .* make it with levsha run"):
        find_image(tmp_path / "none", graph, "levsha run")


def test_sketch_compiles_against_the_real_arduino_core(firmware: Firmware, graph: Graph, tmp_path: Path, need) -> None:
    """As the IDE does: the .ino becomes C++ with Arduino.h in front, the core is compiled and linked."""
    need(UNO)
    if not CORE.exists():
        assert not os.environ.get("CI"), "arduino-core-avr is not installed"
        pytest.skip("arduino-core-avr is not installed")
    firmware.save(tmp_path / "chat")
    tmp_path = tmp_path / "chat" / "chat"
    (tmp_path / "chat.cpp").write_text('#include <Arduino.h>\n#include "chat.ino"\n')
    core = CORE / "cores" / "arduino"
    chip = ["-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10607", "-DARDUINO_AVR_UNO", "-DARDUINO_ARCH_AVR"]
    chip += [f"-I{core}", f"-I{CORE / 'variants' / 'standard'}", "-DDECIMAL_DIG=__DECIMAL_DIG__"]
    chip += ["-Os", "-flto", "-ffunction-sections", "-fdata-sections"]
    cpp = ["avr-g++", *chip, "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics"]
    compilers = {".cpp": [*cpp, "-w"], ".c": ["avr-gcc", *chip, "-std=gnu11", "-w"], ".S": ["avr-gcc", *chip]}
    objects = []
    for file in sorted(p for p in core.iterdir() if p.suffix in compilers):
        objects.append(str(tmp_path / f"{file.name}.o"))
        subprocess.run([*compilers[file.suffix], "-c", str(file), "-o", objects[-1]], check=True, capture_output=True)
    sketch = tmp_path / "chat.o"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([*cpp, *warnings, "-c", str(tmp_path / "chat.cpp"), "-o", str(sketch)], check=True)
    archive = tmp_path / "core.a"  # as in the IDE: only what the sketch uses is linked
    subprocess.run(["avr-gcc-ar", "rcs", str(archive), *objects], check=True)
    elf = tmp_path / "chat.elf"
    link = [
        "avr-gcc",
        "-mmcu=atmega328p",
        "-Os",
        "-flto",
        "-Wl,--gc-sections",
        "-o",
        str(elf),
        str(sketch),
        str(archive),
        "-lm",
    ]
    subprocess.run(link, check=True, capture_output=True)
    sizes = (
        subprocess.run(["avr-size", str(elf)], check=True, capture_output=True, text=True)
        .stdout.splitlines()[1]
        .split()
    )
    flash = int(sizes[0]) + int(sizes[1])
    assert firmware.sizes.flash_bytes and flash < firmware.sizes.flash_bytes + 600, (
        "what fits as firmware must not grow much as a sketch"
    )


def test_golden_c_of_a_tiny_graph() -> None:
    """The text itself: a change of the emitter shows in a review.  make golden writes it anew."""
    for name, text in golden_texts().items():
        assert text == (GOLDEN / name).read_text(), name


def test_exact_bytes_and_cycles(need) -> None:
    """Every format at the size that ships: flash, SRAM and cycles, compared exactly.  make golden writes them anew."""
    need(UNO)
    assert measure() == json.loads(LEDGER.read_text())


def test_the_planner_chooses_what_the_ledger_has_measured_as_faster() -> None:
    """Its estimates need no toolchain; the ledger is what was measured."""
    for row in json.loads(LEDGER.read_text())["uno"]["layers"]:
        op, value, _ = example_layer(row["format"], row["x"], row["inputs"], row["outputs"])
        chosen = choose(op, Graph({"x": value}, (op,)).values, UNO.kernels)
        fastest = min(("portable", "dense24"), key=lambda name: row[name]["cycles"])
        assert (chosen.name if chosen else "portable") == fastest
        if chosen:
            estimate = chosen.cost(op, op.infer(value), value).cycles
            assert abs(estimate / row["dense24"]["cycles"] - 1) < 0.05


def test_missing_toolchain_is_explained(monkeypatch: pytest.MonkeyPatch, graph: Graph, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    assert "avr-gcc" in UNO.missing() and "apt-get install gcc-avr" in UNO.missing()
    with pytest.raises(LevshaError, match=r"avr-gcc.* missing; apt-get install gcc-avr"):
        UNO.run(graph, {}, tmp_path)


def test_what_one_function_has_on_the_stack_counts(tmp_path: Path, need) -> None:
    """A net whose data leave a few bytes does not fit; run all the same, its stack would run into the data, and it would never end."""
    need(Uno())
    rng = np.random.default_rng(0)
    conv = Conv(
        name="y", inputs=("x",), shape=(1, 64, 16), kernel=(1, 9), pads=(0, 4, 0, 4), format=FORMATS["int8"],
        weight_OI=rng.integers(-9, 9, (4, 144)),
    )  # fmt: skip
    firmware = Uno().firmware(Graph({"x": Value((1, 64, 16), -128, 127)}, (conv,)), Bare(), "stack").built(tmp_path)
    assert 144 <= firmware.frame_bytes < 400  # a window, and what else the function keeps
    full = replace(firmware, sizes=replace(firmware.sizes, static_bytes=2000))
    assert full.excess == f"SRAM {2000 + firmware.frame_bytes - 2048} B over 2048"
