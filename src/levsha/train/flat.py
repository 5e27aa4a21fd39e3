"""Parameters as views of one buffer and their gradients as views of another, so that clipping, summing and updating are one call each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from levsha.errors import LevshaError


class Flat:
    """Named parameters in one buffer; weights (two axes or more) come first, because only they decay."""

    def __init__(self, named: Mapping[str, Tensor]) -> None:
        if not named:
            raise LevshaError("training: the model has no parameters; there is nothing to train.")
        kinds = {(part.dtype, part.device) for part in named.values()}
        if len(kinds) > 1 or not next(iter(named.values())).is_floating_point():
            found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise LevshaError(
                f"training: the parameters are {found}; they must share one floating type and one device."
            )
        parts = dict(sorted(named.items(), key=lambda item: item[1].ndim < 2))
        self.shapes = {name: part.shape for name, part in parts.items()}
        self.all = torch.cat([part.detach().flatten() for part in parts.values()])
        self.grad = torch.zeros_like(self.all)
        self.weight_count = sum(part.numel() for part in parts.values() if part.ndim >= 2)
        self.parameters, self.grads = self.split(self.all), self.split(self.grad)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Return a buffer of this layout as views by name."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            views[name] = flat[start : start + shape.numel()].view(shape)
            start += shape.numel()
        return views
