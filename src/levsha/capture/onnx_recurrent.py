"""ONNX's GRU and LSTM; legend: N examples, T rows, D directions, H outputs of a direction, G gates, I inputs."""

from __future__ import annotations

from functools import partial

import numpy as np

from levsha.capture.onnx_layout import with_batch
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value

ORDERS = {"GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}  # ONNX has z r h and i o f c, torch r z n and i f g o
USUAL = {"GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}


def recurrent(node: Node) -> tuple[Value | None, ...]:
    """All states Y (T, D, N, H), the last ones Y_h (D, N, H)."""
    first = int(node.attribute("layout", 0)) == 1
    x = with_batch(node, node.real(0), 0 if first else 1)
    _check(node, x)
    way = node.attribute("direction", b"forward").decode()
    ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[way]
    rows, last = [], []
    want_rows, want_last = (i < len(node.read) and node.read[i] for i in (0, 1))
    for d, reverse in enumerate(ways):
        run = partial(node.call, "recurrent", x, arrays=_weights(node, d), cell=node.op.lower(), reverse=reverse)
        if want_rows or not want_last:
            rows.append(run(last=False))
            end = 0 if reverse else -1
            last.append(node.move(rows[-1], lambda t, fill, end=end: t[:, end], 0) if want_last else None)
        else:
            last.append(run(last=True))
    y = _beside(node, rows, (x.shape[0], len(ways), -1), 1, 0 if first else 2) if rows else None
    y_h = _beside(node, last, (len(ways), -1), 0, 0 if first else 1) if want_last else None
    return y, y_h


def _beside(node: Node, found: list[Value | None], own: tuple[int, ...], axis: int, batch: int) -> Value:
    """The states of each direction along an axis of their own."""
    parts = [
        node.move(v, lambda t, fill: t.reshape(len(t), *own[:axis], 1, *own[axis + 1 :]), batch) for v in found if v
    ]
    return parts[0] if len(parts) == 1 else node.call("concat", *parts, axis=axis)


def _check(node: Node, x: Value) -> None:
    """Refuse what torch's cells do not do."""
    if node.op == "GRU" and not node.attribute("linear_before_reset", 0):
        advice = (
            "train it with the reset behind the product (Keras: GRU(reset_after=True), its default; torch always does)"
        )
        raise UnsupportedError("GRU with linear_before_reset = 0", advice)
    names = [n.decode().lower() for n in node.attribute("activations") or []]
    if names and names != USUAL[node.op] * (len(names) // len(USUAL[node.op])):
        raise UnsupportedError(f"{node.op} with activations {', '.join(names)}", f"use {', '.join(USUAL[node.op])}")
    if node.attribute("clip") is not None:
        raise UnsupportedError(f"{node.op} with clip", "train it without")
    node.need("input_forget", 0, "train it with a forget gate of its own")
    length = node.maybe(4, "lengths of sequences")
    if length is not None and (length != x.shape[0]).any():
        raise UnsupportedError(f"{node.op} over sequences of other lengths", "every example must have all rows")
    for index, what in ((5, "a first state"), (6, "a first cell state"), (7, "peephole weights")):
        state = node.input(index)
        if isinstance(state, Value) or (state is not None and np.any(state)):
            raise UnsupportedError(
                f"{node.op} with {what} other than zero", "it must start from zeros and have no peepholes"
            )
    node.need_no_output(2, "the last cell state", "only the states h can be used")


def _weights(node: Node, d: int) -> dict[str, np.ndarray | None]:
    """The constants of a direction, gates in torch's order."""
    weight_DGHI, weight_DGHH = node.constant(1, "weights"), node.constant(2, "recurrent weights")
    bias_D = node.maybe(3, "bias")
    size = weight_DGHH.shape[2]

    def gates(a: np.ndarray) -> np.ndarray:
        return np.concatenate([a[g * size : (g + 1) * size] for g in ORDERS[node.op]])

    bias = np.zeros(2 * len(weight_DGHI[d]), np.float32) if bias_D is None else bias_D[d]
    half = len(bias) // 2
    return {
        "weight_ih": gates(weight_DGHI[d]), "weight_hh": gates(weight_DGHH[d]), "bias_ih": gates(bias[:half]),
        "bias_hh": gates(bias[half:]),
    }  # fmt: skip
