"""What needs no training at all: the mean, least squares and the nearest neighbours, for numbers and for classes."""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 15
BLOCK_CELLS = 4_000_000  # distances held at a time: 32 MB


def trivial_predictions(x_train_NI: np.ndarray, y_train: np.ndarray, x_test_MI: np.ndarray) -> dict[str, np.ndarray]:
    """Return what trivial predictors say of M examples, by name.

    Numbers (y_train float (N, O)): mean, linear (least squares with intercept), nearest_15 (mean of the 15 nearest by
    standardised features, or of all N where there are fewer), each (M, O). Classes (y_train int (N,) from 0):
    commonest, linear (largest of the least squares to one-hot), nearest_15 (majority), each int64 labels (M,); the
    smallest of equals.

    >>> sorted(trivial_predictions(np.arange(4.0)[:, None], np.array([0, 0, 1, 1]), np.array([[9.0]])).items())
    [('commonest', array([0])), ('linear', array([1])), ('nearest_15', array([0]))]
    """
    mean_I, deviation_I = x_train_NI.mean(0), _deviation(x_train_NI)
    x_NI, x_MI = (x_train_NI - mean_I) / deviation_I, (x_test_MI - mean_I) / deviation_I
    if y_train.ndim > 1:
        return _predict_numbers(x_NI, y_train, x_MI)
    scores = _predict_numbers(x_NI, np.eye(int(y_train.max()) + 1)[y_train], x_MI)
    labels = {name: score_MC.argmax(1) for name, score_MC in scores.items()}
    return {"commonest": labels.pop("mean"), **labels}


def _deviation(x_NI: np.ndarray) -> np.ndarray:
    """Return standard deviations, 1 where all numbers are equal: rounding might say otherwise."""
    with np.errstate(over="ignore"):
        deviation_I = x_NI.std(0)
    deviation_I[x_NI.min(0) == x_NI.max(0)] = 1
    # squares of the smallest and the largest numbers leave the range of a float64: those columns are scaled first
    for i in np.flatnonzero((deviation_I < 1e-140) | (deviation_I > 1e140)):
        off_N = x_NI[:, i] - x_NI[:, i].mean()
        deviation_I[i] = np.abs(off_N).max() * (off_N / np.abs(off_N).max()).std()
    return np.where(deviation_I > 0, deviation_I, 1)


def _predict_numbers(x_NI: np.ndarray, y_NO: np.ndarray, x_MI: np.ndarray) -> dict[str, np.ndarray]:
    mean_O = y_NO.mean(0)
    weight_IO = np.linalg.lstsq(x_NI, y_NO - mean_O, rcond=None)[0]  # x has mean 0, so the intercept is the mean
    return {
        "mean": np.tile(mean_O, (len(x_MI), 1)),
        "linear": x_MI @ weight_IO + mean_O,
        f"nearest_{NEIGHBOURS}": _nearest_mean(x_NI, y_NO, x_MI),
    }


def _nearest_mean(x_NI: np.ndarray, y_NO: np.ndarray, x_MI: np.ndarray) -> np.ndarray:
    """Return the mean (M, O) of the targets of the nearest training examples."""
    count, square_N = min(NEIGHBOURS, len(x_NI)), (x_NI * x_NI).sum(1)
    step = max(1, BLOCK_CELLS // len(x_NI))
    parts = [y_NO[:0]]
    for start in range(0, len(x_MI), step):
        # |a - b|^2 without |a|^2, which is the same for every neighbour of a
        distance_MN = square_N - 2 * x_MI[start : start + step] @ x_NI.T
        nearest_MK = np.argpartition(distance_MN, count - 1, axis=1)[:, :count]
        parts.append(y_NO[nearest_MK].mean(1))
    return np.concatenate(parts)
