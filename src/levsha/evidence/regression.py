"""How good predicted numbers or classes are, beside the trivial predictors; legend: N examples, O outputs, C classes."""

from __future__ import annotations

import numpy as np


def r_squared(reference_NO: np.ndarray, approximated_NO: np.ndarray) -> float:
    """Return the coefficient of determination: 1 is exact, 0 is as good as the mean; over several outputs their mean.

    A target that is constant in the reference counts 1 where every value is met exactly, else 0.

    >>> r_squared(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [2.0]]))
    0.5
    """
    rest = ((reference_NO - approximated_NO) ** 2).sum(0)
    spread = ((reference_NO - reference_NO.mean(0)) ** 2).sum(0)
    constant = (reference_NO.min(0) == reference_NO.max(0)) | (spread == 0)
    share = np.divide(rest, spread, out=(rest > 0).astype(np.float64), where=~constant)
    return float(np.mean(1 - share))


def rmse(reference_NO: np.ndarray, approximated_NO: np.ndarray) -> float:
    """Return the root of the mean squared error, in the targets' unit."""
    return float(np.sqrt(((reference_NO - approximated_NO) ** 2).mean()))


def score_numbers(reference_NO: np.ndarray, approximated_NO: np.ndarray) -> dict[str, float]:
    """Return r2 and rmse."""
    return {"r2": r_squared(reference_NO, approximated_NO), "rmse": rmse(reference_NO, approximated_NO)}


def score_classes(label_N: np.ndarray, chosen_N: np.ndarray) -> dict[str, float]:
    """Return the accuracy in per cent, and the mean over classes of the share found (balanced accuracy)."""
    found = [float((chosen_N[label_N == c] == c).mean()) for c in np.unique(label_N)]
    return {"accuracy": 100 * float((label_N == chosen_N).mean()), "balanced": 100 * float(np.mean(found))}
