"""How a picture lies in a net's input.  Legend: N pictures, H rows, W columns, C channels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from levsha.ir import Graph, Value
from levsha.meaning import Layout, Meaning, Quantity

CHANNELS = (1, 3)
LARGEST_PIXEL = 255
STEPS = (1.0, 1 / LARGEST_PIXEL)  # of a pixel, which may be called 0 to 255, or 0 to 1


class Picture(NamedTuple):
    """rows, columns, channels: of the picture. strides: how far apart in memory neighbours in each of these are. top: of a pixel.

    >>> Picture.of(Value((28, 28, 1), 0, 255)).name, Picture.of(Value((5,), 0, 255)), Picture.of(Value((8, 8, 1), -9, 255))
    ('28 x 28, grey', None, None)
    """

    rows: int
    columns: int
    channels: int
    strides: tuple[int, int, int]
    top: int

    @classmethod
    def of(cls, value: Value, layout: Layout | None = None) -> Picture | None:
        """Return how a picture lies in a value, layout: the axes that it has in its model, if they are others; None where none does.

        A picture has 1 or 3 channels, first or last, or no such axis, and pixels of 0 to at most 255, one range for all.
        """
        shape = layout.shape if layout else value.shape
        order = layout.order if layout else tuple(range(len(shape)))
        axes = _axes(shape, first=layout is not None)
        if axes is None or value.ranges is not None or value.lo != 0 or not 1 <= value.hi <= LARGEST_PIXEL:
            return None
        stored = [shape[axis] for axis in order]
        apart = {axis: int(np.prod(stored[at + 1 :])) for at, axis in enumerate(order)}
        rows, columns, channel = axes
        strides = (apart[rows], apart[columns], 1 if channel is None else apart[channel])
        return cls(shape[rows], shape[columns], 1 if channel is None else shape[channel], strides, value.hi)

    @classmethod
    def into(cls, graph: Graph, meaning: Meaning) -> Picture | None:
        """Return how a picture lies in the input of a net; None where the net reads none, more than one input, or readings with a
        step and a zero of their own."""
        if len(graph.inputs) != 1:
            return None
        ((name, value),) = graph.inputs.items()
        quantities = meaning.quantities.get(name, (Quantity(name),))
        raw = len(quantities) == 1 and quantities[0].zero == 0 and quantities[0].step in STEPS
        return cls.of(value, meaning.layouts.get(name)) if raw else None

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self.rows * self.columns * self.channels

    @property
    def name(self) -> str:
        """Its size and kind in words."""
        return f"{self.columns} x {self.rows}, {'grey' if self.channels == 1 else 'RGB'}"

    def lay(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels (N, H, W, C), or (N, size) in that order, as they lie in memory (N, size)."""
        laid = np.empty((len(pixels), self.size), pixels.dtype)
        laid[:, self._places()] = pixels.reshape(len(pixels), -1)
        return laid

    def lift(self, laid: np.ndarray) -> np.ndarray:
        """Return pictures as they lie in memory as pixels (N, H, W, C)."""
        flat = laid.reshape(len(laid), -1)
        return flat[:, self._places()].reshape(-1, self.rows, self.columns, self.channels)

    def place(self, number: str) -> str:
        """Return the C of where the number of a picture, row by row and its channels together, lies in memory."""
        if (self._places() == np.arange(self.size)).all():
            return number
        row, column, channel = self.strides
        across = self.columns * self.channels
        return f"({number} / {across} * {row} + {number} / {self.channels} % {self.columns} * {column} + {number} % {self.channels} * {channel})"

    def binary(self, pixels: np.ndarray) -> bytes:
        """Return pixels (H, W, C), 0 to top, as a PGM or PPM file."""
        head = f"P{5 if self.channels == 1 else 6}\n{self.columns} {self.rows}\n{self.top}\n"
        return head.encode() + pixels.astype(np.uint8).tobytes()

    def _places(self) -> np.ndarray:
        row, column, channel = self.strides
        h, w, c = np.indices((self.rows, self.columns, self.channels))
        return (h * row + w * column + c * channel).ravel()


def _axes(shape: tuple[int, ...], first: bool) -> tuple[int, int, int | None] | None:
    """Which axes are rows, columns and channels; first: the channels are looked for in front before they are behind."""
    if len(shape) == 2 and min(shape) > 1:
        return 0, 1, None
    if len(shape) != 3:
        return None
    kinds = [(shape[0], (1, 2, 0)), (shape[2], (0, 1, 2))]
    return next((axes for size, axes in (kinds if first else kinds[::-1]) if size in CHANNELS), None)
