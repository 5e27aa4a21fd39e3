"""The header of a net in C: its state, its functions, and what its integers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from levsha.emit.memory import Plan
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning

MOST_LISTED = 64  # elements whose names and steps are written out


@dataclass(frozen=True)
class Names:
    """How the text refers to the net's own things; see Style."""

    prefix: str
    instance: bool
    private: bool
    body_mark: str = "/* body */"

    @property
    def linkage(self) -> str:
        """What stands before a function that the caller calls."""
        return "static " if self.private else ""

    @property
    def upper(self) -> str:
        """The prefix of macros."""
        return self.prefix.upper()

    def function(self, name: str, const: bool = False) -> str:
        """Return name and parameters of a function in its declaration."""
        state = "void" if self.instance else f"{'const ' if const else ''}{self.prefix}_state *state"
        return f"{self.prefix}_{name}({state})"

    def call(self, name: str) -> str:
        """Return a call from inside another function of the net."""
        return f"{self.prefix}_{name}({'' if self.instance else 'state'})"

    def member(self, name: str) -> str:
        """Return a member of the state."""
        return f"{self.prefix}_instance.{name}" if self.instance else f"state->{name}"


def header_text(graph: Graph, title: str, names: Names, plan: Plan, meaning: Meaning) -> str:
    """Return the header; where `names.body_mark` stands, a private text holds the source."""
    guard = f"{names.upper}_H"
    parts = [
        _comment([*_about(graph, title, names, meaning), "", *_example(graph, names)]),
        f"#ifndef {guard}\n#define {guard}\n#include <stdint.h>\n",
        *(_constants(graph, name, names, meaning) for name in (*graph.inputs, *graph.outputs)),
        _state(graph, names, plan),
        "" if names.private else '#ifdef __cplusplus\nextern "C" {\n#endif',
        f"static {names.prefix}_state {names.prefix}_instance;\n" if names.private else _declarations(graph, names),
        *(_accessor(graph, name, plan, names) for name in graph.outputs),
        names.body_mark,
        _float_helpers(graph, names, meaning),
        "" if names.private else "#ifdef __cplusplus\n}\n#endif",
        "#endif",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _comment(lines: list[str]) -> str:
    safe = [line.replace("*/", "* /").replace("/*", "/ *").rstrip() for line in lines]
    return "/* " + "\n   ".join(safe) + " */"


def _about(graph: Graph, title: str, names: Names, meaning: Meaning) -> list[str]:
    lines = [title, "Made by Levsha; do not edit. Exact integers: every target computes the same bits."]
    lines += [meaning.about] if meaning.about else []
    for name, value in graph.inputs.items():
        lines.append(
            f"in   {name}[{value.size}]  {value.lo}..{value.hi}; when it has changed, call {names.prefix}_run_{name} and those after it"
        )
        lines += _elements(name, value, meaning)
    for name in graph.outputs:
        value = graph.values[name]
        lines += [f"out  {name}[{value.size}]  {value.lo}..{value.hi}", *_elements(name, value, meaning)]
    return lines


def _elements(name: str, value: Value, meaning: Meaning) -> list[str]:
    lines = [f"       {meaning.notes[name]}"] if name in meaning.notes else []
    ranges = [f"{lo}..{hi}" for lo, hi in zip(value.lows.ravel(), value.highs.ravel(), strict=True)]
    for k, quantity in enumerate(meaning.quantities.get(name, ())[:MOST_LISTED]):
        own = f", {ranges[k]}" if len(ranges) == value.size > 1 else ""
        lines.append(f"       {k}: {quantity.describe()}{own}")
    if name in meaning.classes:
        lines.append("       " + ", ".join(f"{k} {text}" for k, text in enumerate(meaning.classes[name])))
    return lines


def _example(graph: Graph, names: Names) -> list[str]:
    first, output = next(iter(graph.inputs)), graph.outputs[0]
    state = "" if names.instance else "&net"
    target = f"{names.prefix}_instance" if names.instance else "net"
    own = [] if names.instance else [f"    static {names.prefix}_state net;"]
    return [
        "Example:",
        "    #include <stdio.h>",
        f'    #include "{names.prefix}.h"',
        "    int main(void)",
        "    {",
        *(f"    {line}" for line in own),
        f"        {target}.{first}[0] = {max(graph.inputs[first].lo, min(0, graph.inputs[first].hi))};",
        f"        {names.prefix}_run({state});",
        f'        printf("%d\\n", (int){names.prefix}_{output}({state})[0]);',
        "        return 0;",
        "    }",
    ]


def _constants(graph: Graph, name: str, names: Names, meaning: Meaning) -> str:
    value, label = graph.values[name], f"{names.upper}_{name.upper()}"
    lines = [f"#define {label}_SIZE {value.size}"]
    lines += [f"#define {label}_LOWS {_braced(value.lows)}", f"#define {label}_HIGHS {_braced(value.highs)}"]
    quantities = meaning.quantities.get(name, ())[:MOST_LISTED]
    if quantities:
        for what, items in (
            ("NAMES", [_quoted(q.name) for q in quantities]), ("UNITS", [_quoted(q.unit) for q in quantities]),
            ("STEPS", [f"{q.step!r}" for q in quantities]), ("ZEROS", [f"{q.zero!r}" for q in quantities]),
        ):  # fmt: skip
            lines.append(f"#define {label}_{what} {{{', '.join(items)}}}")
    if name in meaning.classes:
        lines.append(f"#define {label}_CLASSES {{{', '.join(map(_quoted, meaning.classes[name]))}}}")
    return "\n".join(lines)


def _braced(ends: np.ndarray) -> str:
    return "{" + ", ".join(map(str, np.ravel(ends).tolist())) + "}"


def _quoted(text: str) -> str:
    safe = "".join(c if c.isprintable() else " " for c in text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe}"'


def _state(graph: Graph, names: Names, plan: Plan) -> str:
    inputs = [f"    {value.c_type} {name}[{value.size}];" for name, value in graph.inputs.items()]
    widest = max(graph.values[name].dtype.itemsize for name in plan.offset)
    align = "" if widest == 1 else f" int{8 * widest}_t alignment;"
    arena = f"    union {{ uint8_t bytes[{plan.size}];{align} }} arena;   /* everything between, and the outputs */"
    return "\n".join(["", f"typedef struct {names.prefix}_state {{", *inputs, arena, f"}} {names.prefix}_state;", ""])


def _declarations(graph: Graph, names: Names) -> str:
    lines = [f"extern {names.prefix}_state {names.prefix}_instance;"] if names.instance else []
    for index, name in enumerate(graph.inputs):
        then = list(graph.inputs)[index + 1 :]
        after = f"; then call {names.prefix}_run_{then[0]}" if then else ""
        lines += [f"/* Computes what depends on {name}{after}. */", f"void {names.function(f'run_{name}')};"]
    lines += ["/* Computes everything from the inputs. */", f"void {names.function('run')};"]
    lines += [
        f"#ifdef {names.upper}_SELF_TEST",
        "/* Returns 0 where every built-in vector gives what the interpreter gave, else 1 + the number of the first that does not. */",
    ]
    return "\n".join([*lines, f"int {names.function('self_test')};", "#endif", ""])


def _accessor(graph: Graph, name: str, plan: Plan, names: Names) -> str:
    """The outputs lie in the arena (an input may be an output too)."""
    value = graph.values[name]
    place = names.member(name) if name in graph.inputs else f"{names.member('arena')}.bytes + {plan.offset[name]}"
    head = f"static inline const {value.c_type} *{names.function(name, const=True)}"
    return f"/* {value.size} integers, {value.lo}..{value.hi}. */\n{head}\n{{\n    return (const {value.c_type} *)(const void *)({place});\n}}\n"


def _float_helpers(graph: Graph, names: Names, meaning: Meaning) -> str:
    parts = [_to_integer(graph, name, names) for name in graph.inputs if name in meaning.quantities]
    parts += [_to_real(graph, name, names) for name in graph.outputs if name in meaning.quantities]
    return "\n".join([f"#ifdef {names.upper}_FLOAT", *parts, "#endif", ""]) if parts else ""


def _to_integer(graph: Graph, name: str, names: Names) -> str:
    value, label = graph.inputs[name], f"{names.upper}_{name.upper()}"
    ends = ("i", "i") if value.ranges is not None else ("0", "0")
    return f"""/* A real number in the unit of element i as the nearest integer that the net takes. */
static inline {value.c_type} {names.prefix}_{name}_from(int i, float real)
{{
    static const float step[] = {label}_STEPS, zero[] = {label}_ZEROS;
    static const int32_t lo[] = {label}_LOWS, hi[] = {label}_HIGHS;
    const float at = (real - zero[i]) / step[i];
    if (at <= (float)lo[{ends[0]}]) return ({value.c_type})lo[{ends[0]}];
    if (at >= (float)hi[{ends[1]}]) return ({value.c_type})hi[{ends[1]}];
    return ({value.c_type})(at < 0 ? at - 0.5f : at + 0.5f);
}}"""


def _to_real(graph: Graph, name: str, names: Names) -> str:
    value, label = graph.values[name], f"{names.upper}_{name.upper()}"
    return f"""/* Element i of the output as a real number in its unit. */
static inline float {names.prefix}_{name}_real(int i, {value.c_type} integer)
{{
    static const float step[] = {label}_STEPS, zero[] = {label}_ZEROS;
    return zero[i] + step[i] * (float)integer;
}}"""


def self_test(graph: Graph, names: Names, tests: Mapping[str, np.ndarray]) -> str:
    """Return the C of PREFIX_self_test: what the interpreter made of a few vectors, and a loop that compares."""
    values = interpret(graph, tests)
    count = len(next(iter(tests.values())))
    arrays = [_test_array(name, graph.values[name], values[name]) for name in (*graph.inputs, *graph.outputs)]
    puts = [
        f"        for (i = 0; i < {v.size}; ++i) {names.member(n)}[i] = {_read(n, v)};" for n, v in graph.inputs.items()
    ]
    checks = [
        f"        for (i = 0; i < {graph.values[n].size}; ++i)\n            if ({names.call(n)}[i] != {_read(n, graph.values[n])}) return k + 1;"
        for n in graph.outputs
    ]
    lines = [
        f"#ifdef {names.upper}_SELF_TEST", *arrays, f"{names.linkage}int {names.function('self_test')}", "{", "    uint32_t i;",
        f"    for (int k = 0; k < {count}; ++k) {{", *puts, f"        {names.call('run')};", *checks, "    }", "    return 0;", "}", "#endif", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _read(name: str, value: Value) -> str:
    read = {"int16_t": "$I16", "int32_t": "$I32"}.get(value.c_type, "$U8")
    return f"({value.c_type}){read}(&$test_{name}[k][i])"


def _test_array(name: str, value: Value, rows: np.ndarray) -> str:
    lines = [",".join(map(str, row.ravel().tolist())) for row in rows]
    body = "},\n{".join(lines)
    return f"static const {value.c_type} $test_{name}[{len(rows)}][{value.size}] $FLASH = {{\n{{{body}}}}};"
