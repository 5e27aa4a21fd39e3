"""Numbers as people hold them, as numpy arrays: lists, tables, and tensors that may want a gradient or lie on another device."""

from __future__ import annotations

from typing import Any

import numpy as np

from levsha.errors import LevshaError


def as_array(x: Any, what: str, needed: str = "numbers") -> np.ndarray:
    """Return numbers as an array; a tensor is detached and fetched, and widened where numpy has no such type.

    what: what an error calls it; needed: what it says is needed. LevshaError for rows of several lengths, and for anything but numbers.
    """
    try:
        found = np.asarray(_fetched(x))
    except (ValueError, TypeError) as error:
        raise LevshaError(f"{what}: is no array of numbers ({error}); give numbers, rows of one shape.") from None
    if found.dtype.kind not in "uifb":
        raise LevshaError(f"{what}: is {_kind(found)} of shape {found.shape}; {needed} are needed.")
    return found


def _fetched(x: Any) -> Any:
    if not hasattr(x, "detach"):
        return x
    tensor = x.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16, which numpy does not have
        return tensor.float().numpy()


def _kind(found: np.ndarray) -> str:
    return "text" if found.dtype.kind in "US" else str(found.dtype)
