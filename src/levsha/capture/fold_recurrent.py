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
    """Add a recurrent layer; what reads from the last row to the first gets its rows turned round, and so do those who read it."""
    view, a = build.view(call.inputs[0]), call.attributes
    if a["reverse"]:
        view = replace(view, index=view.index[::-1].copy())
    rows, units = view.shape[0], call.arrays["weight_hh"].shape[1]
    parts = (call.arrays[name].detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    all_TH = np.arange(rows * units).reshape(rows, units)[:: -1 if a["reverse"] else 1].copy()
    last_row = 0 if a["reverse"] else rows - 1
    alone = not a["last"] and _only_row(build, call, last_row)
    cell = Cell(a["cell"], rows, a["last"] or alone, *parts)
    node = build.add(call, "recurrent", [build.materialise(call, view)], cell.shape, None, cell=cell)
    if alone:
        all_TH = np.full((rows, units), -1)
        all_TH[last_row] = np.arange(units)
    if not a["last"]:
        build.views[call.output] = View(node.output, all_TH)


def _only_row(build: Build, call: Call, row: int) -> bool:
    """Whether whoever reads a value reads only one row of it, however it is moved on the way."""
    numbers = np.arange(np.prod(call.shape, dtype=np.int64)).reshape(call.shape)
    read = _read(build, call.output, numbers)
    return bool(np.isin(read, numbers[row]).all())


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
