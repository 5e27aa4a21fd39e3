"""A net on a target, compared with the interpreter, outside any run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from levsha.errors import LevshaError, check_number
from levsha.evidence.check import compare, find_first_difference
from levsha.evidence.remedies import remedies
from levsha.ir import Graph, constant_bytes
from levsha.net import Net
from levsha.targets import find_target


@dataclass(frozen=True)
class Check:
    """What came of a check. cycles: of a run, the largest; None where the target counts none. example, first_difference: of a mismatch."""

    target: str
    vectors: int
    mismatches: int
    flash_bytes: int | None = None
    sram_bytes: int | None = None
    cycles: int | None = None
    ms: float | None = None
    example: str = ""
    first_difference: str = ""


def check_net(net: Net, target_name: str, vectors: int, seed: int) -> Check:
    """Compare every output of so many vectors with the interpreter; LevshaError where a tool is missing, or the net does not fit."""
    check_number("vectors", vectors, 1, 1_000_000, whole=True)
    check_number("seed", seed, 0, 1 << 30, whole=True)
    target = find_target(target_name)
    target.require()
    inputs = draw_vectors(net.graph, vectors, seed)
    with tempfile.TemporaryDirectory() as scratch:
        if target.flash_bytes is not None and constant_bytes(net.graph) > target.flash_bytes:
            raise LevshaError(f"{net.title}: does not fit {target.name}: {remedies(net.graph, target)}")
        firmware = target.firmware(net.graph, net.application, net.title, net.meaning).built(Path(scratch))
        if firmware.excess:
            raise LevshaError(
                f"{net.title}: does not fit {target.name}: {firmware.excess}. {remedies(net.graph, target, firmware.sizes)}"
            )
        outcome = firmware.vectors(inputs)
        found = compare(net.graph, outcome, inputs)
    static, stack = firmware.sizes.static_bytes, outcome.stack_bytes
    cycles = None if outcome.cycles is None else int(outcome.cycles.sum(1).max())
    first = ""
    if found.mismatches:
        first = find_first_difference(net.graph, target, {name: x[found.wrong[:20]] for name, x in inputs.items()})
    return Check(
        target.name, found.vectors, found.mismatches, firmware.sizes.flash_bytes, None if static is None or stack is None else static + stack,
        cycles, 1000 * cycles / target.clock_hz if cycles is not None and target.clock_hz else None, found.example, first,
    )  # fmt: skip


def draw_vectors(graph: Graph, count: int, seed: int) -> dict[str, np.ndarray]:
    """Return inputs anywhere in their ranges, both ends first; every other one is smooth, as real signals and images are."""
    rng = np.random.default_rng([7000, seed])
    found = {}
    for name, value in graph.inputs.items():
        low, high = (np.broadcast_to(ends, value.shape) for ends in (value.lows, value.highs))
        x = rng.integers(low, high, (count, *value.shape), endpoint=True)
        smooth = np.cumsum(rng.normal(0, 0.2, (count, value.size)), 1).reshape(x.shape)
        share = 1 / (1 + np.exp(-smooth))
        x[1::2] = np.rint(low + share * (high - low)).astype(np.int64)[1::2]
        for row, ends in zip(x[:2], (low, high), strict=False):
            row[:] = ends
        if value.total is not None:  # counts whose sum is known: most of them are 0
            picks = rng.multinomial(value.total, np.full(value.size, 1 / value.size), count)
            x = np.minimum(picks, value.hi).reshape(x.shape)
        found[name] = x
    return found
