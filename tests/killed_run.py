"""A training to be killed: python -m tests.killed_run KIND FOLDER [CALL HOW].

KIND: chain, plain (without dropout), generic or norm (tinychat's step).  CALL HOW: the process kills itself at that call to the disk: "half" way through
the bytes of a file, before it is flushed ("flush"), or before it is renamed ("rename").
"""

from __future__ import annotations

import builtins
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import levsha.files
import levsha.train.log
from levsha.files import remove_stale
from levsha.formats import FORMATS
from levsha.train.checkpoint import Checkpoints
from levsha.train.files import save_mlp
from levsha.train.fit import fit
from levsha.train.log import MetricsLog
from levsha.train.mlp import Quantisation, calibrate, estimate_norm, init_mlp
from levsha.train.norm_step import train
from levsha.train.schedule import Schedule
from levsha.train.settings import Training

x = torch.randint(0, 5, (512, 40), generator=torch.Generator().manual_seed(1)).float()
label = (x[:, :3].sum(1) > 6).long() + (x[:, 3] > 2).long()


def kill_at(call: int, how: str) -> None:
    """Let this process kill itself at the call-th write, flush or rename from now on."""
    count = 0

    def now() -> bool:
        nonlocal count
        count += 1
        return count == call

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(real: Any) -> Any:
        def call_it(*arguments: Any) -> Any:
            if now():
                die()
            return real(*arguments)

        return call_it

    def half_open(path: Any, mode: str) -> Any:
        file = builtins.open(path, mode)  # noqa: SIM115 (handed on)
        if "w" in mode or "a" in mode:
            real = file.write

            def write(data: bytes) -> int:
                if now():
                    real(data[: len(data) // 2])
                    file.flush()
                    die()
                return real(data)

            file.write = write  # type: ignore[method-assign]
        return file

    if how == "half":
        levsha.files.open = levsha.train.log.open = half_open  # type: ignore[attr-defined]
    elif how == "flush":
        os.fsync = dying(os.fsync)
    else:
        os.replace = dying(os.replace)


class Wrapped(nn.Module):
    """No chain, with running statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(40, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def run_fit(kind: str, folder: Path) -> None:
    torch.manual_seed(7 + int(os.environ.get("RANK", "0")))  # what process 0 draws must hold in all
    chain = nn.Sequential(nn.Linear(40, 96), nn.SiLU(), nn.Dropout(0.1), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 3))
    training = Training(
        epochs=25, batch=60, optimizer="rmsprop" if kind == "generic" else "adamw", weight_decay=0.01, loss="cross_entropy",
        schedule="one_cycle", rate=5e-3, clip_norm=1.0, average=0.9 if kind == "chain" else 0.0, seed=3, checkpoint_seconds=0.0,
        sampling="with_replacement" if kind == "generic" else "without_replacement",
    )  # fmt: skip
    accuracy = {"accuracy": lambda output, target: float((output.argmax(1) == target).float().mean())}
    model = Wrapped() if kind == "generic" else chain
    if kind == "plain":
        model = nn.Sequential(*(layer for layer in chain if not isinstance(layer, nn.Dropout)))
    fit(model, (x[:400], label[:400]), (x[400:], label[400:]), training, folder=folder, metrics=accuracy)


class Batches:
    def __len__(self) -> int:
        return 8

    def epoch(self, number: int, start: int = 0) -> Any:
        order = torch.randperm(512, generator=torch.Generator().manual_seed(number))
        for part in order.split(64)[start:]:
            yield x[part], nn.functional.one_hot(label, 3).float()[part], None


def run_norm(folder: Path) -> None:
    remove_stale(folder)  # as a run does that starts to write
    start = estimate_norm(init_mlp([40, 120, 80, 3], 0), x)
    schedule = Schedule(epochs=25, rate=5e-3, dropout=0.1, average=0.9)
    quantisation = Quantisation(FORMATS["ternary"], 63)
    checkpoints = Checkpoints(folder / "checkpoints", "key", seconds=0.0)
    mlp, history = train(
        calibrate(start, x, 63, 99),
        Batches(),
        schedule,
        quantisation,
        seed=3,
        checkpoints=checkpoints,
        log=MetricsLog(folder / "metrics.jsonl"),
    )
    save_mlp(estimate_norm(mlp, x, quantisation), folder / "model.safetensors", {"loss": history})


if __name__ == "__main__":
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if len(sys.argv) > 3:
        kill_at(int(sys.argv[3]), sys.argv[4])
    print("ready", flush=True)
    run_norm(folder) if kind == "norm" else run_fit(kind, folder)
