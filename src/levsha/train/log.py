"""The record of a training: one JSON object a line and an epoch, without times, so that it can be repeated byte by byte."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from levsha.errors import LevshaError, warn
from levsha.files import unwritable


class MetricsLog:
    """Appends lines to a file; `resume` cuts off what came after the checkpoint that the training goes on from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0

    def resume(self, size: int) -> None:
        """Keep the first `size` bytes."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                found = file.tell()
                file.truncate(min(size, found))
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None
        if found < size:
            warn(
                f"{self.path}: lines are missing from it; what is left is kept, the lines before the checkpoint are lost."
            )
        self.size = min(size, found)

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; the disk need not have it yet."""
        data = json.dumps(line).encode() + b"\n"
        try:
            with open(self.path, "ab") as file:
                file.write(data)
        except OSError as error:
            raise self._unwritable(error) from None
        self.size += len(data)

    def flush(self) -> None:
        """Wait until the disk has every line: a checkpoint that counts them may be written then."""
        try:
            with open(self.path, "ab") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> LevshaError:
        return unwritable(self.path, error, "the last checkpoint")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics log, the last one left out if it was cut short; LevshaError where there is none."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}); train first.") from None
    lines = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise LevshaError(
                f"{path}: line {number} is no JSON; the file was altered. Remove it and train again."
            ) from None
    return lines


def write_tensorboard(lines: list[dict[str, Any]], folder: Path) -> None:
    """Write a log's lines as TensorBoard events; LevshaError where the package tensorboard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise LevshaError(
            "--log tensorboard: needs the package tensorboard: .venv/bin/pip install tensorboard."
        ) from None
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for line in lines:
            for name, value in line.items():
                if name not in ("epoch", "step"):
                    writer.add_scalar(name, value, line["step"])
