"""How long calls take on this machine: interleaved, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

ROUNDS = 7
SECONDS = 0.02  # of one call's share of a round, about


def microseconds(calls: Mapping[str, Callable[[np.ndarray], object]], x: np.ndarray, batch: int) -> dict[str, float]:
    """Return the microseconds an image of each call, given images (N, ...) in batches; the median of several rounds, one call after the other."""
    parts = [x[at : at + batch] for at in range(0, len(x) - batch + 1, batch)] or [np.resize(x, (batch, *x.shape[1:]))]
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {name: max(1, int(SECONDS / max(_seconds(call, parts[:1]), 1e-7))) for name, call in calls.items()}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            taken = [parts[k % len(parts)] for k in range(repeats[name])]
            times[name].append(1e6 * _seconds(call, taken) / (len(taken) * batch))
    return {name: median(found) for name, found in times.items()}


def _seconds(call: Callable[[np.ndarray], object], parts: list[np.ndarray]) -> float:
    if len(parts) == 1:
        call(parts[0])  # what is made at the first call is no part of it
    started = time.perf_counter()
    for part in parts:
        call(part)
    return time.perf_counter() - started
