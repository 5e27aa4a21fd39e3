"""What a step learns from, and what makes the batches of an epoch: arrays in memory or on the disk, or an endless stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from levsha.data.numbers import Numbers, as_tensor
from levsha.data.rows import Resident, as_rows, readable
from levsha.data.sampling import Order, check_weights, step_seed
from levsha.errors import LevshaError
from levsha.train.flat import Flat
from levsha.train.settings import Training


class Batch(NamedTuple):
    """Inputs (N, ...), targets, and the number of samples of the whole batch in all processes together."""

    x: Tensor
    y: Tensor
    whole: int


class Batches(Protocol):
    """Training data: the batches of an epoch are a pure function of its number."""

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch from number `start` on; a batch may be overwritten by the next."""
        ...


class Step(Protocol):
    """Forward and backward of one model."""

    flat: Flat
    uses_autograd: bool

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint must hold beside parameters and moments."""
        ...

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        ...

    def __call__(self, batch: Any, done: int) -> Tensor | None:
        """Fill `flat.grad`, `done` steps being taken before; return the loss, or None where it was not looked at."""
        ...


class Arrays:
    """Samples as rows of two arrays, torch's, numpy's or lists; memory-mapped ones (numpy.load with mmap_mode) stay on the disk.

    x: (N, ...) numbers. y: (N, ...) numbers, or class numbers (N,) of an integer type. weights: (N,), for weighted sampling.
    dtype: of the inputs, and of targets that are no class numbers; torch.int64 for inputs that nn.Embedding looks up.
    Raises LevshaError for what holds no numbers, for counts that differ, and for numbers in memory that are not finite.
    """

    def __init__(
        self,
        x: Numbers,
        y: Numbers,
        weights: Numbers | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        x, y = readable(x, "inputs"), readable(y, "targets")
        if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
            counts = (str(len(part)) if part.ndim else "one number as" for part in (x, y))
            raise LevshaError(
                "data: {} inputs and {} targets; there must be as many, and at least one.".format(*counts)
            )
        whole = y.dtype.kind in "iub" if isinstance(y, np.ndarray) else not y.is_floating_point()
        self.x = as_rows(x, dtype, device)
        self.y = as_rows(y, torch.int64 if whole else dtype if dtype.is_floating_point else torch.float32, device)
        self.weights = None if weights is None else as_tensor(weights, "weights")
        if self.weights is not None:
            check_weights(self.weights, len(x))
        for name, rows in (("inputs", self.x), ("targets", self.y)):
            if isinstance(rows, Resident):
                _check_finite(name, rows.rows)

    def __len__(self) -> int:
        return len(self.x)

    def fingerprint(self) -> list[str]:
        """Return hashes by which other data is told from the same."""
        weights = [] if self.weights is None else [Resident(self.weights).fingerprint()]
        return [self.x.fingerprint(), self.y.fingerprint(), *weights]


def _check_finite(name: str, rows: Tensor) -> None:
    if rows.is_floating_point() and not bool(torch.isfinite(rows.sum())):
        at = torch.nonzero(~torch.isfinite(rows))
        if len(at):
            where = ", ".join(str(int(i)) for i in at[0])
            raise LevshaError(
                f"data: {len(at)} {name} are no finite numbers, the first at [{where}]; remove or mend those rows."
            )


class ArrayBatches:
    """The batches of arrays; each process takes its share of every batch."""

    def __init__(self, data: Arrays, training: Training, rank: int = 0, world: int = 1) -> None:
        if training.batch > len(data):
            raise LevshaError(
                f"--train.batch: is {training.batch}, but there are {len(data)} training samples; give {len(data)} or less, or 0 for all."
            )
        self.data, self.training, self.rank, self.world = data, training, rank, world
        self.batch = training.batch or len(data)
        if self.batch < world:
            raise LevshaError(f"--train.batch: is {self.batch}; {world} processes need at least a sample each.")
        self.smallest = len(data) % self.batch or self.batch  # batch of an epoch

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch; the last may be smaller."""
        x, y, size, order = self.data.x, self.data.y, self.batch, self._order(number)
        for at in range(start * size, len(x), size):
            index = order.part(at, at + size)
            count = index.size(0)
            if self.world > 1:
                index = index.tensor_split(self.world)[self.rank]
            yield Batch(x.take(index), y.take(index), count)

    def _order(self, number: int) -> Order:
        t = self.training
        return Order(t.sampling, len(self.data), t.seed, number, self.data.weights)

    def describe(self, number: int, at: int) -> str:
        """Return the first rows of a batch in words."""
        if len(self) == 1:
            return "all rows"
        index = self._order(number).part(at * self.batch, (at + 1) * self.batch).tolist()
        return f"rows {', '.join(map(str, index[:8]))}{' ...' if len(index) > 8 else ''}"


class Stream:
    """Samples without end: draw(generator, count) makes `count` inputs and targets; an epoch is so many steps."""

    def __init__(self, draw: Callable[[torch.Generator, int], tuple[Tensor, Tensor]], steps_an_epoch: int) -> None:
        if steps_an_epoch < 1:
            raise LevshaError(f"stream: {steps_an_epoch} steps an epoch; give at least 1.")
        self.draw, self.steps_an_epoch = draw, steps_an_epoch


class StreamBatches:
    """The batches of a stream: each a pure function of (seed, epoch, its number)."""

    def __init__(self, stream: Stream, training: Training, rank: int = 0, world: int = 1) -> None:
        if training.batch < max(1, world):
            raise LevshaError(
                f"--train.batch: is {training.batch}; a stream has no end, give at least {max(1, world)}."
            )
        self.stream, self.training, self.rank, self.world = stream, training, rank, world
        self.smallest = training.batch

    def __len__(self) -> int:
        return self.stream.steps_an_epoch

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        t = self.training
        for at in range(start, len(self)):
            x, y = self.stream.draw(torch.Generator().manual_seed(step_seed(t.seed, number * len(self) + at)), t.batch)
            if self.world > 1:
                x, y = x.tensor_split(self.world)[self.rank], y.tensor_split(self.world)[self.rank]
            yield Batch(x, y, t.batch)

    def describe(self, number: int, at: int) -> str:
        """Return where a batch is in words."""
        return f"drawn from the stream for step {number * len(self) + at}"
