"""What is written around a net for the UNO: a main for tests, the chat firmware, an Arduino sketch folder."""

from __future__ import annotations

from importlib.resources import files

from levsha.emit.c import stage_function
from levsha.emit.chat import ChatLimits, chat_files
from levsha.ir import Graph, c_name

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
    main = [
        f"/* {title}: chat over the serial line, 115 200 baud. */",
        MARK,
        '#include "net.h"',
        '#include "uart.h"',
        '#include "chat.h"',
        "",
        "int main(void)",
        "{",
        *_visible(graph),
        "    uart_start();",
        "    for (;;) chat_turn();",
        "}",
        "",
    ]
    return chat_files(graph, limits, title) | {"uart.h": _uart(), "firmware.c": "\n".join(main)}


def arduino_sketch(graph: Graph, limits: ChatLimits, title: str, name: str) -> dict[str, str]:
    """Return the files of an Arduino sketch folder called `name`, which must hold NAME.ino."""
    ino = f"""/* {title}
   Open this folder in the Arduino IDE, choose "Arduino Uno", upload, open the Serial Monitor at 115 200 baud.
   The serial line is driven directly: the Serial object would cost 1 KB of flash and lose what is typed too early all the same. */
#include "net.h"
#include "uart.h"
#include "chat.h"

void setup()
{{
    uart_start();
}}

void loop()
{{
    chat_turn();
}}
"""
    return chat_files(graph, limits, title) | {"uart.h": _uart(), f"{name}.ino": ino}


def _uart() -> str:
    return files("levsha.targets.uno").joinpath("uart.h").read_text()


def _visible(graph: Graph) -> list[str]:
    """C lines that show the compiler that somebody else reads and writes the net's buffers."""
    return [f'    __asm__ volatile("" :: "r"({c_name(name)}) : "memory");' for name in (*graph.inputs, *graph.outputs)]
