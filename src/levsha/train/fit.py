"""fit: train any nn.Module from Python in one call, with everything the recipes have."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from levsha.data.numbers import Numbers, as_tensor, raw_bytes
from levsha.errors import LevshaError
from levsha.train.autograd import AutogradStep
from levsha.train.batch import ArrayBatches, Arrays, Stream, StreamBatches
from levsha.train.chain import ChainStep, chain_of
from levsha.train.checkpoint import Checkpoints
from levsha.train.checks import axes, check_batch_norm, check_shapes, check_watch, fingerprint
from levsha.train.folder import CHECKPOINTS, LOG, MODEL, Plan, claim, deciding
from levsha.train.log import MetricsLog
from levsha.train.loop import Loop
from levsha.train.losses import find_loss
from levsha.train.parallel import World, join_world
from levsha.train.settings import Training
from levsha.train.state import from_torch_optimizer, to_torch_optimizer
from levsha.train.surroundings import Counters, Progress, Surroundings
from levsha.train.weights import save_weights

Pair = tuple[Numbers, Numbers]
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
    replace: bool = False,
) -> Fitted:
    """Train a model in place and return it.

    model: stays on its device; data goes there, and several processes talk by gloo for a CPU, by NCCL for a GPU.
    data, validation: inputs (N, ...) and targets; memory-mapped arrays stay on the disk. metrics: name -> function of
    outputs and targets of the whole validation set. watch: which figure is best lowest (or highest, with `higher`). folder:
    where checkpoints, metrics.jsonl, model.safetensors and training.json go; calling again with the same folder continues
    there, also for more epochs where the schedule does not depend on how many there are. replace: a folder that holds
    another training (other settings, data, weights) is emptied of it and trained in anew, instead of an error.
    optimizer_state: a torch.optim state_dict to start from. key: anything else that decides how the training comes out.
    Raises LevshaError for settings, shapes and values that cannot train, and for a folder that holds another training.
    """
    training = training or Training()
    training.check()
    with _process_as_found(training.threads):
        return _fit(
            model, data, validation, training, folder, metrics or {}, watch, higher, optimizer_state, report, key, replace,
        )  # fmt: skip


def _fit(
    model: nn.Module, data: Arrays | Pair | Stream, validation: Arrays | Pair | None, training: Training, folder: Path | str | None,
    metrics: Metrics, watch: str, higher: bool, optimizer_state: Mapping[str, Any] | None,
    report: Callable[[Progress], None] | None, key: str, replace: bool,
) -> Fitted:  # fmt: skip
    like = next(model.parameters(), torch.empty(0))
    world = join_world(str(like.device))
    batches, count = _batches(data, training, world, like)
    held_out = _arrays(validation, like, "validation") if validation is not None else None
    check_shapes(model, batches, held_out, training)
    check_batch_norm(model, batches)
    check_watch(training, watch, metrics, held_out is not None)
    validate = (lambda: evaluate(model, held_out, training.loss, metrics)) if held_out else None
    around = Surroundings(validate=validate, watch=watch, higher=higher, report=report, world=world, samples=count)
    loop = Loop(step_for(model, training, world, axes(batches)), batches, training, around)
    from_torch_optimizer(loop, model, optimizer_state or {})
    if folder is not None:
        _keep_in(Path(folder), loop, model, key, [fingerprint(batches), fingerprint(held_out)], replace)
    counters = _run(loop, model)
    if folder is not None and world.rank == 0:
        save_weights(model, Path(folder) / MODEL)
    world.wait()
    best = counters.best_epoch if held_out and training.keep == "best" else counters.epoch
    return Fitted(model, counters.history, best, counters.seconds, to_torch_optimizer(loop, model))


def _keep_in(folder: Path, loop: Loop, model: nn.Module, key: str, data: list[Any], replace: bool) -> None:
    """Let the training keep checkpoints and its log in a folder; data: hashes of the training and the validation data."""
    around = loop.around
    layers = re.sub(r" at 0x[0-9a-f]+", "", str(model))  # an address would be another one in every process
    about = [key, layers, *data, deciding(loop.training), around.watch, around.higher, around.samples]
    weights = [loop.flat.all, *loop.step.tensors().values()]
    moments = [loop.optimizer.steps, *loop.optimizer.state.values()]
    plan = Plan(
        loop.training,
        {
            "key": key, "watch": around.watch, "higher": around.higher, "samples": around.samples, "data": data[0], "validation": data[1],
            "model": layers, "weights": _hash([], *weights), "optimizer_state": _hash([], *moments),
        },
        _hash(about, *weights, *moments),
    )  # fmt: skip
    earlier = claim(folder, plan, replace) if around.world.rank == 0 else []
    around.checkpoints = Checkpoints(folder / CHECKPOINTS, plan.hash, loop.training.checkpoint_seconds, earlier)
    around.log = MetricsLog(folder / LOG)


@contextmanager
def _process_as_found(threads: int) -> Iterator[None]:
    """Work with so many threads, with gradients wherever it is called, and leave the process its own number and random numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
            yield
    finally:
        torch.set_num_threads(before)


