"""The C of a convolution: windows are gathered where they are not contiguous, and multiplied as dense layers are."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from levsha.ir import Code, Constant, Value, c_long, c_name
from levsha.ops.dense import ARRAY_BYTES, c_functions, pack_blocks
from levsha.ops.window import WindowCode

if TYPE_CHECKING:
    from levsha.ops.conv import Conv


class Part(NamedTuple):
    """An array of weights: groups first .. first + groups - 1, and of each the outputs start .. start + outputs - 1."""

    name: str
    first: int
    groups: int
    start: int
    outputs: int
    packed: np.ndarray


def is_contiguous(op: Conv) -> bool:
    """Say whether what a window meets lies together in memory, so that it need not be gathered."""
    (rows, columns), width = op.kernel, op.shape[1]
    row = columns == 1 or (op.dilations[1] == 1 and op.groups == 1)
    image = rows == 1 or (op.dilations[0] == 1 and columns == width and op.groups == 1)
    return not any(op.pads) and row and image


def map_code(op: Conv, out: Value, window: WindowCode) -> Code:
    """Return the C that puts the sums of every window where the output lies."""
    text = "\n".join(
        [f"{out.c_place} *y = {c_name(op.name)};", *window.declared, op.c_windows(window.counter, window.bare(out))]
    )
    return Code(f"{{\n{indent(text, '    ')}\n}}", window.constants, window.functions)


def conv_window(op: Conv, out: Value, x: Value) -> WindowCode:
    """Return the portable C of a window of a convolution that is not depthwise."""
    kernel, functions = c_functions(op.format, x, out, max(op.weight_OI.shape))
    groups = op.weight_OI.reshape(op.groups, op.group_shape[0], -1)
    return window_code(
        op, out, x, kernel, functions, op.format.block, [pack_blocks(part, op.format) for part in groups]
    )


def window_code(
    op: Conv, out: Value, x: Value, kernel: str, functions: dict[str, str], block: int, packed: list[np.ndarray]
) -> WindowCode:
    """Return the C that calls a kernel(weights, x, inputs, y, outputs) for every group of a window.

    block: outputs that lie together in the weights. packed: the weight bytes of each group.
    """
    counter, inputs = op.c_counter(x, out), op.weight_OI.shape[1]
    parts = _parts(op, block, packed)
    constants = {part.name: Constant("uint8_t", part.packed) for part in parts}
    declared, source = [], c_name(op.inputs[0])
    if is_contiguous(op):
        at = f"(oy * {op.strides[0] * op.shape[1]} + ox * {op.strides[1]}) * {op.shape[2]}"
        window = f"const {x.c_place} *const window = {source} + {at}@;"
    else:
        declared.append(f"{x.c_place} window[{inputs}];   /* {op.stack_bytes(x)} bytes of stack */")
        name, text = _gather(op, counter, x)
        functions = functions | {name: text}
        corner = ", ".join(op.c_corner(axis, counter) for axis in (0, 1))
        pad = padding(op, x)
        constants |= pad
        window = f"${name}({source}@, {corner}, window{''.join(f', ${name}@' for name in pad)});"
    body = "\n".join(_calls(op, part, counter, window, f"${kernel}(%s, window, {inputs}, y, %d);") for part in parts)
    return WindowCode(declared, body, counter, constants, functions)


def padding(op: Conv, x: Value) -> dict[str, Constant]:
    """Return the constant that padding is read from, where it is not one number for all channels."""
    uniform = not any(op.pads) or len(set(op.pad_C.tolist())) == 1
    return {} if uniform else {f"{op.name}_pad": Constant(x.c_type, op.pad_C)}


def c_read(c_type: str, pointer: str) -> str:
    """Return the C that reads a constant of any type."""
    return f"({c_type})${dict(int16_t='I16', int32_t='I32').get(c_type, 'U8')}({pointer})"


def _parts(op: Conv, block: int, packed: list[np.ndarray]) -> list[Part]:
    """The weights as arrays of ARRAY_BYTES at most: of several groups, or of some outputs of one."""
    outputs, size = op.group_shape[0], packed[0].size
    blocks = -(-outputs // block)
    step, each = max(1, ARRAY_BYTES // (size // blocks)) * block, max(1, ARRAY_BYTES // size)
    cuts = [(g, min(each, op.groups - g), 0, outputs) for g in range(0, op.groups, each)]
    if step < outputs:
        cuts = [(g, 1, s, min(step, outputs - s)) for g in range(op.groups) for s in range(0, outputs, step)]
    found = []
    for first, groups, start, count in cuts:
        name = f"{op.name}_weight{f'_{first * outputs + start}' if len(cuts) > 1 else ''}"
        rows = [packed[g].reshape(blocks, -1) for g in range(first, first + groups)]
        data = np.concatenate([r[start // block : -(-(start + count) // block)].ravel() for r in rows])
        found.append(Part(name, first, groups, start, count, data))
    return found


def _calls(op: Conv, part: Part, counter: str, window: str, call: str) -> str:
    """The calls for one array of weights; `window` and `call` are C with places for the group's first channel, weights and outputs."""
    channels = op.group_shape[1]
    if part.groups == 1:
        before = "" if part.start else window.replace("@", f" + {part.first * channels}" if part.first else "") + "\n"
        return f"{before}{call % (f'${part.name}', part.outputs)}\ny += {part.outputs};"
    group = f"({part.first} + g)" if part.first else "g"
    size = part.packed.size // part.groups
    calls = call % (f"${part.name} + g * {size}", part.outputs)
    body = f"{window.replace('@', f' + {group} * {channels}')}\n{calls}\ny += {part.outputs};"
    return f"for ({counter} g = 0; g < {part.groups}; ++g) {{\n{indent(body, '    ')}\n}}"


