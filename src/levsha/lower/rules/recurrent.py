"""A recurrent layer: a Scan whose body is the cell in integers; legend: T rows, I inputs, H units, G rows of weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from levsha.arith import INT16_MAX
from levsha.ir import Graph, Op, Value
from levsha.lower.calibrate import BYTE_TOP, SIGNED_TOP, STATE_TOP, Scale
from levsha.lower.cell import Cell
from levsha.lower.node import Node
from levsha.lower.rules.base import Context, Layer
from levsha.lower.rules.cell_body import BITS, MOST, ROOM, Body, Grid, Term, state_value
from levsha.lower.rules.several import requantised
from levsha.lower.weights import Known, quantise_matrix
from levsha.ops import Gather, Scan

SIGMOID_MOST, TANH_MOST = 10.5, 5.6  # beyond these the functions are 0, 1 and -1 in steps of 2**-14
ONE = 1 / STATE_TOP
NOTHING = np.zeros(1)


@dataclass(frozen=True, eq=False)
class Draft:
    """A body in the making. bias_x_G, bias_h_G: real; that of the row with what its zero makes. step_x: of the row. scale: of h as others read it."""

    cell: Cell
    body: Body
    bias_x_G: np.ndarray
    bias_h_G: np.ndarray
    step_x: float
    scale: Scale

    def both(self, name: str, rows: slice) -> tuple[list[Term], np.ndarray]:
        """Add the sums of row and state, and return them and their real offsets."""
        terms = [self.body.of_x(f"{name}_of_x", rows, self.step_x), self.body.of_h(f"{name}_of_h", rows)]
        return terms, self.bias_x_G[rows] + self.bias_h_G[rows]

    @property
    def is_fine(self) -> bool:
        """Whether others read h as fine as the layer keeps it; else they read the 8 bits that the weights of the state read."""
        return self.scale.hi > BYTE_TOP

    @property
    def state(self) -> dict[str, Value]:
        """h as others read it."""
        return {"h": state_value(self.cell.units, self.scale.lo, self.scale.hi)}


def lower(node: Node, context: Context) -> Layer:
    """Return a Scan, and before it what makes rows of the input, where it does not lie so."""
    cell, scale = node.cell, context.scales[node.output]
    assert cell is not None and node.activation is None
    ops, rows = _rows(node, cell, context.known[node.inputs[0]])
    draft = _draft(node, cell, rows, context)
    states, outputs = CELLS[cell.kind](draft)
    row = {"x": draft.body.x.value}
    body = Graph({**states, **row}, tuple(draft.body.ops), outputs)
    init = np.zeros(sum(state.size for state in states.values()), np.int64)
    scan = Scan(name=node.output, inputs=(rows.name,), body=body, init=init, last=cell.last)
    return Layer(node, (*ops, scan), None, None, scale)


def _rows(node: Node, cell: Cell, known: Known) -> tuple[list[Op], Known]:
    """The input as (T, I), with one step and zero, or one an input."""
    ops: list[Op] = []
    if np.size(known.step) not in (1, cell.inputs) or np.size(known.zero) not in (1, cell.inputs):
        ends = np.stack([known.spread(known.zero) + end * known.spread(known.step) for end in _ends(known)])
        scale = Scale(float(np.abs(ends).max()) / SIGNED_TOP, 0.0, -SIGNED_TOP, SIGNED_TOP)
        ops.append(requantised(f"{node.output}_alike", known, scale))
        known = Known(Value(known.value.shape, scale.lo, scale.hi), scale.step, 0.0, ops[-1].name)
    shape = (cell.rows, cell.inputs)
    if known.value.shape != shape:
        gather = Gather(
            name=f"{node.output}_rows", inputs=(known.name,), index=np.arange(math.prod(shape)).reshape(shape)
        )
        ops.append(gather)
        known = replace(known, value=gather.infer(known.value), name=gather.name)
    return ops, known


def _ends(known: Known) -> tuple[int, int]:
    return known.value.lo, known.value.hi


def _draft(node: Node, cell: Cell, rows: Known, context: Context) -> Draft:
    weights, scale = context.options.format_of(node.name), context.scales[node.output]
    step_I = np.broadcast_to(np.asarray(rows.step, np.float64), (cell.inputs,))
    step_x = float(np.abs(step_I).max())
    column_I = None if np.size(rows.step) == 1 else step_I / step_x
    row = replace(rows, value=replace(rows.value, shape=(cell.inputs,), total=None), name="x")
    zero_I = np.broadcast_to(np.asarray(rows.zero, np.float64), (cell.inputs,))
    of_x = quantise_matrix(cell.weight_ih_GI, weights, column_I)
    # by the rounded weights, which then see the input as it is, and not how far it is from its zero
    bias_x_G = cell.bias_ih_G.detach().double().numpy() + of_x.real() @ zero_I
    read = _read(cell, scale)
    h = Known(state_value(cell.units, read.lo, read.hi), read.step, 0.0, "h" if read is scale else "h_read")
    body = Body(
        row, h, of_x, quantise_matrix(cell.weight_hh_GH, weights, None), weights, context.options.sum_bits
    )  # fmt: skip
    if read is not scale:
        body.scale("h_read", Term("h", scale.hi, np.array([scale.step])), NOTHING, read.step, (read.lo, read.hi))
    return Draft(cell, body, bias_x_G, cell.bias_hh_G.detach().double().numpy(), step_x, scale)


def _read(cell: Cell, scale: Scale) -> Scale:
    """The 8 bits that the weights of the state read: those that others read, where these read no more."""
    if scale.hi <= BYTE_TOP:
        return scale
    lo, hi = (0, BYTE_TOP) if cell.kind == "rnn_relu" else (-SIGNED_TOP, SIGNED_TOP)
    return Scale(max(1e-6, *map(abs, scale.inner["h"])) / hi, 0.0, lo, hi)


States = tuple[dict[str, Value], tuple[str, ...]]  # the states before the row, and their names after it


def _gru(draft: Draft) -> States:
    """h' = n + z * (h - n), with h as it is kept."""
    body, units, inner = draft.body, draft.cell.units, draft.scale.inner
    kept = "h" if draft.is_fine else "kept"
    grid = Grid.over(inner["gates"], SIGMOID_MOST)
    body.index("at_gates", *draft.both("gates", slice(0, 2 * units)), grid)
    body.look_up("gates", "at_gates", grid.table(_sigmoid, ONE, STATE_TOP))
    body.part("r", "gates", 0, units)
    new = slice(2 * units, 3 * units)
    hidden, bias_H = body.of_h("new_of_h", new), draft.bias_h_G[new]
    # no h makes more of it than this, so that nothing is clipped
    step = max(1e-6, float((hidden.reach_C * hidden.factor_C + np.abs(bias_H)).max())) / MOST
    body.scale("hidden", hidden, bias_H, step, (-MOST, MOST))
    body.multiply("gated", "hidden", "r")
    body.shift("reset", "gated", bits=BITS)
    terms = [body.of_x("new_of_x", new, draft.step_x), Term("reset", MOST, np.array([step]))]
    grid = Grid.over(inner["new"], TANH_MOST)
    body.index("at_n", terms, draft.bias_x_G[new], grid)
    body.look_up("n", "at_n", grid.table(np.tanh, ONE, MOST))
    body.part("z", "gates", 1, units)
    body.mix("away", [(kept, 1), ("n", -1)], 0, 2 * MOST)
    body.multiply("back", "z", "away")
    body.mix("next_kept", [("back", 1), ("n", STATE_TOP)], BITS, MOST)
    if draft.is_fine:
        return draft.state, ("next_kept",)
    body.scale("next", Term("next_kept", MOST, np.array([ONE])), NOTHING, draft.scale.step, (-SIGNED_TOP, SIGNED_TOP))
    return {**draft.state, kept: state_value(units, -MOST, MOST)}, ("next", "next_kept")


