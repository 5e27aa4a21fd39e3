"""The C of an op that slides a window and of what follows it, window by window: elementwise ops, the largest of a few windows.

What lies between takes no memory of the net's: the numbers of one window are on the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from textwrap import indent
from typing import NamedTuple

from levsha.ir import Code, Op, Value, c_index, c_long, c_name
from levsha.ops.lookup import Lookup
from levsha.ops.max_pool import MaxPool, c_lowest
from levsha.ops.requantize import Requantize
from levsha.ops.window import WindowCode, Windowed


class Call(NamedTuple):
    """How the C of a group is called: C for the input, for the output, and, of a function that makes one row, for its number."""

    source: str
    to: str
    row: str = ""


CodeOf = Callable[[Op, Mapping[str, Value]], Code]


def fused_code(
    ops: Sequence[Op], window: WindowCode, values: Mapping[str, Value], code_of: CodeOf, call: Call | None = None
) -> Code:
    """Return the C of an op that slides a window, of elementwise ops that read one the other, and of a MaxPool behind them, if there is one.

    window: the C of the first op's window. values: of everything the ops read and make. code_of: makes the C of an elementwise op. call: where they lie, if not at their names.
    """
    first, last = ops[0], ops[-1]
    assert isinstance(first, Windowed)
    call = call or Call(c_name(first.inputs[0]), c_name(last.name))
    constants, functions = dict(window.constants), dict(window.functions)
    pixel = {op.name: replace(values[op.name], shape=values[op.name].shape[-1:], total=None) for op in ops}
    pool = last if isinstance(last, MaxPool) and last is not first else None
    elementwise = [op for op in ops[1:] if op is not pool]
    for op in elementwise:
        code = code_of(op, {**values, **pixel})
        constants |= code.constants
        functions |= code.functions
    x, out = values[first.inputs[0]], values[last.name]
    if pool:
        loops, largest = _pooled(first, elementwise, pool, window, pixel, code_of, bool(call.row))
        functions |= largest
    else:
        loops = _plain(first, elementwise, window, pixel, code_of, bool(call.row))
    body = "\n".join([*window.declared, loops])
    name = f"{last.name}_{'row' if call.row else 'windows'}"
    row = f", {window.counter} {'py' if pool else 'oy'}" if call.row else ""
    functions[name] = f"""/* {", ".join(op.name for op in ops)}: computed together, window by window. */
