"""How good outputs are: against right answers where they are known, else against the float model.  Legend: N examples, O outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from levsha.errors import LevshaError

Kind = Literal["accuracy", "r2"]


@dataclass(frozen=True)
class Goal:
    """What outputs are measured against. kind: accuracy of classes y (N,), or R2 of numbers y (N, O). of_float: y is what the float model says.
    threshold: above which a single output is class 1."""

    kind: Kind
    y: np.ndarray
    of_float: bool = False
    threshold: float = 0.0

    def part(self, rows: np.ndarray) -> Goal:
        """Return the goal of some rows."""
        return replace(self, y=self.y[rows])


def goal_of(y: np.ndarray | None, float_NO: np.ndarray, about: str, threshold: float = 0.0) -> Goal:
    """Return what a model of these float outputs (N, O) is measured by; LevshaError where y does not fit them.

    about: the model's title. threshold: above which a single output is class 1: 0.5 of a probability, 0 of a logit.
    """
    outputs = float_NO.shape[1]
    if y is None:
        return Goal("r2", float_NO, True)
    if y.dtype.kind in "iub":
        classes = max(outputs, 2)
        if y.ndim > 1 and y.size == len(y):
            y = y.reshape(-1)
        if y.ndim > 1:
            raise LevshaError(
                f"y: has shape {y.shape}; whole numbers are classes, one a row. Give real numbers (float) to predict several."
            )
        if outputs == 1 and y.max() > 1:
            raise LevshaError(
                f"y: holds whole numbers 0..{y.max()}, but {about} has one output. Give real numbers where they are no classes: y.astype(float)."
            )
        if y.min() < 0 or y.max() >= classes:
            raise LevshaError(
                f"y: holds classes {y.min()}..{y.max()}; {about} has {outputs} outputs, so 0..{classes - 1} are allowed."
            )
        return Goal("accuracy", y.astype(np.int64), threshold=threshold)
    y_NO = y.reshape(len(y), -1).astype(np.float64)
    if y_NO.shape[1] != outputs:
        number = y_NO[:, 0]
        classes = (
            y_NO.shape[1] == 1
            and bool((number == np.rint(number)).all())
            and 0 <= number.min() <= number.max() < outputs
        )
        hint = "Are they classes? Give whole numbers: y.astype(int)." if classes else "Give as many, or leave y out."
        raise LevshaError(f"y: has {y_NO.shape[1]} real numbers a row; {about} has {outputs} outputs. {hint}")
    return Goal("r2", y_NO)


def decide(out_NO: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Return the class (N,) of outputs: the largest, the first among equals; of a single output whether it is above the threshold."""
    return out_NO.argmax(1) if out_NO.shape[1] > 1 else (out_NO[:, 0] > threshold).astype(np.int64)


def measure(out_NO: np.ndarray, goal: Goal, float_NO: np.ndarray) -> dict[str, float]:
    """Return the figures of outputs: accuracy, or r2 and rmse; agreement, per cent of decisions like the float model's; error_rms: the root
    mean square of the difference from the float model's outputs."""
    found = {"error_rms": float(np.sqrt(((out_NO - float_NO) ** 2).mean()))}
    decided_N = decide(out_NO, goal.threshold)
    if float_NO.shape[1] > 1 or goal.kind == "accuracy":
        found["agreement"] = 100 * float((decided_N == decide(float_NO, goal.threshold)).mean())
    if goal.kind == "accuracy":
        return {"accuracy": 100 * float((decided_N == goal.y).mean())} | found
    error = out_NO - goal.y
    spread = ((goal.y - goal.y.mean(0)) ** 2).sum()
    r2 = 1 - float((error**2).sum() / spread) if spread else float("nan")
    return {"r2": r2, "rmse": float(np.sqrt((error**2).mean()))} | found
