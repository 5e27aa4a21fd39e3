"""The C around a net on an AVR: the main of a firmware, an Arduino sketch folder."""

from __future__ import annotations

from importlib.resources import files
from textwrap import indent

from levsha.applications import Application, Bare
from levsha.ir import Graph
from levsha.meaning import Meaning
from levsha.targets.texts import mark_header

MARK = """#include <avr/io.h>
#include "mark.h"
/* One OUT to a scratch register: a simulator's hook, one cycle on the chip. */
#define LEVSHA_MARK(v) do { __asm__ volatile("" ::: "memory"); GPIOR0 = (v); __asm__ volatile("" ::: "memory"); } while (0)
"""
NO_MARK = '#include "mark.h"\n#define LEVSHA_MARK(v) ((void)0)\n'


def sources(graph: Graph, application: Application, net: str, title: str) -> dict[str, str]:
    """Return every source file of a firmware; firmware.c is the one to compile.  net: the text of net.h."""
    talks = not isinstance(application, Bare)
    texts = {"net.h": net, "mark.h": mark_header(), f"{application.name}.h": application.header(graph)}
    texts |= {"serial.h": _serial()} if talks else {}
    start = "    serial_start();\n" if talks else ""
    main = f"""/* {title}{f": {application.name} over the serial line, 115 200 baud" if talks else ""}. */
{MARK}{_includes(application)}
int main(void)
{{
{start}    __asm__ volatile("" :: "r"(&net_instance) : "memory");   /* somebody else reads and writes the net's state */
    for (;;) {{ {application.main} }}
}}
"""
    return texts | {"firmware.c": main}


def sketch(graph: Graph, application: Application, texts: dict[str, str], title: str, meaning: Meaning) -> str:
    """Return the .ino of an Arduino sketch that does what the firmware does; it lies beside the firmware's headers."""
    about = "\n".join(line for line in (*meaning.lines(), application.usage(graph)) if line)
    return f"""/* {_inside_comment(f"{title}: {application.name}")}
{indent(_inside_comment(about), "   ")}
   Open this folder in the Arduino IDE, choose "Arduino Uno", upload, open the Serial Monitor at 115 200 baud.
   The serial line is driven directly: the Serial object would cost 1 KB of flash and lose what is typed too early all the same. */
{NO_MARK}{_includes(application)}
void setup()
{{
    serial_start();
}}

void loop()
{{
    {application.main}
}}
{application.by_hand(graph)}"""


def sketch_name(folder: str) -> str:
    """Return what the sketch of a variant is called: the IDE wants its folder and its .ino to share one plain name."""
    return folder.replace("-", "_")


def _serial() -> str:
    return files("levsha.targets.avr").joinpath("serial.h").read_text()


def _includes(application: Application) -> str:
    talks = [] if isinstance(application, Bare) else ["serial"]
    return "".join(f'#include "{name}.h"\n' for name in ("net", *talks, application.name))


def _inside_comment(text: str) -> str:
    return text.strip().replace("*/", "* /").replace("/*", "/ *")
