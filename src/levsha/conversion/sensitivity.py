"""What each layer costs in each format: the float net with the weights of one layer on a grid.  Legend: N examples, O outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from levsha.capture.fold import INPUT
from levsha.conversion.captured import Captured, as_tensor
from levsha.conversion.measure import Goal, measure
from levsha.formats import FORMATS, Format
from levsha.lower import Node, run_float
from levsha.lower.weights import matrices_of, on_grid

BUDGET = 4_000_000_000  # multiply-accumulates, about: so many rows are looked at as that allows
FEWEST, MOST = 8, 1000


@torch.inference_mode()
def sensitivity(captured: Captured, x: np.ndarray, goal: Goal) -> list[dict[str, Any]]:
    """Return for each layer with weights its name, its weights, and by format what its bytes are and how much the metric falls.

    x: real inputs (N, *shape), of which as many are taken as a second or two allows; goal: what they are measured by.
    """
    nodes = captured.folded.nodes
    layers = [k for k, node in enumerate(nodes) if matrices_of(node)]
    rows = int(np.clip(BUDGET // max(1, _macs(nodes) * len(layers) * len(FORMATS) // 2), FEWEST, min(MOST, len(x))))
    x, goal = x[:rows], goal.part(np.arange(rows))
    known: dict[str, Tensor] = {INPUT: captured.folded.laid(as_tensor(x))}
    known |= {name: trace.h for name, trace in run_float(nodes, known).items()}
    outputs = list(captured.folded.outputs)
    float_NO = _joined(known, outputs)
    key = "accuracy" if goal.kind == "accuracy" else "r2"
    base = measure(float_NO, goal, float_NO)[key]
    found = []
    for k in layers:
        costs = {}
        for weights in FORMATS.values():
            made = _with(nodes, k, weights, known)
            figures = measure(_joined(made, outputs), goal, float_NO)
            costs[weights.name] = {
                "bytes": _bytes(nodes[k], weights),
                "drop": base - figures[key],
                "error_rms": figures["error_rms"],
            }
        found.append(
            {
                "layer": nodes[k].name,
                "weights": sum(matrix.numel() for matrix in matrices_of(nodes[k])),
                "rows": rows,
                "formats": costs,
            }
        )
    return found


def _with(nodes: tuple[Node, ...], k: int, weights: Format, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every value of the float net in which the weights of layer k are on a grid."""
    changed, made = {nodes[k].output}, dict(known)
    for node in (on_grid(nodes[k], weights), *nodes[k + 1 :]):
        if node.output in changed or changed & set(node.inputs):
            changed.add(node.output)
            made[node.output] = node.activate(node.before_activation(*(made[name] for name in node.inputs)))
    return made


def _joined(known: Mapping[str, Tensor], outputs: list[str]) -> np.ndarray:
    return torch.cat([known[name].flatten(1) for name in outputs], 1).double().numpy()


def _bytes(node: Node, weights: Format) -> int:
    return sum(weights.packed_bytes(matrix.numel()) for matrix in matrices_of(node))


def _macs(nodes: tuple[Node, ...]) -> int:
    total = 0
    for node in nodes:
        places = 1 if node.window is None else node.window.out[0] * node.window.out[1]
        times = places if node.cell is None else node.cell.rows
        total += times * sum(matrix.numel() for matrix in matrices_of(node))
    return max(1, total)
