"""Graph -> one self-contained C99 text: no float, no malloc, no library; the same text for every target."""

from __future__ import annotations

from textwrap import indent

import numpy as np

from levsha.emit.memory import plan_memory
from levsha.ir import Constant, Graph, c_name

PROLOGUE = """#include <stdint.h>
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define LEVSHA_FLASH PROGMEM
#define LEVSHA_U8(p) pgm_read_byte(p)
#define LEVSHA_I16(p) ((int16_t)pgm_read_word(p))
#else
#define LEVSHA_FLASH
#define LEVSHA_U8(p) (*(p))
#define LEVSHA_I16(p) (*(p))
#endif
#if defined(__AVR__) && defined(__GNUC__)   /* the inner loops want registers and speed, the rest wants to be small */
#define LEVSHA_KERNEL __attribute__((noinline, optimize("O2")))
#else
#define LEVSHA_KERNEL
#endif
"""


def emit_c(graph: Graph, title: str) -> str:
    """Return the C text of a graph: constants, kernels, RAM, and one function net_run_INPUT() per input.

    After input k has changed, calling the functions k, k + 1, ... in order brings the outputs up to date.
    """
    parts = [_header(graph, title), PROLOGUE, _constants(graph), _memory(graph), *_functions(graph), *_stages(graph)]
    return "\n".join(part for part in parts if part)


def stage_function(input_name: str) -> str:
    """Return the name of the C function to call when this input has changed."""
    return f"net_run_{input_name}"


def _header(graph: Graph, title: str) -> str:
    lines = [f"/* {title}", "   Made by Levsha; do not edit. Exact integers: every target computes the same bits."]
    for name, value in graph.inputs.items():
        lines.append(
            f"   in   {c_name(name)}[{value.size}]  {value.lo}..{value.hi}; when it has changed, call {stage_function(name)}() and those after it"
        )
    for name in graph.outputs:
        value = graph.values[name]
        lines.append(f"   out  {c_name(name)}[{value.size}]  {value.lo}..{value.hi}")
    return "\n".join(lines) + " */"


def _constants(graph: Graph) -> str:
    return "\n".join(_array(name, constant) for op in graph.ops for name, constant in op.constants().items())


def _array(name: str, constant: Constant) -> str:
    numbers = [str(int(v)) for v in np.ravel(constant.data)]
    rows = [",".join(numbers[i : i + 32]) for i in range(0, len(numbers), 32)]
    return f"static const {constant.c_type} {name}[{len(numbers)}] LEVSHA_FLASH = {{\n" + ",\n".join(rows) + "};"


def _memory(graph: Graph) -> str:
    plan = plan_memory(graph)
    arena = {c_type: f"net_{c_type[:-2]}" for c_type in plan.length}
    lines = [f"static {value.c_type} {c_name(name)}[{value.size}];" for name, value in graph.inputs.items()]
    lines += [f"static {c_type} {arena[c_type]}[{length}];" for c_type, length in plan.length.items()]
    lines += [
        f"#define {c_name(name)} ({arena[graph.values[name].c_type]} + {offset})"
        for name, offset in plan.offset.items()
    ]
    return "\n".join(lines) + "\n"


def _functions(graph: Graph) -> list[str]:
    found: dict[str, str] = {}
    for op in graph.ops:
        found |= op.functions(graph.values[op.name], *(graph.values[name] for name in op.inputs))
    return list(found.values())


def _stages(graph: Graph) -> list[str]:
    texts = []
    for name, stage in zip(graph.inputs, graph.stages, strict=True):
        body = "\n".join(op.c(graph.values[op.name], *(graph.values[i] for i in op.inputs)) for op in stage)
        texts.append(f"static void {stage_function(name)}(void)\n{{\n{indent(body, '    ')}\n}}\n")
    return texts
