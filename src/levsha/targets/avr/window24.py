"""Convolutions of int8 weights in AVR assembly that reads the image where it lies: no window is gathered, and of windows that are pooled the largest sums are kept.

Sums, weights and the trick with unsigned digits are those of dense24. The rows of a window are passed over one after the other; a window that
meets zeros alone costs little more than finding that out. What is at y stays where it is larger: it starts at the smallest number.
Padding is 0, so that taps in it are left out: such windows have fewer rows or columns, and the weights between are skipped.
"""

from __future__ import annotations

import math
from textwrap import indent

from levsha.emit.choose import NONZERO, Cost, Kernel
from levsha.ir import Code, Constant, Op, Value, c_name
from levsha.ops import Conv, Dense, MaxPool
from levsha.ops.conv_code import map_code
from levsha.ops.dense import ARRAY_BYTES
from levsha.ops.window import WindowCode
from levsha.targets.avr import dense24, window24_text
from levsha.targets.avr.dense24 import BLOCK
from levsha.targets.avr.portable import portable_conv

LONGEST = 255  # elements of a row of a window: a counter of eight bits


class Window24(Kernel):
    """int8 layers on uint8_t images, in place: see the module."""

    name = "window24"
    op = Conv

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        if not isinstance(op, Conv) or op.is_depthwise or op.groups > 1 or op.format.name != "int8":
            return False
        (height, width, _), (lines, columns) = op.shape, op.kernel
        plain = not any(op.pads) or (
            not op.pad_C.any()
            and set(op.dilations) == {1}
            and op.real_taps().all()
            and lines <= height
            and columns <= width
        )
        inputs, run = op.weight_OI.shape[1], op.kernel[1] * op.shape[2]
        small = (
            run <= LONGEST
            and inputs * x[0].hi < 1 << 16
            and _blocks(op) < 256
            and inputs * BLOCK * _blocks(op) <= ARRAY_BYTES
        )
        return bool(
            dense24.takes(op, out, x[0]) and x[0].c_type == "uint8_t" and plain and op.dilations[1] == 1 and small
        )

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        """Instructions counted one by one; where nothing is pooled, the portable C around them measured."""
        assert isinstance(op, Conv)
        inputs, rows, size = op.weight_OI.shape[1], op.kernel[0], dense24.sum_bytes(out)
        a_block = 60 + 32 * rows + inputs * (9 + nonzero * (62 - 24 + 8 * size)) + BLOCK * (9 + 5 * size)
        around = 60 if pooled else 240 + 10 * size * len(op.weight_OI)
        window = around + 7 * inputs + 8 * rows + _blocks(op) * a_block + 60 * bool(any(op.pads))
        return Cost(math.prod(op.out_size) * window, 500)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO) -> Cost:
        assert isinstance(op, Conv)
        return portable_conv(op, out, nonzero)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        assert isinstance(op, Conv)
        return map_code(op, out, self.window(op, out, *x))

    def window(self, op: Op, out: Value, *x: Value) -> WindowCode:
        assert isinstance(op, Conv)
        padded = any(op.pads)
        kernel = f"window24_{out.c_type[:-2]}{'_pad' if padded else ''}"
        rows = Dense(name=op.name, inputs=op.inputs, weight_OI=op.weight_OI, format=op.format)
        weight, counter = f"{op.name}_weight", op.c_counter(x[0], out)
        (_, width, channels), (lines, columns), outputs = op.shape, op.kernel, len(op.weight_OI)
        inputs = op.weight_OI.shape[1]
        fields = {
            "w": f"${weight}",
            "rows": lines,
            "run": columns * channels,
            "blocks": _blocks(op),
            "columns": 1,
            "lines": 1,
        }
        fields |= {"gap": (op.dilations[0] * width - columns) * channels, "across": op.strides[1] * channels}
        fields |= {"skip": 0, "block": inputs * BLOCK} if padded else {}
        declared = [f"${kernel}_state s;", *(f"s.{name} = {value};" for name, value in fields.items())]
        call, source = f"${kernel}(&s);", c_name(op.inputs[0])
        place = f"s.x = {source} + (oy * {op.strides[0] * width} + ox * {op.strides[1]}) * {channels};"
        steps = ["s.y = y;", _clip(op, counter, source, weight) if padded else place, call, f"y += {outputs};"]
        constants = {weight: Constant("uint8_t", dense24.packed(rows))}
        functions = {kernel: window24_text.c_function(f"${kernel}", out, padded)}
        pooled = None if padded else lambda pool: _pooled(op, pool, source, call)
        body = "\n".join(steps)
        least = f"(-{(1 << (8 * dense24.sum_bytes(out) - 1)) - 1} - 1)"
        return WindowCode(declared, body, counter, constants, functions, _blocks(op) * BLOCK, least, pooled)


def _blocks(op: Conv) -> int:
    return -(-len(op.weight_OI) // BLOCK)


def _pooled(op: Conv, pool: MaxPool, source: str, call: str) -> str:
    """Statements that take all windows of a pool's window in, the largest at `most`."""
    (_, width, channels), (down, right), (lines, columns) = op.shape, op.strides, pool.kernel
    at = f"(py * {pool.strides[0] * down * width} + px * {pool.strides[1] * right}) * {channels}"
    back = (down * width - columns * right) * channels
    sizes = f"s.columns = {columns};\ns.lines = {lines};\ns.down = (uint16_t)({back});"
    return f"{sizes}\ns.x = {source} + {at};\ns.y = y;\n{call}"


def _clip(op: Conv, counter: str, source: str, weight: str) -> str:
    """Statements that leave out the taps that a window has in the padding."""
    (height, width, channels), (lines, columns) = op.shape, op.kernel
    t = counter
    inside = f"""s.w = ${weight};
s.x = {source} + (row * {width} + column) * {channels};
s.rows = {lines};
s.run = {columns * channels};
s.gap = {(width - columns) * channels};
s.skip = 0;"""
    cut = f"""const {t} above = row < {height} ? 0 : ({t})(0 - row), before = column < {width} ? 0 : ({t})(0 - column);
{t} below = ({t})({height} - row), after = ({t})({width} - column);
if (below > {lines}) below = {lines};
if (after > {columns}) after = {columns};
s.w = ${weight} + (above * {columns} + before) * {channels * BLOCK};
s.x = {source} + (({t})(row + above) * {width} + ({t})(column + before)) * {channels};
s.rows = (uint8_t)(below - above);
s.run = (uint8_t)((after - before) * {channels});
s.gap = ({t})(({width} - (after - before)) * {channels});
s.skip = (uint16_t)(({columns} - (after - before)) * {channels * BLOCK});"""
    first = f"const {t} row = {op.c_corner(0, t)}, column = {op.c_corner(1, t)};"
    test = f"if (row <= {height - lines} && column <= {width - columns})"
    return f"{first}\n{test} {{\n{indent(inside, '    ')}\n}} else {{\n{indent(cut, '    ')}\n}}"
