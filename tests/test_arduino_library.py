"""The Arduino library: as the IDE builds it, for two boards and core-free; its self-test on two simulated chips."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from levsha.ir import Graph, Value
from levsha.meaning import Meaning, Quantity
from levsha.net import Net
from levsha.ops import Requantize
from tests.library import bare_net, chat_net, export, need_tool, sensor_net
from tests.test_exact import EXAMPLES
from tests.test_image_application import NETS as IMAGE_NETS
from tests.test_sensor import CORE

BOARDS = {
    "uno": ("atmega328p", "standard", "ARDUINO_AVR_UNO", 32_256),
    "mega": ("atmega2560", "mega", "ARDUINO_AVR_MEGA2560", 253_952),
}
NETS = {
    "sensor": lambda: sensor_net(),
    "numbers": lambda: sensor_net(2, Meaning("Three readings.\nTwo answers.", {"readings": sensor_net().meaning.quantities["readings"]})),
    "chat": lambda: chat_net("ternary"),
    "grey": lambda: IMAGE_NETS["grey"],
    "planes": lambda: IMAGE_NETS["planes"],
}  # fmt: skip
SPECIFICATION = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures")
CATEGORIES = (
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage", "Data Processing", "Other",
)  # fmt: skip
STRICT = ("-Wall", "-Wextra", "-Werror")


@pytest.fixture(scope="module", params=BOARDS)
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A board's flags, limit of flash and archive of Debian's core, compiled once."""
    need_tool("avr-g++")
    if not CORE.exists():
        assert not os.environ.get("CI"), "arduino-core-avr is not installed"
        pytest.skip("arduino-core-avr is not installed")
    chip, variant, macro, limit = BOARDS[request.param]
    flags = [f"-mmcu={chip}", "-DF_CPU=16000000L", "-DARDUINO=10819", f"-D{macro}", "-DARDUINO_ARCH_AVR"]
    flags += [f"-I{CORE / 'cores' / 'arduino'}", f"-I{CORE / 'variants' / variant}", "-DDECIMAL_DIG=__DECIMAL_DIG__"]
    flags += ["-Os", "-flto", "-ffunction-sections", "-fdata-sections"]
    folder, objects = tmp_path_factory.mktemp(request.param), []
    for file in sorted((CORE / "cores" / "arduino").iterdir()):
        if file.suffix in (".c", ".cpp", ".S"):
            objects.append(str(folder / f"{file.name}.o"))
            subprocess.run([*compiler(file.suffix, flags), "-w", "-c", str(file), "-o", objects[-1]], check=True)
    subprocess.run(["avr-gcc-ar", "rcs", str(folder / "core.a"), *objects], check=True)
    return request.param, flags, limit, folder / "core.a"


def compiler(suffix: str, flags: list[str]) -> list[str]:
    """As platform.txt has it."""
    cpp = ["avr-g++", *flags, "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics"]
    return {".cpp": cpp, ".c": ["avr-gcc", *flags, "-std=gnu11"], ".S": ["avr-gcc", *flags]}[suffix]


def linked(folder: Path, flags: list[str], objects: list[str], *more: str) -> int:
    """Link objects to firmware.elf and return the bytes of flash it takes."""
    link = ["avr-gcc", *flags, "-Wl,--gc-sections", "-o", "firmware.elf", *objects, *more, "-lm"]
    subprocess.run(link, cwd=folder, check=True, capture_output=True)
    sizes = subprocess.run(["avr-size", "firmware.elf"], cwd=folder, check=True, capture_output=True, text=True).stdout
    text, data = sizes.splitlines()[1].split()[:2]
    return int(text) + int(data)


@pytest.mark.parametrize("instance", [False, True], ids=["own", "static"])
@pytest.mark.parametrize("kind", NETS)
def test_the_example_builds_for_a_board(board, kind: str, instance: bool, tmp_path: Path) -> None:
    """As the IDE does: the library's src on the include path, the sketch behind Arduino.h, no warnings in either."""
    name, flags, limit, core = board
    export(NETS[kind](), tmp_path, "mynet", to="arduino", instance=instance)
    library = tmp_path / "mynet"
    (sketch,) = (library / "examples").rglob("*.ino")
    assert sketch.parent.name == sketch.stem, "the IDE wants a sketch in a folder of its own name"
    (tmp_path / "sketch.cpp").write_text(f"#include <Arduino.h>\n{sketch.read_text()}")
    sources = {"sketch.cpp": tmp_path / "sketch.cpp", "mynet.c": library / "src" / "mynet.c"}
    for label, path in sources.items():
        own = ["-DMYNET_FLOAT"] if label == "sketch.cpp" else []
        command = [*compiler(path.suffix, [*flags, f"-I{library / 'src'}"]), *STRICT, *own, "-c", str(path)]
        subprocess.run([*command, "-o", f"{label}.o"], cwd=tmp_path, check=True)
    flash = linked(tmp_path, flags, ["sketch.cpp.o", "mynet.c.o", str(core)])
    print(f"{kind} on {name}: {flash} B of flash")
    assert 1_500 < flash < limit


@pytest.mark.parametrize("chip", ["atmega328p", "atmega2560"])
@pytest.mark.parametrize("kind", [*NETS, "ops"])
def test_the_self_test_passes_on_a_simulated_chip(kind: str, chip: str, tmp_path: Path) -> None:
    """Constants are read from program memory there, and an int has 16 bits."""
    need_tool("avr-gcc")
    if not Path("/usr/include/simavr/sim_avr.h").exists():
        assert not os.environ.get("CI"), "libsimavr-dev is not installed"
        pytest.skip("libsimavr-dev is not installed")
    simulator = tmp_path / "simulate"
    source = Path(__file__).with_name("selftest_avr.c")
    subprocess.run(["gcc", "-O2", str(source), "-o", str(simulator), "-lsimavr", "-lelf"], check=True)
    examples = [bare_net(example.values[0]) for example in EXAMPLES]  # type: ignore[arg-type]
    if kind == "ops":  # one of each op, and every format of Dense with every type of input
        for net in examples:
            assert self_test(net, chip, simulator, tmp_path) == 0, net.graph.ops
        return
    assert self_test(NETS[kind](), chip, simulator, tmp_path) == 0
    assert self_test(NETS[kind](), chip, simulator, tmp_path, damaged=True) > 0


