"""Graph -> C99 that is C++17 as well: no float, no malloc, no library; the same statements for every target."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

import numpy as np

from levsha.emit.choose import Kernel, choose_code
from levsha.emit.dialect import ALIAS, PORTABLE, Dialect
from levsha.emit.header import Names, header_text, self_test
from levsha.emit.memory import plan_memory
from levsha.errors import LevshaError
from levsha.ir import SIGIL, Code, Constant, Graph, Op, c_name
from levsha.meaning import Meaning

C_WORDS = set(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "class",
        "new",
        "delete",
        "template",
        "this",
        "using",
    ]
)


@dataclass(frozen=True)
class Style:
    """How the text meets the program around it.

    prefix: begins every name. instance: one static state inside, functions take none, as on a chip; else the caller owns it.
    private: everything is static, in one text that one unit includes; else a header and a source.
    """

    prefix: str = "net"
    instance: bool = False
    private: bool = False
    dialect: Dialect = PORTABLE
    kernels: Sequence[Kernel] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", self.prefix) or self.prefix in C_WORDS | set(keyword.kwlist):
            raise LevshaError(
                f"--prefix: is {self.prefix!r}; give a C identifier of at most 41 letters, digits and underscores that is no keyword."
            )


@dataclass(frozen=True)
class CText:
    """A header and its source; a private text is all header."""

    prefix: str
    header: str
    source: str = ""

    @property
    def files(self) -> dict[str, str]:
        """The texts by file name."""
        return {f"{self.prefix}.h": self.header} | ({f"{self.prefix}.c": self.source} if self.source else {})

    @property
    def single(self) -> str:
        """One header: the unit that defines PREFIX_IMPLEMENTATION before it includes it holds the net."""
        include = f'#include "{self.prefix}.h"\n'
        body = self.source.replace(include, "")
        upper = self.prefix.upper()
        once = f"#if defined({upper}_IMPLEMENTATION) && !defined({upper}_IMPLEMENTED)\n#define {upper}_IMPLEMENTED"
        return f"{self.header}\n{once}\n{body}#endif\n"


def emit_c(
    graph: Graph,
    title: str,
    style: Style | None = None,
    meaning: Meaning | None = None,
    tests: Mapping[str, np.ndarray] | None = None,
) -> CText:
    """Return the C of a graph: constants, kernels, and one function PREFIX_run_INPUT per input.

    After input k has changed, calling the functions k, k + 1, ... in order brings the outputs up to date. meaning: put into
    constants and comments. tests: inputs (N, *shape) for PREFIX_self_test, which is compiled where PREFIX_SELF_TEST is defined.
    """
    style, plan = style or Style(), plan_memory(graph)
    names = Names(style.prefix, style.instance, style.private)
    codes = [choose_code(op, graph, style.kernels) for op in graph.ops]
    header = header_text(graph, title, names, plan, meaning or Meaning())
    stages = [_stage(graph, index, codes, plan.offset, names) for index in range(len(graph.inputs))]
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
    source = f'/* {title}: the net behind {style.prefix}.h. Made by Levsha; do not edit. */\n#include "{style.prefix}.h"\n{body}'
    return CText(style.prefix, header.replace(names.body_mark, ""), source)


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


def _stage(graph: Graph, index: int, codes: Sequence[Code], offset: Mapping[str, int], names: Names) -> str:
    """The function of one stage: every value it touches gets a name, then come the statements of its ops."""
    stage, code_of = graph.stages[index], {op.name: code for op, code in zip(graph.ops, codes, strict=True)}
    touched = dict.fromkeys(name for op in stage for name in (*op.inputs, op.name))
    places = [_place(graph, name, offset, names, stage) for name in touched]
    unused = [] if touched or names.instance else ["(void)state;"]
    body = "\n".join([*places, *(code_of[op.name].call for op in stage), *unused])
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
