"""What is asked of model and data before a training starts."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from levsha.data.rows import Resident
from levsha.errors import LevshaError
from levsha.train.batch import ArrayBatches, Arrays, StreamBatches
from levsha.train.losses import check_target, find_loss
from levsha.train.settings import Training


def check_shapes(
    model: nn.Module, batches: ArrayBatches | StreamBatches, validation: Arrays | None, training: Training
) -> None:
    """Show the model two samples of each kind of data; LevshaError says what does not fit."""
    samples = (
        {"training": next(iter(batches.epoch(0)))[:2]}
        if isinstance(batches, StreamBatches)
        else {"training": _first(batches.data)}
    )
    samples |= {"validation": _first(validation)} if validation else {}
    for label, (x, y) in samples.items():
        model.eval()
        try:
            with torch.inference_mode():
                output = model(x[:2])
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise LevshaError(
                f"{label} data: the model cannot read inputs of shape (N, {', '.join(map(str, x.shape[1:]))}): {reason}."
            ) from None
        check_target(training.loss, output[:1].expand(len(y), *output.shape[1:]) if len(y) > 2 else output, y)
        find_loss(training.loss).value(output, y[:2])


def _first(data: Arrays) -> tuple[Tensor, Tensor]:
    """The first two inputs, with all targets where they lie in memory."""
    start = torch.arange(min(2, len(data)))
    return data.x.take(start), getattr(data.y, "rows", data.y.take(start))


def check_watch(training: Training, watch: str, metrics: Collection[str], validated: bool) -> None:
    """Raise LevshaError where the figure to watch is none, or there is nothing to wait for."""
    figures = ("validation_loss", *metrics)
    if validated and watch not in figures:
        raise LevshaError(f"watch {watch!r}: is no figure of this training; there are {', '.join(figures)}.")
    if training.patience and not validated:
        raise LevshaError(
            f"--train.patience: is {training.patience}, but there is no validation data to wait for; give some, or set it to 0."
        )


def checksum(data: ArrayBatches | StreamBatches | Arrays | None) -> list[int] | None:
    """Return sums over the bits of data in memory, which tell most changes; None for what is not in memory."""
    rows = data.data if isinstance(data, ArrayBatches) else data
    if not isinstance(rows, Arrays):
        return None
    parts = [part.rows for part in (rows.x, rows.y) if isinstance(part, Resident)]
    return [len(rows), *(int(part.view(torch.int32).sum()) for part in parts)]  # of integers: exact in any order


def axes(batches: ArrayBatches | StreamBatches) -> int:
    """Return how many axes a batch of inputs has, the samples' included."""
    x = next(iter(batches.epoch(0))).x if isinstance(batches, StreamBatches) else batches.data.x.take(torch.arange(1))
    return x.ndim
