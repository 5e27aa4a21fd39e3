"""What is written around a net for the UNO: a main for tests, the chat firmware, an Arduino sketch folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from levsha.emit.c import stage_function
from levsha.emit.chat import ChatLimits, chat_files
from levsha.files import write_file
from levsha.ir import Graph, c_name
from levsha.targets.base import call

MARK = """#include <avr/io.h>
/* One OUT to a scratch register: a simulator's hook, one cycle on the chip. */
#define LEVSHA_MARK(v) do { __asm__ volatile("" ::: "memory"); GPIOR0 = (v); __asm__ volatile("" ::: "memory"); } while (0)
"""


def bare_main(graph: Graph) -> str:
    """Return a main that runs every stage over and over, for a simulator to put vectors in."""
    runs = []
    for stage, name in enumerate(graph.inputs):
        runs += [
            f"        LEVSHA_MARK({0x10 + stage});",
            f"        {stage_function(name)}();",
            f"        LEVSHA_MARK({0x20 + stage});",
        ]
    return "\n".join(
        [MARK, '#include "net.h"', "int main(void)", "{", *_visible(graph), "    for (;;) {", *runs, "    }", "}", ""]
    )


def chat_firmware(graph: Graph, limits: ChatLimits, title: str) -> dict[str, str]:
    """Return every source file of the chat firmware; firmware.c is the one to compile."""
    main = serial_main(graph, f"{title}: chat", "chat")
    return chat_files(graph, limits, title) | {"uart.h": uart(), "firmware.c": main}


def arduino_sketch(graph: Graph, limits: ChatLimits, title: str, name: str) -> dict[str, str]:
    """Return the files of an Arduino sketch folder called `name`, which must hold NAME.ino."""
    return chat_files(graph, limits, title) | {"uart.h": uart(), f"{name}.ino": serial_sketch(title, "chat")}


def serial_main(graph: Graph, about: str, kind: str) -> str:
    """Return the main of a firmware that converses over the serial line: KIND.h holds KIND_turn()."""
    visible = "\n".join(_visible(graph))
    return f"""/* {about} over the serial line, 115 200 baud. */
{MARK}
{_includes(kind)}

int main(void)
{{
{visible}
    uart_start();
    for (;;) {kind}_turn();
}}
"""


def serial_sketch(about: str, kind: str) -> str:
    """Return the .ino of an Arduino sketch that does what `serial_main` does."""
    return f"""/* {about}
   Open this folder in the Arduino IDE, choose "Arduino Uno", upload, open the Serial Monitor at 115 200 baud.
   The serial line is driven directly: the Serial object would cost 1 KB of flash and lose what is typed too early all the same. */
{_includes(kind)}

void setup()
{{
    uart_start();
}}

void loop()
{{
    {kind}_turn();
}}
"""


def uart() -> str:
    """Return the text of uart.h: uart_start(), chat_get() and chat_put()."""
    return files("levsha.targets.uno").joinpath("uart.h").read_text()


def sketch_name(folder: Path) -> str:
    """Return what the sketch inside a firmware folder is called: the IDE wants its folder and its .ino to share one plain name."""
    return folder.name.replace("-", "_")


def save_files(elf: Path, sources: Mapping[str, str], sketch: Mapping[str, str], folder: Path) -> None:
    """Write what a user takes away: ELF, Intel HEX, sources, and the sketch in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        hex_path = Path(scratch, "firmware.hex")
        call(["avr-objcopy", "-O", "ihex", "-R", ".eeprom", str(elf), str(hex_path)], "uno")
        write_file(folder / "firmware.hex", hex_path.read_bytes())
    write_file(folder / "firmware.elf", elf.read_bytes())
    for name, text in sources.items():
        write_file(folder / name, text)
    for name, text in sketch.items():
        write_file(folder / sketch_name(folder) / name, text)


def _includes(kind: str) -> str:
    return "\n".join(f'#include "{name}.h"' for name in ("net", "uart", kind))


def _visible(graph: Graph) -> list[str]:
    """C lines that show the compiler that somebody else reads and writes the net's buffers."""
    return [f'    __asm__ volatile("" :: "r"({c_name(name)}) : "memory");' for name in (*graph.inputs, *graph.outputs)]
