"""The C of a Scan: a function with a loop over the rows, around the statements of the body's ops.

Values of the body lie in memory that is the function's own: the states first, each of the rest while it is alive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import indent

import numpy as np

from levsha.ir import Code, Constant, Graph, Value, c_index, c_name

Span = tuple[int, int]  # first byte, end
READ = {"uint8_t": "$U8", "int8_t": "(int8_t)$U8", "int16_t": "$I16", "int32_t": "$I32"}


def scan_code(
    name: str, source: str, body: Graph, starts: Mapping[str, np.ndarray], last: bool, out: Value, x: Value
) -> Code:
    """Return the C of a Scan called `name` over the rows of `source`.

    starts: every state's integers before the first row, by the input of the body. last: whether y is the last state alone.
    """
    inner = _renamed(body, f"{name}_step_")
    codes = [op.code(inner.values[op.name], *(inner.values[value] for value in op.inputs)) for op in inner.ops]
    constants, functions = {}, {}
    for code in codes:
        constants |= code.constants
        functions |= code.functions
    fills: list[str] = []
    for (state, value), start in zip(_states(inner).items(), starts.values(), strict=True):
        line, constant = _start(state, value, start)
        fills.append(line)
        constants |= constant
    *states, row = inner.inputs
    read = any(row in op.inputs for op in inner.ops)
    copied = read and inner.inputs[row].c_place != x.c_place
    offset, size = _plan(inner, [*states, row] if copied else states)
    head = [f"union {{ uint8_t bytes[{size}]; int32_t alignment; }} scan_memory;"]
    head += [_place(place, inner.values[place], at) for place, at in offset.items()]
    turn = [_row(row, inner.inputs[row], copied, x, read), *(code.call for code in codes), *_next(inner, last, out)]
    end = _copy("scan_y", out.c_type, c_name(states[0]), out.size) if last else ""
    loop = f"for ({c_index(x.shape[0])} scan_t = 0; scan_t < {x.shape[0]}; ++scan_t) {{\n{indent(chr(10).join(turn), '    ')}\n}}"
    lines = "\n".join(line for line in (*head, *fills, loop, end) if line)
    functions[f"{name}_rows"] = f"""/* Passes {x.shape[0]} rows, one after the other, through the ops of {name}. */
static void ${name}_rows(const {x.c_place} *scan_x, {out.c_place} *scan_y)
{{
{indent(lines, "    ")}
}}
"""
    return Code(f"${name}_rows({c_name(source)}, {c_name(name)});", constants, functions)


def _renamed(body: Graph, prefix: str) -> Graph:
    """The body with names of its own in the program: two Scans may be made of equal ones."""
    ops = tuple(
        replace(op, name=prefix + op.name, inputs=tuple(prefix + source for source in op.inputs)) for op in body.ops
    )
    inputs = {prefix + name: value for name, value in body.inputs.items()}
    return Graph(inputs, ops, tuple(prefix + name for name in body.outputs))


def _states(body: Graph) -> dict[str, Value]:
    return dict(list(body.inputs.items())[:-1])


def _start(state: str, value: Value, start: np.ndarray) -> tuple[str, dict[str, Constant]]:
    head = f"for ({c_index(value.size)} i = 0; i < {value.size}; ++i) {c_name(state)}[i] ="
    if (start == start[0]).all():
        return f"{head} {int(start[0])};", {}
    kind = Value(value.shape, int(start.min()), int(start.max())).c_type
    return f"{head} ({value.c_type}){READ[kind]}(${state}_init + i);", {f"{state}_init": Constant(kind, start)}


def _place(name: str, value: Value, offset: int) -> str:
    return f"{value.c_place} *const {c_name(name)} = ({value.c_place} *)(void *)(scan_memory.bytes + {offset});"


def _row(name: str, value: Value, copied: bool, x: Value, read: bool) -> str:
    if not read:
        return "(void)scan_x;"
    if not copied:
        return f"const {x.c_place} *const {c_name(name)} = scan_x;\nscan_x += {value.size};"
    head = f"for ({c_index(value.size)} i = 0; i < {value.size}; ++i)"
    return f"{head} {c_name(name)}[i] = ({value.c_type})*scan_x++;"


def _next(body: Graph, last: bool, out: Value) -> list[str]:
    """The states of the next row, once all are known."""
    lines = [
        _copy(c_name(state), value.c_type, c_name(made), value.size)
        for (state, value), made in zip(_states(body).items(), body.outputs, strict=True)
    ]
    width = body.values[body.outputs[0]].size
    return (
        lines
        if last
        else [*lines, f"{_copy('scan_y', out.c_type, c_name(body.outputs[0]), width)}\nscan_y += {width};"]
    )


def _copy(to: str, c_type: str, source: str, size: int) -> str:
    return f"for ({c_index(size)} i = 0; i < {size}; ++i) {to}[i] = ({c_type}){source}[i];"


def _plan(body: Graph, kept: Sequence[str]) -> tuple[dict[str, int], int]:
    """The first byte of every value that the function holds, and the bytes of all; `kept`: inputs that it holds throughout.

    First fit; an elementwise op writes over its first input, where nothing reads that later.
    """
    dies = {op.name: time for time, op in enumerate(body.ops)}
    dies |= {source: time for time, op in enumerate(body.ops) for source in op.inputs}
    dies |= dict.fromkeys((*kept, *body.outputs), len(body.ops))
    placed: dict[str, Span] = {}
    for name in kept:
        placed[name] = _first_fit(list(placed.values()), body.values[name])
    for time, op in enumerate(body.ops):
        value, first = body.values[op.name], op.inputs[0]
        over = op.elementwise and first in placed and dies[first] == time
        if over and body.values[first].dtype.itemsize >= value.dtype.itemsize:
            start = placed[first][0]
            placed[op.name] = (start, start + value.size * value.dtype.itemsize)
        else:
            placed[op.name] = _first_fit([span for other, span in placed.items() if dies[other] >= time], value)
    return {name: low for name, (low, _) in placed.items()}, max(end for _, end in placed.values())


def _first_fit(alive: list[Span], value: Value) -> Span:
    unit, start = value.dtype.itemsize, 0
    for low, end in sorted(alive):
        if start + value.size * unit <= low:
            break
        start = max(start, -(-end // unit) * unit)
    return start, start + value.size * unit