def _run(loop: Loop, model: nn.Module) -> Counters:
    model.train()
    try:
        return loop.run()
    finally:
        model.eval()
        model.zero_grad(set_to_none=True)


def step_for(model: nn.Module, training: Training, world: World, axes: int = 2) -> ChainStep | AutogradStep:
    """Return the written-out step for a chain of linear layers and activations, the one by autograd for any other model."""
    links = chain_of(model) if axes == 2 and training.precision == "float32" else None
    if links:
        return ChainStep(model, links, training, world.rank)
    return AutogradStep(model, training, world.rank, world.size)


def _batches(
    data: Arrays | Pair | Stream, training: Training, world: World, like: Tensor
) -> tuple[ArrayBatches | StreamBatches, int]:
    if isinstance(data, Stream):
        return StreamBatches(data, training, world.rank, world.size), data.steps_an_epoch * training.batch
    arrays = _arrays(data, like, "data")
    return ArrayBatches(arrays, training, world.rank, world.size), len(arrays)


def _arrays(data: Arrays | Pair, like: Tensor, name: str) -> Arrays:
    """Data on the device and in the floating type of the model's parameters."""
    if isinstance(data, Arrays):
        return data
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise LevshaError(
            f"{name}: is {type(data).__name__}; give a pair (inputs, targets), Arrays(inputs, targets), or to train on a Stream."
        )
    return Arrays(*data, device=str(like.device), dtype=like.dtype)


def _hash(about: list[Any], *start: Tensor) -> str:
    """start: the initial weights, which stand for the model's seed, buffers, frozen weights, and the optimizer's state."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for tensor in start:
        digest.update(raw_bytes(tensor).data)
    return digest.hexdigest()


@torch.no_grad()  # not inference_mode: what a model keeps of its first call must serve a training too
def predict(model: nn.Module, x: Numbers) -> Tensor:
    """Return the model's outputs for inputs (N, ...), as it is used: without dropout."""
    x = x if isinstance(x, Tensor) else as_tensor(x, "inputs").to(next(model.parameters(), torch.empty(0)))
    was, _ = model.training, model.eval()
    outputs = torch.cat([model(part) for part in x.split(VALIDATION_ROWS)])
    model.train(was)
    return outputs


def evaluate(model: nn.Module, data: Arrays, loss: str, metrics: Metrics) -> dict[str, float]:
    """Return the mean loss and every metric of a model on held-out samples; those of 16-bit floats in 32 bits."""
    parts = torch.arange(len(data)).split(VALIDATION_ROWS)
    outputs, targets = zip(
        *((predict(model, data.x.take(part)), data.y.take(part).clone()) for part in parts), strict=True
    )
    output, target = (_wide(torch.cat(each).cpu()) for each in (outputs, targets))
    found = {"validation_loss": float(find_loss(loss).value(output, target))}
    return found | {name: float(metric(output, target)) for name, metric in metrics.items()}


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
