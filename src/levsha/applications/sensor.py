"""A sensor model: a line of readings in, a line of results out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from levsha.applications.base import Application
from levsha.arith import INT16_MAX
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning

READINGS = "readings"  # the one input of a sensor model
PROMPT = "> "
SEPARATORS = " ,;\t"


@dataclass(frozen=True)
class Sensor(Application):
    """Readings are integers, each inside its own proven range; of classes the name is said."""

    meaning: Meaning = field(default_factory=Meaning)
    name = "sensor"

    @classmethod
    def from_json(cls, about: Mapping[str, Any], meaning: Meaning) -> Sensor:
        return cls(meaning)

    def header(self, graph: Graph) -> str:
        _check(graph)
        readings, output = graph.inputs[READINGS], graph.outputs[0]
        names = self._classes(graph)
        lines = [
            f"typedef {readings.c_type} sensor_reading_t;",
            f"#define SENSOR_READINGS {readings.size}",
            f"#define SENSOR_OUTPUTS {graph.values[output].size}",
            f"#define SENSOR_OUT net_{output}()",
            f'#define SENSOR_NEEDS "{_needs(readings)}"',
            *(self._own_ranges(readings) if readings.ranges else _one_range(readings)),
            *([f"#define SENSOR_CLASSES {_strings(names)}"] if names else []),
        ]
        return "\n".join(lines) + "\n" + self.text()

    def _classes(self, graph: Graph) -> tuple[str, ...]:
        return tuple(_plain(name) for name in self.meaning.classes.get(graph.outputs[0], ()))

    def _names(self, readings: Value) -> list[str]:
        """What each reading is called in a refusal."""
        quantities = self.meaning.quantities.get(READINGS, ())
        return [_plain(q.name) for q in quantities] or [f"reading {k}" for k in range(1, readings.size + 1)]

    def _own_ranges(self, readings: Value) -> list[str]:
        lows, highs = (", ".join(map(str, ends.tolist())) for ends in (readings.lows, readings.highs))
        return [
            f"#define SENSOR_LOWS {lows}", f"#define SENSOR_HIGHS {highs}",
            f"#define SENSOR_NAMES {_strings(self._names(readings))}",
        ]  # fmt: skip

    def wake(self, graph: Graph) -> str:
        readings = graph.inputs[READINGS]
        middle = np.broadcast_to(np.clip(0, readings.lows, readings.highs), readings.shape)
        return " ".join(map(str, middle.ravel().tolist()))

    def expected(self, graph: Graph, line: str) -> str:
        readings = graph.inputs[READINGS]
        words = [word for word in re.split(f"[{SEPARATORS}]+", line.rstrip("\r\n").strip(SEPARATORS)) if word]
        if not words:
            return ""
        numbers: list[int] = []
        for word in words:
            if not re.fullmatch(r"[+-]?[0-9]+", word) or len(numbers) == readings.size:
                return _needs(readings)
            number, k = _whole(word), len(numbers)
            lo, hi = (int(np.broadcast_to(ends, readings.shape)[k]) for ends in (readings.lows, readings.highs))
            if not lo <= number <= hi:
                return f"? {self._names(readings)[k]}: {lo}..{hi}" if readings.ranges else _needs(readings)
            numbers.append(number)
        if len(numbers) < readings.size:
            return _needs(readings)
        result = interpret(graph, {READINGS: np.array([numbers])})[graph.outputs[0]][0].ravel()
        names = self._classes(graph)
        return names[int(result[0])] if names else " ".join(map(str, result.tolist()))

    def answer(self, text: str) -> str:
        return text.split("\r\n")[0] if "\r\n" in text else ""

    def usage(self, graph: Graph) -> str:
        readings = graph.inputs[READINGS]
        own = "" if readings.ranges else f" in {readings.lo}..{readings.hi}"
        return f"Type {readings.size} integers{own}, separated by spaces or commas; line ending: Newline."

    def by_hand(self, graph: Graph) -> str:
        readings, output = graph.inputs[READINGS], graph.outputs[0]
        lo, hi = int(readings.lows.ravel()[0]), int(readings.highs.ravel()[0])
        return f"""
/* To read sensors instead of lines, put this loop in the place of the one above. Each reading must have the meaning and the unit
   it has at the top of net.h, and must lie in its range, which stands there too: outside that range nothing is proven.

void loop()
{{
    const int16_t pin = analogRead(A0);   // apart, because constrain() would read the pin more than once
    net_instance.readings[0] = constrain(pin, {lo}, {hi});   // and so on to net_instance.readings[{readings.size - 1}]
    net_run();
    sensor_number(net_{output}()[0]);   // the outputs are net_{output}()[0] to net_{output}()[{graph.values[output].size - 1}]
    serial_put('\\n');
    delay(1000);
}}
*/
"""


def _whole(word: str) -> int:
    """An integer; of more than six digits any that is out of every range too.

    >>> _whole("-007"), _whole("9" * 9999)
    (-7, 999999)
    """
    size = int(word.lstrip("+-").lstrip("0")[:6] or "0")
    return -size if word.startswith("-") else size


def _check(graph: Graph) -> None:
    if list(graph.inputs) != [READINGS]:
        raise LevshaError(
            f"sensor: the graph reads {', '.join(graph.inputs)}; a sensor model reads one input, called {READINGS!r}. Rename it."
        )
    for name in (READINGS, graph.outputs[0]):
        value = graph.values[name]
        if value.lo < -INT16_MAX - 1 or value.hi > INT16_MAX:
            raise LevshaError(
                f"sensor: {name!r} can be {value.lo}..{value.hi}; a line holds integers of {-INT16_MAX - 1}..{INT16_MAX}. "
                f"Use a coarser unit, or requantize it."
            )


def _needs(readings: Value) -> str:
    """What is answered to a line that is not as many integers as there are readings, or, where all share one range, outside it."""
    return f"? needs {readings.size} integers" + ("" if readings.ranges else f" in {readings.lo}..{readings.hi}")


def _one_range(readings: Value) -> list[str]:
    return [f"#define SENSOR_LO ({readings.lo}L)", f"#define SENSOR_HI ({readings.hi}L)"]


def _plain(name: str) -> str:
    """A name as it can be sent: one line, at most 24 bytes of it.

    >>> _plain("a b" * 9)
    'a ba ba ba ba ba ba ba b'
    """
    one_line = "".join(c if c.isprintable() else " " for c in name)
    return one_line.encode()[:24].decode("utf-8", "ignore").strip() or "?"


def _strings(names: tuple[str, ...] | list[str]) -> str:
    """Texts one after the other in one C string, each ended by a zero byte."""
    safe = (name.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") for name in names)
    return " ".join(f'"{name}\\0"' for name in safe)
