"""Which rows an epoch visits, in which order: a pure function of (seed, epoch), so that nothing need be remembered to go on."""

from __future__ import annotations

import torch
from torch import Tensor

from levsha.errors import LevshaError


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the random numbers of one epoch; no two of a seed's first 2**20 share a stream, nor two seeds in one epoch."""
    number = (seed << 20) + epoch
    return torch.Generator().manual_seed((number ^ (number >> 32) * 0x9E37_79B1) & 0xFFFF_FFFF)  # torch reads 32 bits


def step_seed(seed: int, done: int, rank: int = 0) -> int:
    """Return the seed of everything random in one step: a pure function, so that a checkpoint need not hold a generator's state.

    rank: 0 for the samples of a stream, 1 and more for the dropout of process 0 and more: the two must not be related.
    """
    return ((seed * 1_000_003 + done) * 1_009 + rank) & 0x7FFF_FFFF_FFFF_FFFF


def order(sampling: str, count: int, seed: int, epoch: int, weights: Tensor | None = None) -> Tensor:
    """Return the `count` row numbers of an epoch, in order.

    sampling: without_replacement (each row once), with_replacement (a bootstrap sample; Efron 1979) or weighted (with
    replacement, row n with a probability proportional to weights[n]).

    >>> order("without_replacement", 5, seed=0, epoch=1).tolist() == order("without_replacement", 5, seed=0, epoch=1).tolist()
    True
    """
    generator = epoch_generator(seed, epoch)
    if sampling == "without_replacement":
        return torch.randperm(count, generator=generator)
    if sampling == "with_replacement":
        return torch.randint(count, (count,), generator=generator)
    if weights is None:
        raise LevshaError("sampling weighted: the data has no weights; give one number a sample, 0 or more.")
    reach = weights.double().cumsum(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * reach[-1]
    return torch.searchsorted(reach, drawn, right=True).clamp_(max=count - 1)


def check_weights(weights: Tensor, count: int) -> None:
    """Raise LevshaError unless there is one finite weight a row, none negative, and not all zero."""
    if weights.shape != (count,):
        raise LevshaError(
            f"weights: have shape {tuple(weights.shape)}; one number for each of the {count} samples is needed."
        )
    if not bool(torch.isfinite(weights).all()) or float(weights.min()) < 0 or float(weights.sum()) <= 0:
        raise LevshaError(
            f"weights: lie in {float(weights.min()):g}..{float(weights.max()):g}; allowed is 0 or more, with one above 0."
        )
