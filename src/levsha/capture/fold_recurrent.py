"""A recurrent layer as a node: its rows lie in the order they are read, and only the last state is computed where only that is used.

Legend: T rows, I inputs, H units.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from levsha.capture.build import Build
from levsha.capture.call import Call
from levsha.capture.view import View
from levsha.lower.cell import Cell


def fold_recurrent(build: Build, call: Call) -> None:
    """Add a recurrent layer over the rows up to the last that anybody needs; what reads backwards gets its rows turned round."""
    view, a, units = build.view(call.inputs[0]), call.attributes, call.arrays["weight_hh"].shape[1]
    rows_T = np.arange(view.shape[0])[:: -1 if a["reverse"] else 1]
    turns_T = np.arange(view.shape[0]) if a["last"] else np.flatnonzero(_is_read(build, call)[rows_T])
    count = int(turns_T.max(initial=0)) + 1
    last = a["last"] or len(turns_T) <= 1
    parts = (call.arrays[name].detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    cell = Cell(a["cell"], count, last, *parts)
    value = build.materialise(call, replace(view, index=view.index[rows_T[:count]]))
    node = build.add(call, "recurrent", [value], cell.shape, None, cell=cell)
    if not a["last"]:
        index_TH = np.full((len(rows_T), units), -1)
        made = rows_T[count - 1 : count] if last else rows_T[:count]
        index_TH[made] = np.arange(len(made) * units).reshape(-1, units)
        build.views[call.output] = View(node.output, index_TH)


def _is_read(build: Build, call: Call) -> np.ndarray:
    """Whether anybody reads each row of a value, (T,), however it is moved on the way."""
    numbers = np.arange(np.prod(call.shape, dtype=np.int64)).reshape(call.shape)
    return np.asarray(np.isin(numbers, _read(build, call.output, numbers)).any(1))


def _read(build: Build, name: str, numbers: np.ndarray) -> np.ndarray:
    """The numbers of the elements that are read of a value, which holds the elements `numbers`, -1 where it holds a fill."""
    if name in build.program.outputs:
        return numbers[numbers >= 0]
    found = [np.zeros(0, np.int64)]
    for reader in build.program.calls:
        if name not in reader.inputs:
            continue
        if reader.kind != "rearrange":
            return numbers[numbers >= 0]
        moved = reader.attributes["move"](torch.from_numpy(numbers.astype(np.float64))[None], -1.0)
        found.append(_read(build, reader.output, moved[0].numpy().astype(np.int64)))
    return np.unique(np.concatenate(found))
