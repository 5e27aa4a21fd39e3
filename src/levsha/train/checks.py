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

SCANNED_ROWS = 4096  # class numbers on the disk are looked at so many at a time


def check_shapes(
    model: nn.Module, batches: ArrayBatches | StreamBatches, validation: Arrays | None, training: Training
) -> None:
    """Show the model two samples of each kind of data; LevshaError says what does not fit."""
    samples = {"training": _drawn(batches) if isinstance(batches, StreamBatches) else _first(batches.data)}
    samples |= {"validation": _first(validation)} if validation else {}
    for label, (x, y) in samples.items():
        model.eval()
        try:
            with torch.no_grad():  # not inference_mode: what a model keeps of its first call must serve the training
                output = model(x[:2])
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise LevshaError(
                f"{label} data: the model cannot read inputs of shape (N, {', '.join(map(str, x.shape[1:]))}): {reason}."
            ) from None
        if not isinstance(output, Tensor):
            raise LevshaError(
                f"{label} data: the model returns {type(output).__name__}; wrap it so that it returns one tensor."
            )
        check_target(training.loss, output[:1].expand(len(y), *output.shape[1:]) if len(y) > 2 else output, y)
        find_loss(training.loss).value(output, y[:2])


def _drawn(batches: StreamBatches) -> tuple[Tensor, Tensor]:
    """The first samples of a stream."""
    try:
        x, y, _ = next(iter(batches.epoch(0)))
    except (TypeError, ValueError, AttributeError) as error:
        raise LevshaError(f"stream: draw fails ({error}); it must return two tensors, inputs and targets.") from error
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or len(x) != len(y):
        kinds = ", ".join(f"{type(part).__name__} of {len(part)}" for part in (x, y))
        raise LevshaError(
            f"stream: draw returns {kinds}; it must return two tensors of one length, inputs and targets."
        )
    return x, y


def _first(data: Arrays) -> tuple[Tensor, Tensor]:
    """The first two inputs, and all targets: of class numbers on the disk, the smallest and the largest stand for all."""
    start = torch.arange(min(2, len(data)))
    x, y = data.x.take(start), data.y
    if isinstance(y, Resident):
        return x, y.rows
    first = y.take(start)
    if first.is_floating_point():
        return x, first
    ends = [end for part in torch.arange(len(data)).split(SCANNED_ROWS) for end in torch.aminmax(y.take(part))]
    return x, torch.stack([min(ends), max(ends)])


def check_batch_norm(model: nn.Module, batches: ArrayBatches | StreamBatches) -> None:
    """Raise LevshaError where a batch normalisation would meet one value a channel, which has no variance."""
    if batches.smallest > 1:
        return
    norm = _norm_of_one_value(model, next(iter(batches.epoch(0)))[0][:1])
    if norm is not None and isinstance(batches, ArrayBatches) and batches.batch > 1:
        raise LevshaError(
            f"--train.batch: is {batches.batch}; of {len(batches.data)} samples that leaves a last batch of one, which {norm}, a batch "
            "normalisation, cannot take. Give another batch size."
        )
    if norm is not None:
        raise LevshaError(
            f"--train.batch: makes batches of one sample, in which {norm}, a batch normalisation, finds no variance; give batches of 2 samples or more."
        )


@torch.no_grad()
def _norm_of_one_value(model: nn.Module, x: Tensor) -> str | None:
    """The name of the first batch normalisation that sees one value a channel of one sample (1, ...): not that after a convolution."""
    names: dict[nn.Module, str] = {
        m: name for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    }
    found: list[str] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].ndim > 1 and inputs[0].numel() == inputs[0].shape[1]:
            found.append(names[module])

    hooks = [module.register_forward_pre_hook(look) for module in names]
    try:
        if hooks:
            model.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def check_watch(training: Training, watch: str, metrics: Collection[str], validated: bool) -> None:
    """Raise LevshaError where the figure to watch is none, or there is nothing to wait for."""
    figures = ("validation_loss", *metrics)
    if validated and watch not in figures:
        raise LevshaError(f"watch {watch!r}: is no figure of this training; there are {', '.join(figures)}.")
    if training.patience and not validated:
        raise LevshaError(
            f"--train.patience: is {training.patience}, but there is no validation data to wait for; give some, or set it to 0."
        )


def fingerprint(data: ArrayBatches | StreamBatches | Arrays | None) -> list[str] | None:
    """Return hashes by which other data is told from the same; None for a stream, which only its code describes."""
    rows = data.data if isinstance(data, ArrayBatches) else data
    return rows.fingerprint() if isinstance(rows, Arrays) else None


def axes(batches: ArrayBatches | StreamBatches) -> int:
    """Return how many axes a batch of inputs has, the samples' included."""
    x = next(iter(batches.epoch(0))).x if isinstance(batches, StreamBatches) else batches.data.x.take(torch.arange(1))
    return x.ndim
