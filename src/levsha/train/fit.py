"""fit: train any nn.Module from Python in one call, with everything the recipes have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from levsha.errors import LevshaError
from levsha.files import remove_stale, write_file
from levsha.store import stable
from levsha.train.autograd import AutogradStep
from levsha.train.batch import ArrayBatches, Arrays, Stream, StreamBatches
from levsha.train.chain import ChainStep, chain_of
from levsha.train.checkpoint import Checkpoints
from levsha.train.log import MetricsLog
from levsha.train.loop import Loop
from levsha.train.losses import check_target, find_loss
from levsha.train.parallel import World, join_world
from levsha.train.settings import Training
from levsha.train.state import from_torch_optimizer, to_torch_optimizer
from levsha.train.surroundings import Counters, Progress, Surroundings

Pair = tuple[Tensor | np.ndarray, Tensor | np.ndarray]
Metrics = Mapping[str, Callable[[Tensor, Tensor], float]]
VALIDATION_ROWS = 4096  # outputs are computed for so many samples at a time


@dataclass(frozen=True)
class Fitted:
    """A trained model, its line for every epoch, which epoch its weights are of, and the seconds it took."""

    model: nn.Module
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    optimizer_state: dict[str, Any]
    """For torch.optim: load_state_dict takes it."""


def fit(
    model: nn.Module,
    data: Arrays | Pair | Stream,
    validation: Arrays | Pair | None = None,
    training: Training | None = None,
    *,
    folder: Path | str | None = None,
    metrics: Metrics | None = None,
    watch: str = "validation_loss",
    higher: bool = False,
    optimizer_state: Mapping[str, Any] | None = None,
    report: Callable[[Progress], None] | None = None,
    key: str = "",
) -> Fitted:
    """Train a model in place and return it.

    data, validation: inputs (N, ...) and targets; memory-mapped arrays stay on the disk. metrics: name -> function of
    outputs and targets of the whole validation set. watch: which figure is best lowest (or highest, with `higher`). folder:
    where checkpoints, metrics.jsonl and model.safetensors go; calling again with the same folder continues there.
    optimizer_state: a torch.optim state_dict to start from. key: anything else that decides how the training comes out.
    Raises LevshaError for settings, shapes and values that cannot train.
    """
    training = training or Training()
    training.check()
    world = join_world()
    batches, count = _batches(data, training, world)
    held_out = _arrays(validation) if validation is not None else None
    _check_shapes(model, batches, held_out, training)
    _check_watch(watch, metrics, held_out)
    validate = (lambda: evaluate(model, held_out, training.loss, metrics or {})) if held_out else None
    around = Surroundings(validate=validate, watch=watch, higher=higher, report=report, world=world, samples=count)
    loop = Loop(step_for(model, training, world), batches, training, around)
    if folder is not None:
        remove_stale(Path(folder))
        about = [key, asdict(training), str(model), watch, higher, count]
        around.checkpoints = Checkpoints(
            Path(folder) / "checkpoints", _hash(about, loop.flat.all), training.checkpoint_seconds
        )
        around.log = MetricsLog(Path(folder) / "metrics.jsonl")
    if optimizer_state:
        from_torch_optimizer(loop, model, optimizer_state)
    counters = _run(loop, model)
    if folder is not None and world.rank == 0:
        save_weights(model, Path(folder) / "model.safetensors")
    world.wait()
    return _fitted(model, counters, loop, training, validation is not None)


def _run(loop: Loop, model: nn.Module) -> Counters:
    model.train()
    try:
        return loop.run()
    finally:
        model.eval()


def step_for(model: nn.Module, training: Training, world: World) -> ChainStep | AutogradStep:
    """Return the written-out step for a chain of linear layers and activations, the one by autograd for any other model."""
    links = chain_of(model)
    if links:
        return ChainStep(model, links, training, world.rank)
    return AutogradStep(model, training, world.rank, world.size)


def _check_watch(watch: str, metrics: Metrics | None, validation: Arrays | None) -> None:
    figures = ("validation_loss", *(metrics or {}))
    if validation and watch not in figures:
        raise LevshaError(f"watch {watch!r}: is no figure of this training; there are {', '.join(figures)}.")


def _fitted(model: nn.Module, c: Counters, loop: Loop, training: Training, validated: bool) -> Fitted:
    best = c.best_epoch if validated and training.keep == "best" else c.epoch
    return Fitted(model, c.history, best, c.seconds, to_torch_optimizer(loop, model))


def _batches(
    data: Arrays | Pair | Stream, training: Training, world: World
) -> tuple[ArrayBatches | StreamBatches, int]:
    if isinstance(data, Stream):
        return StreamBatches(data, training, world.rank, world.size), data.steps_an_epoch * training.batch
    arrays = _arrays(data)
    return ArrayBatches(arrays, training, world.rank, world.size), len(arrays)


def _arrays(data: Arrays | Pair) -> Arrays:
    return data if isinstance(data, Arrays) else Arrays(*data)


def _check_shapes(
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


def _hash(about: list[Any], weights: Tensor) -> str:
    """The initial weights stand for the model's seed."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    digest.update(weights.cpu().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Return the model's outputs for inputs (N, ...), as it is used: without dropout."""
    was, _ = model.training, model.eval()
    outputs = torch.cat([model(part) for part in x.split(VALIDATION_ROWS)])
    model.train(was)
    return outputs


def evaluate(model: nn.Module, data: Arrays, loss: str, metrics: Metrics) -> dict[str, float]:
    """Return the mean loss and every metric of a model on held-out samples."""
    parts = torch.arange(len(data)).split(VALIDATION_ROWS)
    outputs, targets = zip(
        *((predict(model, data.x.take(part)), data.y.take(part).clone()) for part in parts), strict=True
    )
    output, target = torch.cat(outputs), torch.cat(targets)
    found = {"validation_loss": float(find_loss(loss).value(output, target))}
    return found | {name: float(metric(output, target)) for name, metric in metrics.items()}


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state_dict as safetensors, in an order that is always the same."""
    write_file(path, stable(save({name: t.contiguous().clone() for name, t in model.state_dict().items()})))
