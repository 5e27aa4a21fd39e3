"""A sensor model on the UNO: build its firmware, ask it, write the files a user takes away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import indent

from levsha.emit.sensor import READINGS, sensor_files
from levsha.files import write_file
from levsha.ir import Graph, c_name
from levsha.targets.base import Outcome
from levsha.targets.uno.firmware import save_files, serial_main, serial_sketch, sketch_name, uart
from levsha.targets.uno.target import Firmware, Uno

PROMPT = "> "
SERIAL = """
/* A byte that was lost, or came damaged, must not make one reading into another: it becomes a byte that is in no integer. */
static uint8_t sensor_get(void)
{
    while (!(UCSR0A & _BV(RXC0))) {}
    const uint8_t bad = UCSR0A & (_BV(FE0) | _BV(DOR0));
    const uint8_t c = chat_get();
    return bad ? '?' : c;
}

static void sensor_put(uint8_t c) { chat_put(c); }
"""


def build_sensor(graph: Graph, title: str, folder: Path) -> Firmware:
    """Write the sensor firmware's sources into `folder` and build it there."""
    for name, text in sensor_firmware(graph, title).items():
        write_file(folder / name, text)
    return _woken(Uno().build(graph, folder / "firmware.c"))


def load_sensor(elf: Path, graph: Graph) -> Firmware:
    """Return a sensor firmware that was built before."""
    return _woken(Uno().load(elf, graph))


def ask_sensor(firmware: Firmware, lines: list[str]) -> tuple[Outcome, list[str]]:
    """Type lines; return every run of the net, and one answer for each line that is not empty."""
    outcome, text = firmware.lines(lines)
    return outcome, [answer.removeprefix(PROMPT) for answer in text.split("\r\n")[:-1]]


def save_sensor(firmware: Firmware, title: str, folder: Path, comment: str) -> None:
    """Write firmware (ELF, Intel HEX, sources) and the Arduino sketch folder; comment: what each reading means, its unit."""
    sources = sensor_firmware(firmware.graph, title)
    sketch = sensor_sketch(firmware.graph, title, sketch_name(folder), comment)
    save_files(firmware.elf, sources, sketch, folder)


def sensor_firmware(graph: Graph, title: str) -> dict[str, str]:
    """Return every source file of the sensor firmware; firmware.c is the one to compile."""
    main = serial_main(graph, f"{title}: readings in, outputs out", "sensor")
    return sensor_files(graph, title) | {"uart.h": uart() + SERIAL, "firmware.c": main}


def sensor_sketch(graph: Graph, title: str, name: str, comment: str) -> dict[str, str]:
    """Return the files of an Arduino sketch folder called `name`, which must hold NAME.ino."""
    readings = graph.inputs[READINGS]
    typed = f"Type {readings.size} integers in {readings.lo}..{readings.hi}, separated by spaces or commas; line ending: Newline."
    about = indent(f"{_inside_comment(comment)}\n{typed}", "   ").lstrip()
    ino = serial_sketch(f"{title}\n   {about}", "sensor") + _analog_loop(graph)
    return sensor_files(graph, title) | {"uart.h": uart() + SERIAL, f"{name}.ino": ino}


def _woken(firmware: Firmware) -> Firmware:
    readings = firmware.graph.inputs[READINGS]
    return replace(firmware, wake=" ".join([str(max(readings.lo, min(0, readings.hi)))] * readings.size))


def _inside_comment(text: str) -> str:
    return text.strip().replace("*/", "* /").replace("/*", "/ *")


def _analog_loop(graph: Graph) -> str:
    """A comment: the loop of a sketch that reads pins, to put in place of the one that reads lines."""
    output, size = c_name(graph.outputs[0]), graph.values[graph.outputs[0]].size
    return f"""
/* To read sensors instead of lines, put this loop in the place of the one above. Each reading must have the meaning and the unit
   it has at the top, and must lie in SENSOR_LO..SENSOR_HI: outside that range nothing is proven.

void loop()
{{
    const int16_t pin = analogRead(A0);   // apart, because constrain() would read the pin more than once
    net_readings[0] = constrain(pin, SENSOR_LO, SENSOR_HI);   // and so on to net_readings[{graph.inputs[READINGS].size - 1}]
    net_run_readings();
    sensor_number({output}[0]);   // the outputs are {output}[0] to {output}[{size - 1}]
    sensor_put('\\n');
    delay(1000);
}}
*/
"""