def _lstm(draft: Draft) -> States:
    """c' = f * c + i * tanh(a_g); h' = o * tanh(c'). One table makes all gates and, since tanh(a) = 2 sigmoid(2 a) - 1, the new state."""
    body, units, inner = draft.body, draft.cell.units, draft.scale.inner
    terms, offset_G = draft.both("gates", slice(0, 4 * units))
    twice_G = np.repeat([1.0, 1.0, 2.0, 1.0], units)
    ends = np.stack([inner["gates"], 2 * np.array(inner["new"])])
    grid = Grid.over((float(ends[:, 0].min()), float(ends[:, 1].max())), SIGMOID_MOST)
    doubled = [Term(term.name, term.reach, term.factor_C * twice_G, term.reach_C) for term in terms]
    body.index("at_gates", doubled, offset_G * twice_G, grid)
    body.look_up("gates", "at_gates", grid.table(_sigmoid, ONE, STATE_TOP))
    for number, name in enumerate(("i", "f", "half_g", "o")):
        body.part(name, "gates", number, units)
    body.shift("g", "half_g", times=2, offset=-STATE_TOP)
    body.multiply("gated", "g", "i")
    body.shift("new", "gated", bits=BITS)
    body.multiply("kept", "c", "f")
    most = (1 + ROOM) * max(1e-6, *map(abs, inner["c"]))
    bits = max(0, min(BITS, math.floor(math.log2(INT16_MAX / most))))
    body.mix("next_c", [("kept", 1), ("new", 1 << bits)], BITS, INT16_MAX)
    grid = Grid.over(inner["c"], TANH_MOST)
    body.index("at_c", [Term("next_c", INT16_MAX, np.array([2.0**-bits]))], NOTHING, grid)
    body.look_up("tanh_c", "at_c", grid.table(np.tanh, ONE, MOST))
    body.multiply("shown", "tanh_c", "o")
    if draft.is_fine:
        body.shift("next", "shown", bits=BITS)
    else:
        shown = Term("shown", MOST * STATE_TOP, np.array([ONE * ONE]))
        body.scale("next", shown, NOTHING, draft.scale.step, (-SIGNED_TOP, SIGNED_TOP))
    return {**draft.state, "c": state_value(units, -INT16_MAX, INT16_MAX)}, ("next", "next_c")


def _tanh(draft: Draft) -> States:
    """h' = tanh(a)."""
    grid = Grid.over(draft.scale.inner["new"], TANH_MOST)
    draft.body.index("at", *draft.both("new", slice(None)), grid)
    draft.body.look_up("next", "at", grid.table(np.tanh, draft.scale.step, draft.scale.hi))
    return draft.state, ("next",)


def _relu(draft: Draft) -> States:
    """h' = relu(a)."""
    scale = draft.scale
    draft.body.add("next", *draft.both("new", slice(None)), scale.step, (scale.lo, scale.hi))
    return draft.state, ("next",)


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


CELLS: dict[str, Callable[[Draft], States]] = {
    "gru": _gru,
    "lstm": _lstm,
    "rnn_tanh": _tanh,
    "rnn_relu": _relu,
}  # by kind of cell
