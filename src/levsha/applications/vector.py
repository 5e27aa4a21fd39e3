"""A line of integers in, a line of integers out, or the name of a class: for any net with one input.  The sensor model builds on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np

from levsha.applications.base import Application, Message, sent
from levsha.applications.say import c_strings, plain_name, say_header
from levsha.arith import INT16_MAX
from levsha.emit.names import check_names
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning

SEPARATORS = " ,;\t"
NUMBER = "number "  # what an element without a name is called in a refusal, before its place, from 1


@dataclass(frozen=True)
class Vector(Application):
    """Integers, each inside its own proven range, in the order of the input's elements, channels last; of classes the name is said."""

    meaning: Meaning = field(default_factory=Meaning)
    name = "vector"

    @classmethod
    def from_json(cls, about: Mapping[str, Any], meaning: Meaning) -> Vector:
        return cls(meaning)

    def header(self, graph: Graph) -> str:
        self.check(graph)
        name, x, output = *_one_input(graph), graph.outputs[0]
        y, classes = graph.values[output], self._classes(graph)
        lines = [
            f"typedef {x.c_type} vector_element_t;",
            f"#define VECTOR_INPUTS {x.size}",
            f"#define VECTOR_IN net_instance.{name}",
            f"#define VECTOR_RUN net_run_{name}()",
            f"#define VECTOR_OUTPUTS {y.size}",
            f"#define VECTOR_OUT net_{output}()",
            f'#define VECTOR_NEEDS "{_needs(x)}"',
            *(self._own_ranges(x) if x.ranges else _one_range(x)),
            *([f"#define VECTOR_CLASSES {c_strings(classes)}"] if classes else []),
        ]
        places = x.size if x.ranges else 0  # of an element that is refused its place is said
        return say_header(y.lo, max(y.hi, places), x.size + 3) + "\n".join(lines) + "\n" + self.text()

    def check(self, graph: Graph) -> None:
        """Raise LevshaError where the graph is none that a line of integers can be put into and got out of."""
        if len(graph.inputs) != 1:
            raise LevshaError(
                f"vector: the graph reads {', '.join(graph.inputs)}; a line of integers fills one input. Join them into one."
            )
        check_names(graph, "net")
        name, x = _one_input(graph)
        self.check_typed(name, x)
        output, names = graph.outputs[0], self.meaning.classes.get(graph.outputs[0], ())
        value = graph.values[output]
        if names and (value.lo < 0 or value.hi >= len(names)):
            raise LevshaError(
                f"{self.name}: {output!r} can be {value.lo}..{value.hi}; it has {len(names)} names of classes. Name each number."
            )

    def check_typed(self, name: str, value: Value) -> None:
        """Raise LevshaError where a value can be more than 16 bits hold, which is the most that a line may hold."""
        if value.lo < -INT16_MAX - 1 or value.hi > INT16_MAX:
            raise LevshaError(
                f"{self.name}: {name!r} can be {value.lo}..{value.hi}; a line holds integers of {-INT16_MAX - 1}..{INT16_MAX}. "
                f"Use a coarser unit, or requantize it."
            )

    def names(self, x: Value) -> list[str]:
        """Return what each element is called in a refusal; empty where that is its place."""
        return []

    @property
    def main(self) -> str:
        return "vector_turn();"

    def text(self) -> str:
        return files("levsha.applications").joinpath("vector.h").read_text()

    def wake(self, graph: Graph) -> str:
        _, x = _one_input(graph)
        middle = np.broadcast_to(np.clip(0, x.lows, x.highs), x.shape)
        return " ".join(map(str, middle.ravel().tolist()))

    def expected(self, graph: Graph, message: Message) -> str:
        line = sent(message).decode("utf-8", "replace").split("\n")[0]
        name, x = _one_input(graph)
        words = [word for word in re.split(f"[{SEPARATORS}]+", line.rstrip("\r\n").strip(SEPARATORS)) if word]
        if not words:
            return ""
        lows, highs = (np.broadcast_to(ends, x.shape).ravel().tolist() for ends in (x.lows, x.highs))
        numbers: list[int] = []
        for word in words:
            if not re.fullmatch(r"[+-]?[0-9]+", word) or len(numbers) == x.size:
                return _needs(x)
            number, k = _whole(word), len(numbers)
            if not lows[k] <= number <= highs[k]:
                return f"? {self._called(x, k)}: {lows[k]}..{highs[k]}" if x.ranges else _needs(x)
            numbers.append(number)
        if len(numbers) < x.size:
            return _needs(x)
        result = interpret(graph, {name: np.array(numbers).reshape(1, *x.shape)})[graph.outputs[0]][0].ravel()
        classes = self._classes(graph)
        return classes[int(result[0])] if classes else " ".join(map(str, result.tolist()))

    def answer(self, text: str) -> str:
        return text.split("\r\n")[0] if "\r\n" in text else ""

    def usage(self, graph: Graph) -> str:
        _, x = _one_input(graph)
        own = "" if x.ranges else f" in {x.lo}..{x.hi}"
        return f"Type {x.size} integers{own}, separated by spaces or commas; line ending: Newline."

    def _classes(self, graph: Graph) -> tuple[str, ...]:
        return tuple(plain_name(name) for name in self.meaning.classes.get(graph.outputs[0], ()))

    def _called(self, x: Value, k: int) -> str:
        names = self.names(x)
        return names[k] if names else f"{NUMBER}{k + 1}"

    def _own_ranges(self, x: Value) -> list[str]:
        lows, highs = (", ".join(map(str, ends.tolist())) for ends in (x.lows, x.highs))
        names, channels = self.names(x), x.lows.size
        return [
            f"#define VECTOR_LOWS {lows}", f"#define VECTOR_HIGHS {highs}",
            f"#define VECTOR_CHANNEL(k) (k{f' % {channels}' if channels < x.size else ''})",
            f"#define VECTOR_NAMES {c_strings(names) if names else c_strings([NUMBER])}", *(["#define VECTOR_NAMED"] if names else []),
        ]  # fmt: skip


def _one_input(graph: Graph) -> tuple[str, Value]:
    return next(iter(graph.inputs.items()))


def _whole(word: str) -> int:
    """An integer; of more than six digits any that is out of every range too.

    >>> _whole("-007"), _whole("9" * 9999)
    (-7, 999999)
    """
    size = int(word.lstrip("+-").lstrip("0")[:6] or "0")
    return -size if word.startswith("-") else size


def _needs(x: Value) -> str:
    """What is answered to a line that is not as many integers as the input has, or, where all share one range, outside it."""
    return f"? needs {x.size} integers" + ("" if x.ranges else f" in {x.lo}..{x.hi}")


def _one_range(x: Value) -> list[str]:
    return [f"#define VECTOR_LO ({x.lo}L)", f"#define VECTOR_HI ({x.hi}L)"]
