"""The C of a depthwise convolution: tap by tap, each adds weight * x to the sums of all channels, which lie in the output."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

import numpy as np

from levsha.formats import Format
from levsha.ir import Constant, Value, c_index, c_name
from levsha.ops.dense import ARRAY_BYTES
from levsha.ops.window import WindowCode

if TYPE_CHECKING:
    from levsha.ops.conv import Conv


def depthwise_window(op: Conv, out: Value, x: Value) -> WindowCode:
    """Return the portable C of a window of a depthwise convolution; its sums wrap in the output's type, where the result is proven to fit."""
    counter, outputs, times = op.c_counter(x, out), len(op.weight_OI), op.group_shape[0]
    kernel = f"depthwise_{op.format.name}_{x.c_type[:-2]}_{out.c_type[:-2]}_{times}"
    declared = [f"const {x.c_place} *const x = {c_name(op.inputs[0])};"]
    constants: dict[str, Constant] = {}
    body = [f"for ({counter} o = 0; o < {outputs}; ++o) y[o] = 0;"]
    for name, start, packed_KB in _parts(op):
        constants[name] = Constant("uint8_t", packed_KB.ravel())
        end = min(outputs, start + _outputs(op, packed_KB.shape[1]))
        first, ends = start // times, f"y + {start}, y + {end}"
        calls = [f"${kernel}(w, {at} + {first}, {ends});".replace(" + 0,", ",") for at in ("v", "pad")]
        taps = op.c_taps(
            counter, x.c_place, calls[0], calls[1] if op.stack_bytes(x) else "", f"w += {packed_KB.shape[1]};"
        )
        body.append(f"{{\n    const uint8_t *w = ${name};\n{indent(taps, '    ')}\n}}")
    if op.stack_bytes(x):
        fill, read = op.c_filling(x)
        constants |= read
        declared.append(f"{x.c_place} pad[{op.shape[2]}];   /* {op.stack_bytes(x)} bytes of stack */")
        declared.append(f"for ({counter} c = 0; c < {op.shape[2]}; ++c) pad[c] = {fill};")
    functions = {kernel: _c_tap(kernel, op.format, x, out, times)}
    return WindowCode(declared, "\n".join([*body, f"y += {outputs};"]), counter, constants, functions)


def _parts(op: Conv) -> list[tuple[str, int, np.ndarray]]:
    """Name, first output and bytes (K, B) of each array of weights: for each tap those of the outputs, in whole bytes.

    An array holds all of them, or where these exceed ARRAY_BYTES, those of some channels.
    """
    (times, _), (outputs, taps) = op.group_shape, op.weight_OI.shape
    step = max(times, _outputs(op, ARRAY_BYTES // taps))
    starts = range(0, outputs, step)
    found = []
    for start in starts:
        rows = [op.format.pack(weight_O) for weight_O in op.weight_OI[start : start + step].T]
        name = f"{op.name}_weight{f'_{start}' if len(starts) > 1 else ''}"
        found.append((name, start, np.stack(rows)))
    return found


def _outputs(op: Conv, size: int) -> int:
    """The outputs, of whole channels, whose weights of one tap so many bytes hold."""
    weights, times = op.format, op.group_shape[0]
    return size // weights.bytes_per_group * weights.digits_per_group // times * times


def _c_tap(name: str, weights: Format, x: Value, out: Value, times: int) -> str:
    """The inner loop: one weight for each output, the outputs of a channel one after the other."""
    wrapping = f"u{out.c_type.removeprefix('u')}"
    add = f"if (a || !$BRANCHES) *y = ({out.c_type})({wrapping})(({wrapping})*y + {_product(weights, x, wrapping)});\n++y;"
    several, kind = weights.digits_per_group > 1, weights.c_group
    group = [f"b = {weights.c_read()};", f"w += {weights.bytes_per_group};"] if weights.bytes_per_group > 1 else ["b = $U8(w++);"]  # fmt: skip
    if several:
        lines = indent("\n".join([*group, f"left = {weights.digits_per_group};"]), "    ")
        group = [f"if (!left) {{\n{lines}\n}}", "--left;"]
    else:
        group[0] = f"const {kind} {group[0]}"
    step = "\n".join([*group, *weights.c_next(), add])
    if times > 1:
        counter = c_index(times)
        step = f"for ({counter} k = 0; k < {times}; ++k) {{\n{indent(step, '    ')}\n}}"
    digits = f"    {kind} b = 0;\n    uint8_t left = 0;\n" if several and kind != "uint8_t" else "    uint8_t b = 0, left = 0;\n" if several else ""  # fmt: skip
    return f"""/* Adds weight * x to the sums of all outputs, {times} a channel; weights {weights.meaning}. */
static $KERNEL void ${name}(const uint8_t *w, const {x.c_place} *x, {out.c_place} *y, const {out.c_place} *end)
{{
{digits}    do {{
        const {x.c_type} a = *x++;
{indent(step, " " * 8)}
    }} while (y != end);
}}
"""


def _product(weights: Format, x: Value, wrapping: str) -> str:
    """The C of weight * a, free of signed overflow, and as narrow as it may be."""
    if x.dtype.itemsize == 1 and weights.type == "int8":
        return f"({wrapping})((int16_t)weight * (int16_t)a)"
    if wrapping == "uint32_t" and x.dtype.itemsize <= 2:
        return f"({wrapping})((int32_t)weight * a)"
    wide = "uint32_t" if wrapping == "uint32_t" else "unsigned"
    return f"({wrapping})(({wide})weight * ({wide})a)"
