"""Rounding refined: integers of a layer's weights chosen so that its sums, not its weights, come nearest to those of the float net.

The objective is that of AdaRound (Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization): the mean square error of a
layer's sums on data.  It is a quadratic function of the integers, which are changed one input after the other, of all outputs at once, each to the
grid point with the least error given all the others; nothing keeps them next to the weight.  Inputs are those that the rounded layers before
make: what these lost is made up for as well.  Legend: N examples, S samples (windows of examples), O outputs, I inputs of an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from levsha.formats import Format
from levsha.lower.node import Node
from levsha.lower.weights import Weights

BUDGET = 20_000_000_000  # multiply-accumulates of a layer, about
SAMPLES, FEWEST_SAMPLES = 1 << 15, 4  # at most; at least, for each input
ELEMENTS = 1 << 25  # of the windows that samples are drawn from, at most
PASSES = 12  # over all inputs, at most
PRIOR = 0.01  # how much the weights themselves count, in units of the mean square of an input


@dataclass(frozen=True, eq=False)
class Sums:
    """What is known of the sums of a group of outputs: sum over I of weight * x, x and sums counted from their means.

    square_II: mean of x x; product_OI: of wanted sums and x; both with the prior in them. mean_I: of x. outputs: which they are.
    """

    outputs: slice
    square_II: np.ndarray
    product_OI: np.ndarray
    mean_I: np.ndarray
    wanted_O: np.ndarray

    def explained(self, integers_OI: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the best scale (O,) of integers, and how much of the mean square it explains."""
        product_O = (integers_OI * self.product_OI).sum(1)
        square_O = ((integers_OI @ self.square_II) * integers_OI).sum(1)
        square_O = np.where(square_O > 0, square_O, np.inf)
        return product_O / square_O, product_O**2 / square_O


def affords(node: Node) -> bool:
    """Say whether a layer's sums can be looked at within the budget, and its factors are those of channels."""
    assert node.weight_OI is not None
    outputs, inputs = node.weight_OI.shape
    samples = FEWEST_SAMPLES * inputs
    return node.factor_O.size in (1, outputs) and inputs**2 * (samples + PASSES * outputs) <= BUDGET


def sums_of(node: Node, read: Sequence[Tensor], z: Tensor, column_I: np.ndarray | None) -> list[Sums]:
    """Return what is known of a layer's sums, for each group of outputs; read: its inputs (N, ...), z: what it should make of them before its activation."""
    assert node.weight_OI is not None
    weight_OI = node.weight_OI.detach().double().numpy()
    outputs, inputs = weight_OI.shape
    groups = 1 if node.window is None else node.window.groups
    windows = _windows(node, read)
    wanted = z.reshape(*windows.shape[:-2], outputs).reshape(-1, outputs)
    windows = windows.reshape(-1, groups, inputs)
    room = int(np.clip(BUDGET // (inputs**2 * groups) - PASSES * outputs // groups, FEWEST_SAMPLES * inputs, SAMPLES))
    if len(windows) > room:
        some = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(windows))[:room]))
        windows, wanted = windows[some], wanted[some]
    factor_O = np.broadcast_to(node.factor_O, (outputs,))
    usable_O = factor_O != 0
    wanted_SO = (wanted.double().numpy() - np.broadcast_to(node.offset_O, (outputs,))) / np.where(
        usable_O, factor_O, 1.0
    )
    each = outputs // groups
    found = []
    for g in range(groups):
        rows = slice(g * each, g * each + each)
        column = 1.0 if column_I is None else column_I if column_I.ndim == 1 else column_I[g * each]
        x_SI = windows[:, g].double().numpy() / column
        found.append(_sums(rows, x_SI, wanted_SO[:, rows], weight_OI[rows] * column))
    return found


def _sums(rows: slice, x_SI: np.ndarray, wanted_SO: np.ndarray, weight_OI: np.ndarray) -> Sums:
    mean_I, mean_O = x_SI.mean(0), wanted_SO.mean(0)
    x_SI, wanted_SO = x_SI - mean_I, wanted_SO - mean_O
    square_II, product_OI = x_SI.T @ x_SI / len(x_SI), wanted_SO.T @ x_SI / len(x_SI)
    prior = PRIOR * float(np.trace(square_II)) / len(square_II)
    square_II[np.diag_indices_from(square_II)] += prior
    return Sums(rows, square_II, product_OI + prior * weight_OI, mean_I, mean_O)


def _windows(node: Node, read: Sequence[Tensor]) -> Tensor:
    """What the weights meet: (N, P, groups, I) of a convolution, of as many examples as ELEMENTS allows; (N, 1, I) of a linear layer."""
    window = node.window
    if window is None:
        parts = [part.flatten(1) for part in read]
        return torch.cat(parts, 1)[:, None]
    (x,) = read
    taps = F.unfold(window.image(x), window.kernel, dilation=window.dilations, stride=window.strides)  # (N, C * K, P)
    by_channel = taps.reshape(len(taps), window.groups, window.shape[2] // window.groups, -1, taps.shape[-1])
    return by_channel.permute(0, 4, 1, 3, 2).flatten(3)


def rows_for(node: Node) -> int:
    """Return how many examples' windows fit ELEMENTS."""
    assert node.weight_OI is not None
    groups, places = (1, 1) if node.window is None else (node.window.groups, node.window.out[0] * node.window.out[1])
    return max(1, ELEMENTS // (node.weight_OI.shape[1] * groups * places))


def refine(starts: Sequence[Weights], weights: Format, sums: Sequence[Sums]) -> Weights:
    """Return better integers, and the scales that go with them, of the start that is best for each output."""
    integers_OI, scale_O = starts[0].integers_OI.copy(), starts[0].scale_O.copy()
    for group in sums:
        rows = group.outputs
        found = [(*group.explained(start.integers_OI[rows]), start.integers_OI[rows]) for start in starts]
        best_O = np.argmax([gain_O for _, gain_O, _ in found], 0)
        all_O = np.arange(len(best_O))
        q_OI = np.stack([q_OI for _, _, q_OI in found])[best_O, all_O]
        s_O = np.stack([s_O for s_O, _, _ in found])[best_O, all_O]
        integers_OI[rows], scale_O[rows] = _descend(q_OI.astype(np.float64), s_O, weights, group)
    return Weights(integers_OI, scale_O, starts[0].column_I)


def _descend(q_OI: np.ndarray, s_O: np.ndarray, weights: Format, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Coordinate descent; a row without a scale of its own stays as it is."""
    s_O = np.where(s_O == 0, 1e-30, s_O)
    diagonal_I = np.diag(sums.square_II)
    for _ in range(PASSES):
        left_OI = sums.product_OI - s_O[:, None] * (q_OI @ sums.square_II)
        changed = False
        for i in np.argsort(-diagonal_I, kind="stable") if diagonal_I.max() > 0 else ():
            wanted_O = q_OI[:, i] + left_OI[:, i] / (s_O * max(diagonal_I[i], 1e-30))
            step_O = weights.to_integers(wanted_O) - q_OI[:, i]
            if step_O.any():
                changed = True
                q_OI[:, i] += step_O
                left_OI -= (s_O * step_O)[:, None] * sums.square_II[i]
        better_O, _ = sums.explained(q_OI)
        s_O = np.where(better_O * s_O > 0, better_O, s_O)
        if not changed:
            break
    return np.rint(q_OI).astype(np.int64), s_O