def self_test(net: Net, chip: str, simulator: Path, folder: Path, damaged: bool = False) -> int:
    """Build a program that runs the library's self-test, simulate it, and return what it says."""
    export(net, folder, "mynet", to="arduino", vectors=4)
    path = folder / "mynet" / "src" / "mynet.c"
    if damaged:
        text = path.read_text()
        head = list(re.finditer(r"_weight\[\d+\] mynet_FLASH = {\n\d+,(\d+)", text))[
            -1
        ]  # of the last layer: its inputs are not rare
        path.write_text(f"{text[: head.start(1)]}{int(head.group(1)) ^ 0x55}{text[head.end(1) :]}")
    main = (
        "#include <avr/io.h>\n#include <avr/sleep.h>\n#include <mynet.h>\nstatic mynet_state net;\n"
        "int main(void) { GPIOR0 = (uint8_t)mynet_self_test(&net); sleep_enable(); for (;;) sleep_cpu(); }\n"
    )
    (folder / "main.c").write_text(main)
    flags = ["-std=c99", f"-mmcu={chip}", "-Os", *STRICT, "-DMYNET_SELF_TEST", f"-I{path.parent}"]
    subprocess.run(["avr-gcc", *flags, "main.c", str(path), "-o", "main.elf"], cwd=folder, check=True)
    return subprocess.run([simulator, chip, "main.elf"], cwd=folder, check=False, capture_output=True).returncode


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m4"])
@pytest.mark.parametrize("kind", NETS)
def test_the_library_is_core_free(kind: str, cpu: str, tmp_path: Path) -> None:
    """Without any core of Arduino's, as C and as C++, for other processors; no library function is called but of the compiler's own."""
    need_tool("arm-none-eabi-g++")
    export(NETS[kind](), tmp_path, "mynet", to="arduino")
    source = tmp_path / "mynet" / "src" / "mynet.c"
    for program, language in (("arm-none-eabi-g++", ["-x", "c++", "-std=c++17"]), ("arm-none-eabi-gcc", ["-std=c99"])):
        flags = [f"-mcpu={cpu}", "-mthumb", "-Os", "-ffreestanding", *STRICT, "-DMYNET_SELF_TEST", "-DMYNET_FLOAT"]
        command = [program, *language, *flags, "-c", str(source), "-o", "mynet.o"]
        subprocess.run(command, cwd=tmp_path, check=True)
        listed = subprocess.run(["arm-none-eabi-nm", "-u", "mynet.o"], cwd=tmp_path, capture_output=True, text=True, check=True)  # fmt: skip
        needed = {line.split()[-1] for line in listed.stdout.splitlines()}
        assert all(name.startswith("__") or name in ("memset", "memcpy") for name in needed), needed


@pytest.mark.parametrize("kind", NETS)
def test_the_folder_meets_arduinos_specification(kind: str, tmp_path: Path) -> None:
    net = NETS[kind]()
    files = {str(p.relative_to(tmp_path)) for p in export(net, tmp_path, "mynet", to="arduino")}
    assert files == {
        f"mynet/{name}"
        for name in ("library.properties", "src/mynet.h", "src/mynet.c", "examples/mynet_example/mynet_example.ino")
    }
    lines = (tmp_path / "mynet" / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert len(properties) == len(lines) and set(SPECIFICATION) <= set(properties)
    assert all(properties[key].strip() for key in SPECIFICATION)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", properties["name"]) and len(properties["name"]) <= 63
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"]) and properties["category"] in CATEGORIES
    assert properties["url"].startswith("https://") and properties["includes"] == "mynet.h"


def test_more_constants_than_near_pointers_reach_are_refused_by_the_compiler_and_not_read_wrong(tmp_path: Path) -> None:
    need_tool("avr-gcc")
    export(bare_net(_large()), tmp_path, "big", to="arduino", vectors=4)
    source = tmp_path / "big" / "src" / "big.c"
    done = subprocess.run(["avr-gcc", "-mmcu=atmega2560", "-c", str(source), "-o", "/dev/null"], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode and re.search(
        r"#error \"?64000 bytes of constants: pointers of 16 bits reach 60000", done.stderr
    )
    subprocess.run(["gcc", "-c", str(source), "-o", "/dev/null"], check=True)


def _large() -> Graph:
    value, numbers = Value((16_000,), 0, 255), np.arange(16_000) % 100
    op = Requantize(name="y", inputs=("x",), multiplier_O=numbers, bias_O=numbers, bias_shift=0, shift=4, rounding=8, lo=0, hi=255)  # fmt: skip
    return Graph({"x": value}, (op,))


def test_units_come_with_the_sketch(tmp_path: Path) -> None:
    meaning = Meaning("A net.", {"readings": (Quantity("a", "m", 0.1), Quantity("b", "s"), Quantity("c"))})
    export(sensor_net(0, meaning), tmp_path, "mynet", to="arduino")
    header = (tmp_path / "mynet" / "src" / "mynet.h").read_text()
    assert "0: a in units of 0.1 m, -500..1023" in header and '#define MYNET_READINGS_UNITS {"m", "s", ""}' in header