def _gather(op: Conv, counter: str, x: Value) -> tuple[str, str]:
    """Name and text of the C function that copies the window whose first tap is at (row, column)."""
    (_, width, channels), (rows, columns), taken = op.shape, op.kernel, op.group_shape[1]
    several, value, t = bool(padding(op, x)), int(op.pad_C[0]), x.c_place
    kind = "" if not any(op.pads) else "_pad" if several else f"_z{value}".replace("-", "m")
    name = f"window_{x.c_type[:-2]}_{op.c_geometry}{f'_g{op.groups}' if op.groups > 1 else ''}{kind}{c_long(counter)}"
    fill = c_read(x.c_type, "pad + c") if several else str(value)
    step = [f"({counter})({label} + {d})" for label, d in zip(("row", "at"), op.dilations, strict=True)]
    place = f"x + (row * {width} + %s) * {channels}"
    loops, condition = "", op.c_inside("row", "at")
    run = columns * channels if op.dilations[1] == 1 and op.groups == 1 and columns <= width else 0
    if run:
        whole = op.c_inside("row", "column").replace(f"column < {width}", f"column <= {width - columns}")
        copy = f"const {t} *v = {place % 'column'};\nfor ({counter} i = 0; i < {run}; ++i) *window++ = *v++;"
        loops = f"if ({whole}) {{\n{indent(copy, '    ')}\n    continue;\n}}\n" if whole else copy
    if not run or condition:
        copy = (
            f"{{\n    const {t} *v = {place % 'at'};\n    for ({counter} c = 0; c < {taken}; ++c) *window++ = *v++;\n}}"
        )
        if condition:
            copy = (
                f"if ({condition}) {copy} else {{\n    for ({counter} c = 0; c < {taken}; ++c) *window++ = {fill};\n}}"
            )
        loops += f"{counter} at = column;\nfor ({counter} kx = 0; kx < {columns}; ++kx, at = {step[1]})\n{indent(copy, '    ')}"
    return (
        name,
        f"""/* One window of an image, gathered from the element at (row, column) on; counters wrap below zero: outside as well. */
static $KERNEL void ${name}(const {t} *x, {counter} row, {counter} column, {t} *window{f", const {x.c_type} *pad" if several else ""})
{{
    for ({counter} ky = 0; ky < {rows}; ++ky, row = {step[0]}) {{
{indent(loops, " " * 8)}
    }}
}}
""",
    )
