"""A self-test in C: what the interpreter made of a few vectors, and a loop that compares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from levsha.emit.names import Names
from levsha.interpret import interpret
from levsha.ir import Graph, Value


def self_test(graph: Graph, names: Names, tests: Mapping[str, np.ndarray]) -> str:
    """Return the C of PREFIX_self_test, compiled where PREFIX_SELF_TEST is defined; tests: inputs (N, *shape) by name."""
    values = interpret(graph, tests)
    count = len(next(iter(tests.values())))
    arrays = [_array(name, graph.values[name], values[name]) for name in dict.fromkeys((*graph.inputs, *graph.outputs))]
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


def _array(name: str, value: Value, rows: np.ndarray) -> str:
    lines = [",".join(map(str, row.ravel().tolist())) for row in rows]
    body = "},\n{".join(lines)
    return f"static const {value.c_type} $test_{name}[{len(rows)}][{value.size}] $FLASH = {{\n{{{body}}}}};"
