"""A complete program around a net, for the comment of its header."""

from __future__ import annotations

from textwrap import wrap

import numpy as np

from levsha.emit.names import Names
from levsha.ir import Graph
from levsha.meaning import Meaning


def program(graph: Graph, names: Names, meaning: Meaning) -> list[str]:
    """Return the lines: every input is given a value from its range, the net is run, the first output is printed."""
    body = [*own_state(names), *(line for name in graph.inputs for line in _filled(graph, name, names, meaning))]
    body += [f"{names.prefix}_run({names.argument});   // everything, from the inputs"]
    body += [
        f"{names.prefix}_run_{name}({names.argument});   // enough where only what stands from {name} on has changed"
        for name in list(graph.inputs)[1:]
    ]
    return wrapped(names, ["stdio.h"], [*body, *_printed(graph, names, meaning)])


def wrapped(names: Names, headers: list[str], body: list[str]) -> list[str]:
    """Return a whole program of what stands in its main."""
    once = [f"#define {names.upper}_IMPLEMENTATION   // in one unit only"] if names.single else []
    includes = [*(f"#include <{header}>" for header in headers), *once, f'#include "{names.prefix}.h"']
    return [*includes, "int main(void)", "{", *(f"    {line}" for line in body), "    return 0;", "}"]


def own_state(names: Names) -> list[str]:
    """Return the caller's state, where there is none inside."""
    return [] if names.instance else [f"static {names.prefix}_state net;   // as many as you like; one a thread"]


def _filled(graph: Graph, name: str, names: Names, meaning: Meaning) -> list[str]:
    value, size = graph.inputs[name], f"{names.upper}_{name.upper()}_SIZE"
    ahead = f"for (int i = 0; i < {size}; ++i) {names.state}.{name}[i] = "
    if value.ranges is None:
        lines = [f"{ahead}{min(max(0, value.lo), value.hi)};   // {value.lo} to {value.hi}"]
    else:
        numbers = wrap(", ".join(map(str, np.clip(0, value.lows, value.highs).ravel().tolist())), 110)
        lines = [f"static const {value.c_type} {name}[{size}] = {{", *(f"    {line}" for line in numbers), "};"]
        lines.append(f"{ahead}{name}[i];   // each in its own range, counted in its own step")
    if len(meaning.quantities.get(name, ())) == value.size:
        lines.append(
            f"// with {names.upper}_FLOAT defined: {names.state}.{name}[i] = {names.prefix}_{name}_from(i, real);"
        )
    return lines


def _printed(graph: Graph, names: Names, meaning: Meaning) -> list[str]:
    name = graph.outputs[0]
    label, call = f"{names.upper}_{name.upper()}", f"{names.prefix}_{name}({names.argument})"
    if name in meaning.classes:
        return [f"static const char *const classes[] = {label}_CLASSES;", f'printf("%s\\n", classes[{call}[0]]);']
    return [f'for (int i = 0; i < {label}_SIZE; ++i) printf("%ld\\n", (long){call}[i]);']
