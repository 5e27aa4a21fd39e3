"""Several processes that train one net: each has a share of every batch, and their gradients are summed (torchrun; gloo or NCCL)."""

from __future__ import annotations

import atexit
import datetime
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from levsha.errors import LevshaError

WAIT = datetime.timedelta(minutes=5)  # for a process that neither answers nor ends


@dataclass(frozen=True)
class World:
    """This process's number and how many there are; only number 0 writes."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes, the same bits in each."""
        if self.size > 1:
            _guarded(lambda: distributed.all_reduce(tensor))

    def share(self, values: list[float]) -> list[float]:
        """Return the numbers that process 0 has."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        _guarded(lambda: distributed.broadcast(tensor, 0))
        return tensor.tolist()

    def copy(self, tensor: Tensor) -> None:
        """Replace a tensor by that of process 0."""
        if self.size > 1:
            _guarded(lambda: distributed.broadcast(tensor, 0))

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.size > 1:
            _guarded(distributed.barrier)


ALONE = World()


def _guarded(work: Callable[[], Any]) -> None:
    try:
        work()
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        reason = re.sub(r"^\[[^\]]*\] ", "", first).partition(". ")[0]  # without the line of gloo's source
        raise LevshaError(
            f"training: another process of it ended or does not answer ({reason}). What was finished is kept: start the same command again to continue."
        ) from None


def asked_for() -> bool:
    """Say whether torchrun started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_world(device: str = "cpu") -> World:
    """Return the processes that torchrun started, connected; this one alone where there is no torchrun."""
    if not asked_for():
        return World(device=device)
    if not distributed.is_initialized():
        _guarded(lambda: distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=WAIT))
        atexit.register(leave_world)  # a connection left open can abort the interpreter as it ends
    return World(distributed.get_rank(), distributed.get_world_size(), device)


def leave_world() -> None:
    """Close the connections."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
