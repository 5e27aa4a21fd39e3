"""The header of a net in C: its state, its functions, and what its integers mean."""

from __future__ import annotations

from collections.abc import Sequence

from levsha.emit.example import program
from levsha.emit.memory import Plan
from levsha.emit.names import Names
from levsha.emit.reals import float_helpers
from levsha.emit.text import braced, comment, quoted
from levsha.ir import Graph, Value
from levsha.meaning import Meaning

MOST_LISTED = 64  # elements that the comment lists; the constants list all


def header_text(
    graph: Graph, title: str, names: Names, plan: Plan, meaning: Meaning, example: Sequence[str] = (), tested: bool = False
) -> str:  # fmt: skip
    """Return the header; where `names.body_mark` stands, a private text holds the source.

    example: a program for the comment, one around the bare net where none is given. tested: whether there is a self-test.
    """
    guard = f"{names.upper}_H"
    how = _short_example(graph, names) if names.private else [*(example or program(graph, names, meaning))]
    use = [] if names.private else ["", *_use(graph, names, meaning, tested)]
    parts = [
        comment([*_about(graph, title, names, meaning), *use, "", "Example:", *(f"    {line}" for line in how)]),
        f"#ifndef {guard}\n#define {guard}\n#include <stdint.h>\n",
        *(_constants(graph, name, names, meaning) for name in dict.fromkeys((*graph.inputs, *graph.outputs))),
        _state(graph, names, plan),
        "" if names.private else '#ifdef __cplusplus\nextern "C" {\n#endif',
        _declarations(graph, names, tested),
        *(_accessor(graph, name, plan, names) for name in graph.outputs),
        names.body_mark,
        float_helpers(graph, names, meaning),
        "" if names.private else "#ifdef __cplusplus\n}\n#endif",
        "#endif",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _about(graph: Graph, title: str, names: Names, meaning: Meaning) -> list[str]:
    lines = [title, "Made by Levsha; do not edit. Exact integers: every target computes the same bits."]
    lines += [meaning.about] if meaning.about else []
    for name, value in graph.inputs.items():
        call = f"; when it has changed, call {names.prefix}_run_{name} and those after it"
        lines += [f"in   {name}[{value.size}]  {value.lo}..{value.hi}{call}", *_elements(name, value, meaning)]
    for name in graph.outputs:
        value = graph.values[name]
        lines += [f"out  {name}[{value.size}]  {value.lo}..{value.hi}", *_elements(name, value, meaning)]
    return lines


def _elements(name: str, value: Value, meaning: Meaning) -> list[str]:
    lines = [f"       {meaning.notes[name]}"] if name in meaning.notes else []
    ranges = [f"{lo}..{hi}" for lo, hi in zip(value.lows.ravel(), value.highs.ravel(), strict=True)]
    quantities = meaning.quantities.get(name, ())
    for k, quantity in enumerate(quantities[:MOST_LISTED]):
        own = f", {ranges[k]}" if len(ranges) == value.size > 1 else ""
        lines.append(f"       {k}: {quantity.describe()}{own}")
    if len(quantities) > MOST_LISTED:
        lines.append(f"       and {len(quantities) - MOST_LISTED} more, which the constants below name")
    if name in meaning.classes:
        lines.append("       " + ", ".join(f"{k} {text}" for k, text in enumerate(meaning.classes[name])))
    return lines


def _use(graph: Graph, names: Names, meaning: Meaning, tested: bool) -> list[str]:
    """How the library is put into a program."""
    upper, prefix = names.upper, names.prefix
    where = f"Add {prefix}.c to the program, as C99 or C++17, and include this header wherever the net is used."
    if names.single:
        where = f"Include this header wherever the net is used; one unit defines {upper}_IMPLEMENTATION before it does, and holds the net."
    state = f"All that is written lies in a {prefix}_state, which the caller owns: with one state each, threads may run it at once."
    if names.instance:
        state = f"All that is written lies in {prefix}_instance, the one state: only one thread at a time may use it."
    lines = [where, state]
    if tested:
        lines.append(
            f"With {upper}_SELF_TEST defined in every unit, {prefix}_self_test says whether the compiler got it right."
        )
    if float_helpers(graph, names, meaning):
        lines.append(
            f"With {upper}_FLOAT defined there are helpers from and to real numbers, of the type {upper}_REAL."
        )
    return lines


def _short_example(graph: Graph, names: Names) -> list[str]:
    first, output = next(iter(graph.inputs)), graph.outputs[0]
    own = [] if names.instance else [f"    static {names.prefix}_state net;"]
    return [
        "#include <stdio.h>",
        f'#include "{names.prefix}.h"',
        "int main(void)",
        "{",
        *own,
        f"    {names.state}.{first}[0] = {max(graph.inputs[first].lo, min(0, graph.inputs[first].hi))};",
        f"    {names.prefix}_run({names.argument});",
        f'    printf("%d\\n", (int){names.prefix}_{output}({names.argument})[0]);',
        "    return 0;",
        "}",
    ]


def _constants(graph: Graph, name: str, names: Names, meaning: Meaning) -> str:
    value, label = graph.values[name], f"{names.upper}_{name.upper()}"
    lines = [f"#define {label}_SIZE {value.size}"]
    lines += [f"#define {label}_LOWS {braced(value.lows)}", f"#define {label}_HIGHS {braced(value.highs)}"]
    quantities = meaning.quantities.get(name, ())
    if quantities:
        lines += [
            f"#define {label}_NAMES {braced(quoted(q.name) for q in quantities)}",
            f"#define {label}_UNITS {braced(quoted(q.unit) for q in quantities)}",
            f"#define {label}_STEPS {braced(repr(float(q.step)) for q in quantities)}",
            f"#define {label}_ZEROS {braced(repr(float(q.zero)) for q in quantities)}",
        ]
    if name in meaning.classes:
        lines.append(f"#define {label}_CLASSES {braced(quoted(text) for text in meaning.classes[name])}")
    return "\n".join(lines)


def _state(graph: Graph, names: Names, plan: Plan) -> str:
    inputs = [f"    {value.c_type} {name}[{value.size}];" for name, value in graph.inputs.items()]
    widest = max(graph.values[name].dtype.itemsize for name in plan.offset)
    align = "" if widest == 1 else f" int{8 * widest}_t alignment;"
    arena = f"    union {{ uint8_t bytes[{plan.size}];{align} }} arena;   /* everything between, and the outputs */"
    return "\n".join(["", f"typedef struct {names.prefix}_state {{", *inputs, arena, f"}} {names.prefix}_state;", ""])


def _declarations(graph: Graph, names: Names, tested: bool) -> str:
    lines = []
    if names.private:
        return f"static {names.prefix}_state {names.prefix}_instance;\n" if names.instance else ""
    if names.instance:
        lines = [
            "/* The one state; put inputs into it. */",
            f"extern {names.prefix}_state {names.prefix}_instance;",
        ]
    for index, name in enumerate(graph.inputs):
        then = list(graph.inputs)[index + 1 :]
        after = f"; then call {names.prefix}_run_{then[0]}" if then else ""
        lines += [f"/* Computes what depends on {name}{after}. */", f"void {names.function(f'run_{name}')};"]
    lines += ["/* Computes everything from the inputs. */", f"void {names.function('run')};"]
    if tested:
        lines += [
            f"#ifdef {names.upper}_SELF_TEST",
            "/* Returns 0 where every built-in vector gives what the interpreter gave, else 1 + the number of the first that does not. */",
            f"int {names.function('self_test')};",
            "#endif",
        ]
    return "\n".join([*lines, ""])


def _accessor(graph: Graph, name: str, plan: Plan, names: Names) -> str:
    """The outputs lie in the arena (an input may be an output too)."""
    value = graph.values[name]
    place = names.member(name) if name in graph.inputs else f"{names.member('arena')}.bytes + {plan.offset[name]}"
    head = f"static inline const {value.c_type} *{names.function(name, const=True)}"
    says = f"{value.size} integers, {value.lo}..{value.hi}."
    if not names.private:
        says = f"Returns {name}: {value.size} integer{'s' * (value.size > 1)}, {value.lo}..{value.hi}, valid until the next run."
    return f"/* {says} */\n{head}\n{{\n    return (const {value.c_type} *)(const void *)({place});\n}}\n"
