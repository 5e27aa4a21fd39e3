"""What ops that slide a window share: its geometry, the elements each tap meets, and the loops of their C.

Values are (H, W, C) in memory, channels last; legend: H, W rows and columns, C channels, N examples, K taps of a window.
One-dimensional signals have H = 1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import indent
from typing import Any, NamedTuple

import numpy as np

from levsha.errors import LevshaError
from levsha.ir import Constant, Op, Value, c_index


class WindowCode(NamedTuple):
    """The C of what an op makes of one window: of a Conv its sums.

    declared: what stands before the loops over windows. body: the statements that put the channels of the window (oy, ox) at y, and
    leave y behind them. counter: the type that counts rows, columns and elements. room: where it is not 0, so many elements at y are
    written to, and each keeps what it holds where that is larger; least: what they start at. pooled: of those, the statements that take in all windows of a pool's, if it can.
    """

    declared: list[str]
    body: str
    counter: str
    constants: dict[str, Constant]
    functions: dict[str, str]
    room: int = 0
    least: str = ""
    pooled: Callable[[Any], str] | None = None

    def sums(self, value: Value, name: str) -> str:
        """Return the declaration of an array for the channels of one window."""
        return f"{value.c_place} {name}[{self.room or value.size}];"

    def start(self, name: str) -> list[str]:
        """Return the statements before the body by which it finds the least at y, where it looks."""
        each = f"for ({self.counter} c = 0; c < {self.room}; ++c)"
        return [f"{each} {name}[c] = {self.least};"] if self.room else []

    def bare(self, value: Value) -> str:
        """Return the body for a y with room for the channels alone."""
        if not self.room:
            return self.body
        each = f"for ({self.counter} c = 0; c < {value.shape[-1]}; ++c)"
        lines = [self.sums(value, "sums"), *self.start("sums"), f"{value.c_place} *to = y;", "y = sums;", self.body]
        return "\n".join([*lines, f"{each} *to++ = sums[c];", "y = to;"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Windowed(Op):
    """An op that reads its input as an image and looks at it through a window.

    shape: (H, W, C) of the input, which may have any shape of as many elements. kernel: rows and columns of the window.
    strides: from one window to the next, down and to the right. dilations: from one tap to the next. pads: elements added
    at (top, left, bottom, right).
    """

    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns with the padding."""
        (top, left, bottom, right), (height, width, _) = self.pads, self.shape
        return height + top + bottom, width + left + right

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the first tap of a window to its last, both counted."""
        return (
            self.dilations[0] * (self.kernel[0] - 1) + 1,
            self.dilations[1] * (self.kernel[1] - 1) + 1,
        )

    @property
    def out_size(self) -> tuple[int, int]:
        """Rows and columns of the output: floor((padded - reach) / stride) + 1."""
        (height, width), (down, right) = self.padded, self.reach
        return (height - down) // self.strides[0] + 1, (width - right) // self.strides[1] + 1

    def check(self, x: Value) -> None:
        """Raise LevshaError where the geometry is impossible or is not that of the input."""
        for label, count, least in (("shape", 3, 1), ("kernel", 2, 1), ("strides", 2, 1), ("dilations", 2, 1), ("pads", 4, 0)):  # fmt: skip
            numbers = getattr(self, label)
            if len(numbers) != count or min(numbers) < least:
                raise LevshaError(f"{label} is {tuple(numbers)}; {count} whole numbers of {least} or more are needed.")
        if int(np.prod(self.shape)) != x.size:
            raise LevshaError(
                f"reads {self.shape} (rows, columns, channels), {int(np.prod(self.shape))} elements, but {self.inputs[0]!r} has "
                f"shape {x.shape}, {x.size} elements."
            )
        if self.reach[0] > self.padded[0] or self.reach[1] > self.padded[1]:
            raise LevshaError(
                f"the window covers {self.reach} rows and columns, the input with its padding has {self.padded}. Use a smaller "
                f"kernel or dilation, or more padding."
            )

    def channel_ends(self, x: Value) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value of each channel, two int64 arrays (C,)."""
        channels = self.shape[2]
        if x.ranges is not None and len(x.ranges) == channels:
            return x.lows, x.highs
        return np.full(channels, x.lo), np.full(channels, x.hi)

    def real_taps(self) -> np.ndarray:
        """Return how many taps of each window meet real elements and no padding: (OH, OW)."""
        counts = [
            ((at >= 0) & (at < size)).sum(1)
            for at, size in zip((self.positions(0), self.positions(1)), self.shape, strict=False)
        ]
        return np.outer(*counts)

    def positions(self, axis: int) -> np.ndarray:
        """Row or column that each tap of each window meets: (windows, taps)."""
        starts = np.arange(self.out_size[axis]) * self.strides[axis] - self.pads[axis]
        return starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]

    def taps(self, x: np.ndarray, fill: np.ndarray | int) -> Iterator[np.ndarray]:
        """Yield what each tap meets in every window, tap after tap along the rows: (N, OH, OW, C), of the type of x.

        x: (N, ...). fill: what padding is read as, one number or (C,).
        """
        height, width, channels = self.shape
        top, left = self.pads[:2]
        padded = np.empty((len(x), *self.padded, channels), x.dtype)
        padded[:] = fill
        padded[:, top : top + height, left : left + width] = x.reshape(len(x), *self.shape)
        ends = [(n - 1) * stride + 1 for n, stride in zip(self.out_size, self.strides, strict=True)]
        for row in np.arange(self.kernel[0]) * self.dilations[0]:
            for column in np.arange(self.kernel[1]) * self.dilations[1]:
                yield padded[:, row : row + ends[0] : self.strides[0], column : column + ends[1] : self.strides[1]]

    def c_counter(self, x: Value, out: Value) -> str:
        """Return the C type that counts elements, rows and columns, the padding too."""
        return c_index(max(x.size, out.size, *self.padded))

    @property
    def c_geometry(self) -> str:
        """The geometry as part of a C name: ops of one geometry share their functions."""
        fields = [("s", self.strides, 1), ("d", self.dilations, 1), ("p", self.pads, 0)]
        further = ["_" + letter + _by(field) for letter, field, usual in fields if set(field) != {usual}]
        return f"{_by(self.shape)}_k{_by(self.kernel)}" + "".join(further)

    def c_inside(self, row: str, column: str) -> str:
        """Return the C condition that a tap meets a real element; '' where all do. Counters wrap below zero: outside as well."""
        (top, left, bottom, right), (height, width, _) = self.pads, self.shape
        conditions = [f"{row} < {height}"] if top or bottom else []
        conditions += [f"{column} < {width}"] if left or right else []
        return " && ".join(conditions)

    @abstractmethod
    def window(self, out: Value, x: Value) -> WindowCode:
        """Return the portable C of one window, for what is computed window by window with others."""

    def c_filling(self, x: Value) -> tuple[str, dict[str, Constant]]:
        """Return the C of what padding of channel c holds where it lies in memory, and the constants that it reads."""
        return "0", {}

    def c_windows(self, counter: str, body: str, one_row: bool = False) -> str:
        """Return C loops over the windows: body may read oy and ox. one_row: over those of row oy alone."""
        rows, columns = self.out_size
        down = "" if one_row else f"for ({counter} oy = 0; oy < {rows}; ++oy)\n    "
        return f"{down}for ({counter} ox = 0; ox < {columns}; ++ox) {{\n{indent(body, ' ' * 8)}\n    }}"

    def c_corner(self, axis: int, counter: str) -> str:
        """Return the C of the row or column of a window's first tap."""
        return _c_sum(counter, [(("oy", "ox")[axis], self.strides[axis])], self.pads[axis])

    def c_taps(self, counter: str, x_type: str, inside: str, outside: str = "", after: str = "") -> str:
        """Return C loops over the taps of the window (oy, ox) of an image x.

        inside: where the tap meets a real element, the first channel of which is at v; outside: elsewhere; after: either way.
        """
        (rows, columns), (_, width, channels) = self.kernel, self.shape
        row = _c_sum(counter, [("oy", self.strides[0]), ("ky", self.dilations[0])], self.pads[0])
        column = _c_sum(counter, [("ox", self.strides[1]), ("kx", self.dilations[1])], self.pads[1])
        condition = self.c_inside("iy", "ix")
        real = f"const {x_type} *const v = x + (iy * {width} + ix) * {channels};\n{inside}"
        if condition:
            real = f"if ({condition}) {{\n{indent(real, '    ')}\n}}" + (
                f" else {{\n    {outside}\n}}" if outside else ""
            )
        body = f"const {counter} ix = {column};\n{real}" + (f"\n{after}" if after else "")
        return f"""for ({counter} ky = 0; ky < {rows}; ++ky) {{
    const {counter} iy = {row};
    for ({counter} kx = 0; kx < {columns}; ++kx) {{
{indent(body, " " * 8)}
    }}
}}"""


def _by(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))


def _c_sum(counter: str, terms: list[tuple[str, int]], less: int) -> str:
    """C for a weighted sum of counters, less a constant.

    >>> _c_sum("uint16_t", [("oy", 2), ("ky", 1)], 1), _c_sum("uint16_t", [("oy", 1)], 0)
    ('(uint16_t)(oy * 2 + ky - 1)', 'oy')
    """
    text = " + ".join(name if factor == 1 else f"{name} * {factor}" for name, factor in terms)
    text += f" - {less}" if less else ""
    return text if text.isidentifier() else f"({counter})({text})"
