"""Which rows an epoch visits, in which order: a pure function of (seed, epoch), so that nothing need be remembered to go on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from levsha.errors import LevshaError

WHOLE = 1 << 20  # up to so many rows an epoch's order is made at once
BLOCK = 1 << 16  # beyond, so many positions at a time
MASK64 = 0xFFFF_FFFF_FFFF_FFFF


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


class Order:
    """The order of an epoch, part by part: memory does not grow with the rows where there are more than `WHOLE`."""

    def __init__(self, sampling: str, count: int, seed: int, epoch: int, weights: Tensor | None = None) -> None:
        self.sampling, self.count, self.seed, self.epoch = sampling, count, seed, epoch
        self.whole = order(sampling, count, seed, epoch, weights) if count <= WHOLE else None
        self.reach = weights.double().cumsum(0) if weights is not None and self.whole is None else None
        self.block, self.made = -1, torch.empty(0, dtype=torch.int64)

    def part(self, start: int, stop: int) -> Tensor:
        """Return the row numbers at the positions start to stop."""
        stop = min(stop, self.count)
        if self.whole is not None:
            return self.whole[start:stop]
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        pieces = [self._block(k)[max(0, start - k * BLOCK) : stop - k * BLOCK] for k in blocks]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _block(self, number: int) -> Tensor:
        if number != self.block:
            self.block, self.made = number, self._make(number * BLOCK, min(self.count, (number + 1) * BLOCK))
        return self.made

    def _make(self, start: int, stop: int) -> Tensor:
        if self.sampling == "without_replacement":
            key = step_seed(self.seed, self.epoch)
            return torch.from_numpy(permute(np.arange(start, stop, dtype=np.uint64), self.count, key).astype(np.int64))
        generator = torch.Generator().manual_seed(step_seed(step_seed(self.seed, self.epoch) & 0xFFFF_FFFF, start))
        if self.reach is None:
            return torch.randint(self.count, (stop - start,), generator=generator)
        drawn = torch.rand(stop - start, generator=generator, dtype=torch.float64) * self.reach[-1]
        return torch.searchsorted(self.reach, drawn, right=True).clamp_(max=self.count - 1)


def permute(at_N: np.ndarray, count: int, key: int) -> np.ndarray:
    """Return where a pseudorandom permutation of 0..count-1 sends positions (N,), of uint64.

    A Feistel network of eight rounds over the next power of four; a position that falls outside is sent on until it is inside
    (cycle walking; Black and Rogaway 2002).

    >>> sorted(permute(np.arange(5, dtype=np.uint64), 5, key=7).tolist())
    [0, 1, 2, 3, 4]
    """
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    x_N = _feistel(at_N, half, key)
    while (outside := x_N >= count).any():
        x_N[outside] = _feistel(x_N[outside], half, key)
    return x_N


def _feistel(x_N: np.ndarray, half: np.uint64, key: int) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x_N >> half, x_N & mask
    for k in range(8):
        mixed = (right + np.uint64((key + k * 0x9E37_79B9_7F4A_7C15) & MASK64)) * np.uint64(0xBF58_476D_1CE4_E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D0_49BB_1331_11EB)
        left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(32))) & mask)
    return (left << half) | right


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
