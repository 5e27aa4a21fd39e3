"""How far the output of a stream may lie over its input: what is written is written after it was read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from levsha.emit.fuse import Group
from levsha.emit.stream import Stream, Sweep
from levsha.ir import Value
from levsha.ops import MaxPool
from levsha.ops.window import Windowed


def lead_of(stream: Stream, values: Mapping[str, Value]) -> int | None:
    """Return by how many bytes at least the output must begin before the first input, to lie over it; None where it must not.

    A group of several ops writes a pixel once it has read all that this pixel depends on, in order; several groups a row. So the end of
    each must not lie behind the first element that any later one reads. Negative where the output may begin later than the input does.
    """
    first, x, out = stream[0][0], values[stream[0][0].inputs[0]], values[stream[-1][-1].name]
    if sum(map(len, stream)) == 1:
        return 0 if first.elementwise and x.dtype.itemsize >= out.dtype.itemsize else None
    *others, group = stream
    read, size = _rows(stream, values) if others else (_pixels(group), out.shape[-1])
    read = read * x.dtype.itemsize
    later = np.minimum.accumulate(read[::-1])[::-1][1:]
    written = np.arange(1, len(read)) * size * out.dtype.itemsize
    # nothing is read after the last pixel, which ends where the output does
    return int((written - later).max()) if len(later) else -x.size * x.dtype.itemsize


def _pixels(group: Group) -> np.ndarray:
    """The first element of the input that each pixel reads."""
    op, last = group[0], group[-1]
    assert isinstance(op, Windowed)
    steps, sizes = (last.strides, last.out_size) if isinstance(last, MaxPool) else ((1, 1), op.out_size)
    # of each window the first row and column: a bound where the padding reaches beyond the first tap
    row, column = (np.maximum(op.positions(axis)[:: steps[axis], 0][: sizes[axis]], 0) for axis in (0, 1))
    _, width, channels = op.shape
    return ((row[:, None] * width + column) * channels).ravel()


def _rows(stream: Stream, values: Mapping[str, Value]) -> tuple[np.ndarray, int]:
    """The first element of the input that is read on behalf of each row of the output, and the elements of such a row."""
    sweeps = [Sweep.of(group, values) for group in stream]
    first, last = sweeps[0], sweeps[-1]
    read = []
    for row in range(last.rows):
        made = row  # rows that the group at hand has made before
        for sweep in reversed(sweeps[1:]):
            made = sweep.made(made - 1) if made else 0
        read.append(max(made * first.step - first.top, 0) * first.row_size)
    return np.array(read), last.out_size
