"""Graph -> C99 that is C++17 as well: no float, no malloc, no library; the same statements for every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

import numpy as np

from levsha.emit.choose import Kernel
from levsha.emit.dialect import ALIAS, PORTABLE, Dialect
from levsha.emit.header import header_text
from levsha.emit.memory import plan_memory
from levsha.emit.names import Names, check_names, check_prefix
from levsha.emit.selftest import self_test
from levsha.emit.stream import Stream, streams_of
from levsha.emit.stream_code import stream_code
from levsha.emit.text import comment
from levsha.ir import SIGIL, Code, Constant, Graph, Op, c_name
from levsha.meaning import Meaning


@dataclass(frozen=True)
class Style:
    """How the text meets the program around it.

    prefix: begins every name. instance: one static state inside, functions take none, as on a chip; else the caller owns it.
    private: everything is static, in one text that one unit includes; else a header and a source. single: these two in one header,
    of which the unit that defines PREFIX_IMPLEMENTATION holds the net.
    """

    prefix: str = "net"
    instance: bool = False
    private: bool = False
    single: bool = False
    dialect: Dialect = PORTABLE
    kernels: Sequence[Kernel] = ()

    def __post_init__(self) -> None:
        check_prefix(self.prefix)


@dataclass(frozen=True)
class CText:
    """A header and its source; a private or single text is all header."""

    prefix: str
    header: str
    source: str = ""

    @property
    def files(self) -> dict[str, str]:
        """The texts by file name."""
        return {f"{self.prefix}.h": self.header} | ({f"{self.prefix}.c": self.source} if self.source else {})


def emit_c(
    graph: Graph,
    title: str,
    style: Style | None = None,
    meaning: Meaning | None = None,
    tests: Mapping[str, np.ndarray] | None = None,
    example: Sequence[str] = (),
) -> CText:
    """Return the C of a graph: constants, kernels, and one function PREFIX_run_INPUT per input.

    After input k has changed, calling the functions k, k + 1, ... in order brings the outputs up to date. meaning: put into
    constants and comments. tests: inputs (N, *shape) for PREFIX_self_test, which is compiled where PREFIX_SELF_TEST is defined.
    example: the program in the header's comment; one around the bare net where none is given.
    """
    style = style or Style()
    plan = plan_memory(graph, style.dialect.slack)
    names = Names(style.prefix, style.instance, style.private, style.single)
    if not style.private:
        check_names(graph, style.prefix)
    streams = streams_of(graph, plan.held)
    code_of = {stream: stream_code(stream, graph, style.kernels) for stage in streams for stream in stage}
    codes = list(code_of.values())
    header = header_text(graph, title, names, plan, meaning or Meaning(), example, bool(tests))
    stages = [_stage(graph, index, stage, code_of, plan.offset, names) for index, stage in enumerate(streams)]
    parts = [
        "#include <stdint.h>",
        style.dialect.prologue + ALIAS,
        _instance(names),
        _constants(codes),
        *_functions(codes),
        *stages,
        _run_all(graph, names),
        self_test(graph, names, tests) if tests else "",
    ]
    body = "\n".join(part for part in parts if part).replace(SIGIL, f"{style.prefix}_")
    if style.private:
        return CText(style.prefix, header.replace(names.body_mark, body))
    header, upper = header.replace(names.body_mark, ""), names.upper
    if style.single:
        once = f"#if defined({upper}_IMPLEMENTATION) && !defined({upper}_IMPLEMENTED)\n#define {upper}_IMPLEMENTED\n"
        return CText(style.prefix, f"{header}\n{once}{body}#endif\n")
    about = comment([f"{title}: the net behind {style.prefix}.h. Made by Levsha; do not edit."])
    return CText(style.prefix, header, f'{about}\n#include "{style.prefix}.h"\n{body}')


def _instance(names: Names) -> str:
    return "$state $instance;\n" if names.instance and not names.private else ""


def _constants(codes: Sequence[Code]) -> str:
    return "\n".join(_array(name, constant) for code in codes for name, constant in code.constants.items())


def _array(name: str, constant: Constant) -> str:
    numbers = [str(int(v)) for v in np.ravel(constant.data)]
    rows = [",".join(numbers[i : i + 32]) for i in range(0, len(numbers), 32)]
    return f"static const {constant.c_type} ${name}[{len(numbers)}] $FLASH = {{\n" + ",\n".join(rows) + "};"


def _functions(codes: Sequence[Code]) -> list[str]:
    found: dict[str, str] = {}
    for code in codes:
        found |= code.functions
    return list(found.values())


def _stage(
    graph: Graph,
    index: int,
    streams: Sequence[Stream],
    code_of: Mapping[Stream, Code],
    offset: Mapping[str, int],
    names: Names,
) -> str:
    """The function of one stage: every value it touches gets a name, then come the statements of its ops."""
    touched = dict.fromkeys(
        name for stream in streams for group in stream for name in (*group[0].inputs, group[-1].name)
    )
    places = [_place(graph, name, offset, names, graph.stages[index]) for name in touched]
    unused = [] if touched or names.instance else ["(void)state;"]
    body = "\n".join([*places, *(code_of[stream].call for stream in streams), *unused])
    head = f"{names.linkage}void {names.function(f'run_{list(graph.inputs)[index]}')}"
    return f"{head}\n{{\n{indent(body, '    ')}\n}}\n"


def _place(graph: Graph, name: str, offset: Mapping[str, int], names: Names, stage: Sequence[Op]) -> str:
    value = graph.values[name]
    if name in graph.inputs:
        cast = "" if value.c_place == value.c_type else f"(const {value.c_place} *)(const void *)"
        return f"const {value.c_place} *const {c_name(name)} = {cast}{names.member(name)};"
    constant = "" if any(op.name == name for op in stage) else "const "
    place = f"{names.member('arena')}.bytes + {offset[name]}"
    return f"{constant}{value.c_place} *const {c_name(name)} = ({constant}{value.c_place} *)(void *)({place});"


def _run_all(graph: Graph, names: Names) -> str:
    calls = "\n".join(f"    {names.call(f'run_{name}')};" for name in graph.inputs)
    inline = "static inline " if names.private else ""
    return f"{inline}void {names.function('run')}\n{{\n{calls}\n}}\n"
