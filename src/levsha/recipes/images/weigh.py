"""The files of a run's nets, weighed, and how long an image takes on this machine.  Imports torch."""

from __future__ import annotations

import io
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from levsha.errors import LevshaError
from levsha.evidence.speed import microseconds
from levsha.files import write_file
from levsha.recipes.bench import Bench
from levsha.recipes.conversion import FLOAT
from levsha.recipes.deliver import ROOM
from levsha.recipes.images.net import build_net
from levsha.recipes.images.settings import Images
from levsha.recipes.images.shape import Shape, shape_of
from levsha.recipes.pipeline import folder_of
from levsha.run import Run

BATCHES = (1, 64)
TIMED = 512  # test images, at most


def float_net(run: Run, shape: Shape, seed: int) -> nn.Sequential:
    """Return the float net of a run's first split, which reads raw pixels; LevshaError where it is missing, damaged or another one."""
    net, path = build_net(shape, seed), folder_of(run.folder, "split", seed, "training") / f"{FLOAT}.safetensors"
    try:
        net.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise LevshaError(
            f"{path}: cannot be read as the net of this run ({first}); make it again with levsha run images."
        ) from None
    return net.eval()


def read_float_net(run: Run) -> nn.Sequential:
    """Return the float net of a finished run's first split."""
    results = run.results()
    about = results["net"]
    rows = (about[key] for key in ("channels", "hidden", "pool"))
    return float_net(
        run, shape_of(about["kind"], tuple(about["image"]), len(about["classes"]), *rows), results["seeds"][0]
    )


def sizes(run: Run, settings: Images, data: Bench) -> dict[str, int]:
    """Return the bytes of the file of each variant: of the float net what torch.save makes of its state, of the others the packed net.

    LevshaError where a file cannot be written, as on a full disk; nothing half written is left.
    """
    saved, path = io.BytesIO(), run.folder / ROOM / f"{FLOAT}.pt"
    torch.save(float_net(run, settings.shape(data), settings.seed).state_dict(), saved)
    write_file(path, saved.getvalue())
    return {FLOAT: _bytes(path)} | {
        name: _bytes(run.folder / ROOM / name / "net.bin") for name in (variant.name for variant in settings.integers)
    }


def _bytes(path: Path) -> int:
    return path.stat().st_size


def speeds(run: Run, settings: Images, data: Bench) -> tuple[dict[str, dict[str, float]], str]:
    """Return microseconds an image by variant and batch, on one thread: torch for the float net, the call of Net for the others; and which
    vector instructions computed the latter."""
    assert data.test is not None
    net, x = float_net(run, settings.shape(data), settings.seed), data.test.x[:TIMED]

    @torch.inference_mode()
    def in_torch(part: np.ndarray) -> object:
        return net(torch.from_numpy(part).float())

    calls: dict[str, Callable[[np.ndarray], object]] = {FLOAT: in_torch}
    nets = {name: run.net(name) for name in (variant.name for variant in settings.integers)}
    how = {integer.compile() for integer in nets.values()}
    calls |= nets
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {str(batch): microseconds(calls, x, batch) for batch in BATCHES}
    finally:
        torch.set_num_threads(threads)
    return {name: {batch: us[name] for batch, us in found.items()} for name in calls}, ", ".join(sorted(how))


def machine() -> str:
    """Return what this machine computes with."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
