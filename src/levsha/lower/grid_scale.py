"""The scale of weights with the least square error, found exactly; legend: O outputs, I inputs, P break points.

As a scale falls from infinity, the grid point nearest to weight / scale moves outwards, and does so at break points alone: at |weight| divided by
the middle between two grid points.  Between two of them all points stay, and the best scale is sum(w q) / sum(q q), which leaves an error of
sum(w w) - sum(w q)**2 / sum(q q).  Sorting the break points of a row and adding up both sums along them visits every choice of grid points that
any scale makes: the largest quotient is the global optimum, in O(P log P).
"""

from __future__ import annotations

import numpy as np

from levsha.formats import Format

MOST_POINTS = 1 << 22  # break points of a matrix that are looked at: a second or two
AT_ONCE = 1 << 20  # of several rows
NEVER = np.inf


def exact_scale(weight_OI: np.ndarray, weights: Format, either_sign: bool = False, importance_I: np.ndarray | None = None) -> np.ndarray | None:  # fmt: skip
    """Return the scale (O,) of each row with the least sum of importance * (weight - scale * grid point)**2; None where there are too many
    break points (MOST_POINTS), which wide formats and large matrices have.

    either_sign: a scale may be negative, which a grid that is not symmetric gains by. importance_I: (I,), positive; all alike where it is None.

    >>> from levsha.formats import FORMATS
    >>> exact_scale(np.array([[0.5, -0.5, 1.5, 0.0]]), FORMATS["two_bit"]).round(3).tolist()
    [0.458]
    """
    middles = (weights.grid[1:] + weights.grid[:-1]) / 2
    points = weight_OI.shape[1] * max(int((middles > 0).sum()), int((middles < 0).sum()))
    if points * len(weight_OI) > MOST_POINTS:
        return None
    importance_I = np.ones(weight_OI.shape[1]) if importance_I is None else importance_I
    rows = max(1, AT_ONCE // max(1, points))
    parts = [weight_OI[start : start + rows].astype(np.float64) for start in range(0, len(weight_OI), rows)]
    scale_O, gain_O = (
        np.concatenate(both) for both in zip(*(_best(part, weights, importance_I) for part in parts), strict=True)
    )
    symmetric = np.array_equal(weights.grid, -weights.grid[::-1])
    if either_sign and not symmetric:
        found = [_best(-part, weights, importance_I) for part in parts]
        flipped_O, more_O = (np.concatenate(both) for both in zip(*found, strict=True))
        scale_O = np.where(more_O > gain_O, -flipped_O, scale_O)
    return scale_O


def _best(weight_OI: np.ndarray, weights: Format, importance_I: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale (O,) and the part of the sum of squares that it explains; of a row that no positive scale explains any of, the usual one."""
    points_OP, moved_OP, squared_OP = _break_points(weight_OI, weights, importance_I)
    order_OP = np.argsort(-points_OP, 1, kind="stable")
    first_OI = _first(weight_OI, weights)
    product_OP = _along(moved_OP, order_OP, (importance_I * weight_OI * first_OI).sum(1))
    square_OP = _along(squared_OP, order_OP, (importance_I * first_OI**2).sum(1))
    gain_OP = np.where((square_OP > 0) & (product_OP > 0), product_OP**2 / np.where(square_OP > 0, square_OP, 1.0), 0.0)
    best_O, all_O = gain_OP.argmax(1), np.arange(len(weight_OI))
    product_O, square_O, gain_O = product_OP[all_O, best_O], square_OP[all_O, best_O], gain_OP[all_O, best_O]
    found = gain_O > 0
    return np.where(found, product_O / np.where(found, square_O, 1.0), weights.scale(weight_OI)[:, 0]), gain_O


def _along(steps_OP: np.ndarray, order_OP: np.ndarray, start_O: np.ndarray) -> np.ndarray:
    """A sum before the first break point and behind each, (O, P + 1)."""
    steps_OP = np.take_along_axis(steps_OP, order_OP, 1)
    return np.cumsum(np.concatenate([start_O[:, None], steps_OP], 1), 1)


def _first(weight_OI: np.ndarray, weights: Format) -> np.ndarray:
    """The grid point of each weight under a scale that is very large."""
    return _ladder(weights, 1)[0][0] * (weight_OI >= 0) + _ladder(weights, -1)[0][0] * (weight_OI < 0)


def _ladder(weights: Format, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """The grid points that a weight of this sign comes to one after the other, and what |weight| / scale is on the way from each to the next."""
    grid = weights.grid.astype(np.float64)
    nearest = int(np.argmin(np.abs(grid - sign * 1e-9)))
    points = grid[nearest:] if sign > 0 else grid[nearest::-1]
    return points, np.abs(points[1:] + points[:-1]) / 2


def _break_points(weight_OI: np.ndarray, weights: Format, importance_I: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Break points, and what the sums of w q and q q grow by at each, (O, P)."""
    ladders = [_ladder(weights, sign) for sign in (1, -1)]
    steps = max(len(middles) for _, middles in ladders)
    table = np.zeros((2, 3, steps))  # by sign: the middle, what q grows by, what q q grows by
    table[:, 0] = NEVER
    for k, (points, middles) in enumerate(ladders):
        table[k, :, : len(middles)] = middles, np.diff(points), np.diff(points**2)
    middle, moved, squared = np.moveaxis(table[(weight_OI < 0).astype(int)], 2, 0)
    size = (len(weight_OI), -1)
    each = importance_I[None, :, None]
    return (
        (np.abs(weight_OI)[:, :, None] / middle).reshape(size),
        (each * weight_OI[:, :, None] * moved).reshape(size),
        (each * squared).reshape(size),
    )
