"""A copy of an image with its padding around it, or with wider elements, where the kernels need one."""

from __future__ import annotations

from levsha.ir import Constant, Value
from levsha.ops import Conv
from levsha.ops.conv_code import padding
from levsha.targets.native.vectors import SLACK


def copied_bytes(op: Conv, x: Value, wide: bool) -> int:
    """Return the bytes of the copy, on the stack; 0 where the input can be read as it is."""
    if not any(op.pads) and not (wide and x.dtype.itemsize == 1):
        return 0
    rows, columns = op.padded
    return rows * columns * op.shape[2] * (2 if wide else 1) + SLACK


def padded_copy(op: Conv, x: Value, wide: bool) -> tuple[str, list[str], dict[str, Constant]]:
    """Return what the image to read is called, the statements that make it from x, and the constants of its padding."""
    if not copied_bytes(op, x, wide):
        return "x", [], {}
    (rows, columns), (height, width, channels) = op.padded, op.shape
    top, left = op.pads[:2]
    kind, constants = "int16_t" if wide else x.c_type, padding(op, x)
    fill = f"${op.name}_pad[c]" if constants else str(int(op.pad_C[0]))
    lines = [f"{kind} image[{rows * columns * channels + SLACK}];"]
    if any(op.pads):
        loop = f"for (int32_t c = 0; c < {channels}; ++c) image[p * {channels} + c] = {fill};"
        lines.append(f"for (int32_t p = 0; p < {rows * columns}; ++p)\n    {loop}")
    row, start = columns * channels, (top * columns + left) * channels
    copy = f"image[{start} + r * {row} + i] = x[r * {width * channels} + i];"
    lines.append(f"for (int32_t r = 0; r < {height}; ++r)\n    for (int32_t i = 0; i < {width * channels}; ++i) {copy}")
    return "image", lines, constants
