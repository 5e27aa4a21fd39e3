"""Convolutions in AVR assembly that reads the image where it lies: no window is gathered, and of windows that are pooled the largest sums are kept.

Sums, weights and the trick with unsigned digits are those of dense24. The rows of a window are passed over one after the other; a window that
meets zeros alone costs little more than finding that out. What is at y stays where it is larger: it starts at the smallest number.
Padding is 0, so that taps in it are left out: such windows have fewer rows or columns, and the weights between are skipped.
Weights lie there as bytes. Those of fewer bits are widened where they are few: what that takes in program memory has its price, see `choose`.
"""

from __future__ import annotations

import math
from textwrap import indent

from levsha.emit.choose import NONZERO, Cost, Kernel
from levsha.formats import FORMATS
from levsha.ir import Code, Constant, Op, Value, c_name
from levsha.ops import Conv, Dense, MaxPool
from levsha.ops.conv_code import map_code
from levsha.ops.dense import ARRAY_BYTES
from levsha.ops.window import WindowCode
from levsha.targets.avr import dense24, window24_text
from levsha.targets.avr.dense24_text import BLOCK
from levsha.targets.avr.portable import portable_conv

LONGEST = 255  # elements of a row of a window: a counter of eight bits
MOST_WIDENED = 1536  # bytes that weights of fewer than eight bits may take for the sake of speed
FLASH_BYTES = 500  # of the code


class Window24(Kernel):
    """Weights of a byte, or a few of fewer bits, on uint8_t images, in place: see the module."""

    name = "window24"
    op = Conv

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        if not isinstance(op, Conv) or op.groups > 1 or x[0].c_type != "uint8_t" or not dense24.sums_fit(out):
            return False
        (rows, columns), inputs = op.kernel, op.weight_OI.shape[1]
        plain = (op.dilations[1] == 1 and not any(op.pads)) or (
            set(op.dilations) == {1} and not op.pad_C.any() and op.real_taps().all() and rows <= op.shape[0] and columns <= op.shape[1]
        )  # fmt: skip
        counted = columns * op.shape[2] <= LONGEST and inputs * x[0].hi < 1 << 16 and _blocks(op) < 256
        return bool(plain and counted and -127 <= op.weight_OI.min() <= op.weight_OI.max() <= 127 and self._stored(op))

    def _stored(self, op: Conv) -> bool:
        """Whether the weights may lie there as bytes: those of fewer bits only where they are few."""
        return _weight_bytes(op) <= (ARRAY_BYTES if op.format.name == "int8" else MOST_WIDENED)

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        """Instructions counted one by one; where nothing is pooled, the portable C around them measured."""
        assert isinstance(op, Conv)
        inputs, rows, size = op.weight_OI.shape[1], op.kernel[0], dense24.sum_bytes(out)
        a_block = 60 + 32 * rows + inputs * (9 + nonzero * (62 - 24 + 8 * size)) + BLOCK * (9 + 5 * size)
        around = 60 if pooled else 240 + 10 * size * len(op.weight_OI)
        window = around + 7 * inputs + 8 * rows + _blocks(op) * a_block + 60 * bool(any(op.pads))
        widened = _weight_bytes(op) - op.format.packed_bytes(op.weight_OI.size)
        return Cost(math.prod(op.out_size) * window, FLASH_BYTES + widened)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Conv)
        return portable_conv(op, out, nonzero, pooled)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        assert isinstance(op, Conv)
        return map_code(op, out, self.window(op, out, *x))

    def window(self, op: Op, out: Value, *x: Value) -> WindowCode:
        assert isinstance(op, Conv)
        padded = any(op.pads)
        kernel = f"window24_{out.c_type[:-2]}{'_pad' if padded else ''}"
        rows = Dense(name=op.name, inputs=op.inputs, weight_OI=op.weight_OI, format=FORMATS["int8"])
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


def _weight_bytes(op: Conv) -> int:
    return op.weight_OI.shape[1] * BLOCK * _blocks(op)


def _blocks(op: Conv) -> int:
    return -(-len(op.weight_OI) // BLOCK)


def _pooled(op: Conv, pool: MaxPool, source: str, call: str) -> str:
    """Statements that take all windows of a pool's window in, the largest at y; none where they are too many to count in eight bits."""
    (_, width, channels), (down, right), (lines, columns) = op.shape, op.strides, pool.kernel
    if max(lines, columns) > LONGEST:
        return ""
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
