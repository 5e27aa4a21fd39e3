"""How far a share that was counted may lie from the true one."""

from __future__ import annotations

import math

Z = 1.959964  # 95 % of a normal distribution


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (0..1) that was found in `count` independent trials (Wilson 1927).

    >>> [round(end, 4) for end in wilson(1.0, 100)]
    [0.963, 1.0]
    """
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    below = 1 + Z * Z / count
    return max(0.0, (middle - half) / below), min(1.0, (middle + half) / below)
