"""The C of a Conv and of what follows it, window by window: sums, elementwise ops, the largest of a few windows.

What lies between takes no memory of the net's: the numbers of one window are on the stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import indent

from levsha.ir import Code, Op, Value, c_index, c_long, c_name
from levsha.ops.conv import Conv
from levsha.ops.conv_code import WindowCode
from levsha.ops.lookup import Lookup
from levsha.ops.max_pool import MaxPool, c_lowest
from levsha.ops.requantize import Requantize


def fused_code(ops: Sequence[Op], window: WindowCode, values: Mapping[str, Value]) -> Code:
    """Return the C of a Conv, of elementwise ops that read one the other, and of a MaxPool behind them, if there is one.

    window: the C of the Conv's sums. values: of everything the ops read and make.
    """
    first, last = ops[0], ops[-1]
    assert isinstance(first, Conv)
    constants, functions = dict(window.constants), dict(window.functions)
    pixel = {op.name: replace(values[op.name], shape=values[op.name].shape[-1:], total=None) for op in ops}
    elementwise = [op for op in ops[1:] if not isinstance(op, MaxPool)]
    for op in elementwise:
        code = op.code(pixel[op.name], pixel[op.inputs[0]])
        constants |= code.constants
        functions |= code.functions
    x, out = values[first.inputs[0]], values[last.name]
    if isinstance(last, MaxPool):
        loops, largest = _pooled(first, elementwise, last, window, pixel)
        functions |= largest
    else:
        loops = _plain(first, elementwise, window, pixel)
    body = "\n".join([*window.declared, loops])
    name = f"{last.name}_windows"
    functions[name] = f"""/* {", ".join(op.name for op in ops)}: computed together, window by window. */
static void ${name}(const {x.c_place} *{c_name(first.inputs[0])}, {out.c_place} *{c_name(last.name)})
{{
{indent(body, "    ")}
}}
"""
    return Code(f"${name}({c_name(first.inputs[0])}, {c_name(last.name)});", constants, functions)


def _plain(op: Conv, elementwise: Sequence[Op], window: WindowCode, pixel: Mapping[str, Value]) -> str:
    """Every window makes one pixel of the output."""
    channels, sums = len(op.weight_OI), pixel[op.name]
    chain = _chain(elementwise, pixel, c_name(elementwise[-1].name))
    lines = [
        f"{sums.c_place} *y = {c_name(op.name)};",
        window.body,
        *chain,
        f"{c_name(elementwise[-1].name)} += {channels};",
    ]
    return f"{sums.c_place} {c_name(op.name)}[{channels}];\n" + op.c_windows(window.counter, "\n".join(lines))


def _pooled(
    op: Conv, elementwise: Sequence[Op], pool: MaxPool, window: WindowCode, pixel: Mapping[str, Value]
) -> tuple[str, dict[str, str]]:
    """Several windows make one pixel: ops that never fall as their input rises are left to the largest of their inputs."""
    channels, sums, counter = len(op.weight_OI), pixel[op.name], window.counter
    count = next(k for k in range(len(elementwise) + 1) if all(_rises(later) for later in elementwise[k:]))
    before, after = elementwise[:count], list(elementwise[count:])
    kept = before[-1].name if before else op.name
    most, value = f"{kept}_most", pixel[kept]
    largest, text = _c_largest(value)
    inner = [f"{sums.c_place} *y = {c_name(op.name)};", window.body, *_chain(before, pixel)]
    inner.append(f"${largest}({c_name(kept)}, {c_name(most)}, {channels});")
    ends = [f"const {counter} {at}_end = ({counter})({label} * {stride} + {size});"
            for at, label, stride, size in zip(("oy", "ox"), ("py", "px"), pool.strides, pool.kernel, strict=True)]  # fmt: skip
    loops = [f"for ({counter} {at} = ({counter})({label} * {stride}); {at} < {at}_end; ++{at})"
             for at, label, stride in zip(("oy", "ox"), ("py", "px"), pool.strides, strict=True)]  # fmt: skip
    nest = f"{loops[0]}\n    {loops[1]} {{\n{indent(chr(10).join(inner), ' ' * 8)}\n    }}"
    each = f"for ({counter} c = 0; c < {channels}; ++c)"
    fill = f"{each} {c_name(most)}[c] = {c_lowest(value.c_type)};"
    if after:
        after[0] = replace(after[0], inputs=(most,))
        end = _chain(after, {**pixel, most: value}, c_name(pool.name))
    else:
        end = [f"{each} {c_name(pool.name)}[c] = {c_name(most)}[c];"]
    body = indent("\n".join([fill, *ends, nest, *end, f"{c_name(pool.name)} += {channels};"]), " " * 8)
    loops = f"""{sums.c_place} {c_name(op.name)}[{channels}];
{value.c_place} {c_name(most)}[{channels}];
for ({counter} py = 0; py < {pool.out_size[0]}; ++py)
    for ({counter} px = 0; px < {pool.out_size[1]}; ++px) {{
{body}
    }}"""
    return loops, {largest: text}


def _rises(op: Op) -> bool:
    assert isinstance(op, Requantize | Lookup)
    return op.rises


def _chain(ops: Sequence[Op], pixel: Mapping[str, Value], to: str = "") -> list[str]:
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
        lines.append(op.code(value, pixel[source]).call)
    return lines


def _c_largest(value: Value) -> tuple[str, str]:
    """Name and text of the C function that takes the channels of one more pixel in."""
    index = c_index(value.size)
    name = f"largest_{value.c_type[:-2]}{c_long(index)}"
    text = f"""/* Keeps in y the larger of y and v, for each channel. */
static $KERNEL void ${name}(const {value.c_place} *v, {value.c_place} *y, {index} n)
{{
    for ({index} c = 0; c < n; ++c)
        if (v[c] > y[c]) y[c] = v[c];
}}
"""
    return name, text
