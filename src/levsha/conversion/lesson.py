"""What a net learns when it is tuned: the float model's answers, mixed with the right ones.  Legend: N examples, O outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from levsha.conversion.measure import Goal
from levsha.train.batch import Arrays

SMALLEST = 1e-6  # of the outputs' largest spread, what any output is measured in


@dataclass(frozen=True, eq=False)
class Lesson:
    """target: of every row, what is learned; truth: what is measured on rows held out. loss: by name. unit_O: what outputs are divided by
    before the loss. metrics: more figures of what is held out, by name."""

    loss: str
    target: np.ndarray
    truth: np.ndarray
    unit_O: np.ndarray
    metrics: Mapping[str, Callable[[Tensor, Tensor], float]] = field(default_factory=dict)

    def arrays(self, x: np.ndarray, rows: np.ndarray) -> Arrays:
        """Return the rows to learn from."""
        return Arrays(x[rows], self.target[rows])

    def held_out(self, x: np.ndarray, rows: np.ndarray) -> Arrays:
        """Return the rows that choose the best epoch."""
        return Arrays(x[rows], self.truth[rows])


def lesson_of(goal: Goal | None, float_NO: np.ndarray, distil: float, is_logit: bool = True) -> Lesson:
    """Return what is learned of the float model's outputs and of a goal.

    Of classes, probabilities: distil * those of the float model + (1 - distil) * the right class (Hinton et al. 2015, at temperature 1), by
    cross-entropy. Of numbers, and where there is no goal or the outputs are no logits, numbers mixed in the same way, by the mean square in
    units of each output's spread.
    """
    if goal is not None and goal.kind == "accuracy" and is_logit:
        return _many(goal, float_NO, distil) if float_NO.shape[1] > 1 else _two(goal, float_NO, distil)
    spread_O = float_NO.std(0)
    unit_O = np.maximum(spread_O, SMALLEST * spread_O.max(initial=0.0))
    unit_O = np.where(unit_O > 0, unit_O, 1.0)
    right_NO = float_NO if goal is None else goal.y
    if goal is not None and goal.kind == "accuracy":
        right_NO = np.eye(float_NO.shape[1])[goal.y] if float_NO.shape[1] > 1 else goal.y[:, None].astype(np.float64)
    target_NO = distil * float_NO + (1 - distil) * right_NO
    return Lesson("mse", _single(target_NO / unit_O), _single(right_NO / unit_O), unit_O)


def _many(goal: Goal, float_NO: np.ndarray, distil: float) -> Lesson:
    share_NO = np.exp(float_NO - float_NO.max(1, keepdims=True))
    share_NO *= distil / share_NO.sum(1, keepdims=True)
    share_NO[np.arange(len(share_NO)), goal.y] += 1 - distil

    def accuracy(output: Tensor, target: Tensor) -> float:
        return 100 * float((output.argmax(1) == target).double().mean())

    return Lesson("cross_entropy", _single(share_NO), goal.y, np.ones(1), {"accuracy": accuracy})


def _two(goal: Goal, float_NO: np.ndarray, distil: float) -> Lesson:
    right_N1 = goal.y[:, None].astype(np.float64)
    target_N1 = distil / (1 + np.exp(-float_NO.clip(-50, 50))) + (1 - distil) * right_N1

    def accuracy(output: Tensor, target: Tensor) -> float:
        return 100 * float(((output > 0) == (target > 0)).double().mean())

    return Lesson("bce_with_logits", _single(target_N1), _single(right_N1), np.ones(1), {"accuracy": accuracy})


def _single(numbers_NO: np.ndarray) -> np.ndarray:
    return numbers_NO.astype(np.float32)