static void ${name}(const {x.c_place} *{c_name(first.inputs[0])}, {out.c_place} *{c_name(last.name)}{row})
{{
{indent(body, "    ")}
}}
"""
    return Code(f"${name}({', '.join(part for part in call if part)});", constants, functions)


def _plain(
    op: Windowed, elementwise: Sequence[Op], window: WindowCode, pixel: Mapping[str, Value], code_of: CodeOf, row: bool
) -> str:
    """Every window makes one pixel of the output."""
    sums, name = pixel[op.name], c_name(op.name)
    if not elementwise:
        return f"{sums.c_place} *y = {name};\n" + op.c_windows(window.counter, window.bare(sums), row)
    to = c_name(elementwise[-1].name)
    begin = [*window.start(name), f"{sums.c_place} *y = {name};", window.body]
    lines = [*begin, *_chain(elementwise, pixel, code_of, to), f"{to} += {sums.size};"]
    return f"{window.sums(sums, name)}\n" + op.c_windows(window.counter, "\n".join(lines), row)


def _pooled(
    op: Windowed,
    elementwise: Sequence[Op],
    pool: MaxPool,
    window: WindowCode,
    pixel: Mapping[str, Value],
    code_of: CodeOf,
    row: bool,
) -> tuple[str, dict[str, str]]:
    """Several windows make one pixel: ops that never fall as their input rises are left to the largest of their inputs."""
    sums, counter = pixel[op.name], window.counter
    count = next(k for k in range(len(elementwise) + 1) if all(_rises(later) for later in elementwise[k:]))
    before, after = elementwise[:count], list(elementwise[count:])
    kept = before[-1].name if before else op.name
    most, value = f"{kept}_most", pixel[kept]
    itself = bool(window.room and not before)  # the body keeps the largest
    declared, functions = [], dict[str, str]()
    if itself:
        inner = [f"{sums.c_place} *y = {c_name(most)};", window.body]
    else:
        largest, functions = _c_largest(value)
        declared.append(window.sums(sums, c_name(op.name)))
        begin = [*window.start(c_name(op.name)), f"{sums.c_place} *y = {c_name(op.name)};", window.body]
        inner = [*begin, *_chain(before, pixel, code_of), f"${largest}({c_name(kept)}, {c_name(most)}, {sums.size});"]
    at_once = window.pooled(pool) if itself and window.pooled else ""
    every = [f"{sums.c_place} *y = {c_name(most)};", at_once] if at_once else _nest(pool, counter, inner)
    room = window.room if itself else sums.size
    each = f"for ({counter} c = 0; c < {sums.size}; ++c)"
    fill = [f"{each} {c_name(most)}[c] = {c_lowest(value.c_type)};"]
    if itself:
        fill = window.start(c_name(most))
    if after:
        after[0] = replace(after[0], inputs=(most,))
        end = _chain(after, {**pixel, most: value}, code_of, c_name(pool.name))
    else:
        end = [f"{each} {c_name(pool.name)}[c] = {c_name(most)}[c];"]
    body = indent("\n".join([*fill, *every, *end, f"{c_name(pool.name)} += {sums.size};"]), " " * 8)
    down = "" if row else f"for ({counter} py = 0; py < {pool.out_size[0]}; ++py)\n    "
    declared.append(f"{value.c_place} {c_name(most)}[{room}];")
    loops = f"""{chr(10).join(declared)}
{down}for ({counter} px = 0; px < {pool.out_size[1]}; ++px) {{
{body}
    }}"""
    return loops, functions


def _nest(pool: MaxPool, counter: str, inner: Sequence[str]) -> list[str]:
    """Statements for every window (oy, ox) of the pool's window (py, px)."""
    ends = [f"const {counter} {at}_end = ({counter})({label} * {stride} + {size});"
            for at, label, stride, size in zip(("oy", "ox"), ("py", "px"), pool.strides, pool.kernel, strict=True)]  # fmt: skip
    loops = [f"for ({counter} {at} = ({counter})({label} * {stride}); {at} < {at}_end; ++{at})"
             for at, label, stride in zip(("oy", "ox"), ("py", "px"), pool.strides, strict=True)]  # fmt: skip
    nest = f"{loops[0]}\n    {loops[1]} {{\n{indent(chr(10).join(inner), ' ' * 8)}\n    }}"
    return [*ends, nest]


def sums_are_pooled(ops: Sequence[Op]) -> bool:
    """Say whether of what the first op makes, only the largest of several windows is wanted."""
    return len(ops) > 1 and isinstance(ops[-1], MaxPool) and all(map(_rises, ops[1:-1]))


def _rises(op: Op) -> bool:
    assert isinstance(op, Requantize | Lookup)
    return op.rises


def _chain(ops: Sequence[Op], pixel: Mapping[str, Value], code_of: CodeOf, to: str = "") -> list[str]:
    """Statements that pass one pixel through elementwise ops, each over what it reads where there is room; the last to `to`, if given."""
    lines = []
    for op in ops:
        (source,), value, name = op.inputs, pixel[op.name], c_name(op.name)
        if op is ops[-1] and to:
            lines += [f"{value.c_place} *const {name} = {to};"] if name != to else []
        elif value.dtype.itemsize <= pixel[source].dtype.itemsize:
            lines.append(f"{value.c_place} *const {name} = ({value.c_place} *)(void *){c_name(source)};")
        else:
            lines.append(f"{value.c_place} {name}[{value.size}];")
        lines.append(code_of(op, pixel).call)
    return lines


def _c_largest(value: Value) -> tuple[str, dict[str, str]]:
    """Name of the C function, and the function, that takes the channels of one more pixel in."""
    index = c_index(value.size)
    name = f"largest_{value.c_type[:-2]}{c_long(index)}"
    text = f"""/* Keeps in y the larger of y and v, for each channel. */
static $KERNEL void ${name}(const {value.c_place} *v, {value.c_place} *y, {index} n)
{{
    for ({index} c = 0; c < n; ++c)
        if (v[c] > y[c]) y[c] = v[c];
}}
"""
    return name, {name: text}
