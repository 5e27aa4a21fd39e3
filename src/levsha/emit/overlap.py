"""How far the output of a group may lie over its input: what is written is written after it was read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from levsha.emit.fuse import Group
from levsha.ir import Value
from levsha.ops import Conv, MaxPool


def lead_of(group: Group, values: Mapping[str, Value]) -> int | None:
    """Return by how many bytes at least the output must begin before the first input, to lie over it; None where it must not.

    A group of several ops writes a pixel once it has read all that this pixel depends on, in order. So the end of every pixel must not
    lie behind the first element that any later pixel reads. Negative where the output may begin later than the input does.
    """
    op, x, out = group[0], values[group[0].inputs[0]], values[group[-1].name]
    if len(group) == 1:
        return 0 if op.elementwise and x.dtype.itemsize >= out.dtype.itemsize else None
    assert isinstance(op, Conv)
    steps = group[-1].strides if isinstance(group[-1], MaxPool) else (1, 1)
    sizes = group[-1].out_size if isinstance(group[-1], MaxPool) else op.out_size
    # of each window the first row and column: a bound where the padding reaches beyond the first tap
    row, column = (np.maximum(op.positions(axis)[:: steps[axis], 0][: sizes[axis]], 0) for axis in (0, 1))
    _, width, channels = op.shape
    read = ((row[:, None] * width + column) * channels * x.dtype.itemsize).ravel()
    later = np.minimum.accumulate(read[::-1])[::-1][1:]
    written = np.arange(1, len(read)) * out.shape[-1] * out.dtype.itemsize
    # nothing is read after the last pixel, which ends where the output does
    return int((written - later).max()) if len(later) else -x.size * x.dtype.itemsize
