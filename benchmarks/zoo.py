"""Float models of usual kinds, converted and measured: python -m benchmarks.zoo [NAME ...].  Legend: N examples.

Each is trained once (runs/zoo), converted with 300 rows to calibrate with, measured on its test data, and compared, integer by integer, with
its C on this machine, and on a simulated UNO where it fits: vectors of real data and of random integers by turns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.export._trace  # what torch.export imports when it is first called takes seconds, and is torch's own

from benchmarks.zoo_data import Data
from benchmarks.zoo_train import ZOO, trained
from levsha import Net, convert
from levsha.applications import Bare
from levsha.errors import LevshaError
from levsha.evidence.check import compare
from levsha.ir import Graph, constant_bytes
from levsha.ops import Conv, Dense
from levsha.targets.avr import Uno
from levsha.targets.base import pack_inputs
from levsha.targets.host import Host

CALIBRATED = 300
VECTORS, FEW_VECTORS, LARGE = 1000, 100, 4_000_000  # multiplications from which on a model is large
FORMATS = ("int8", "int4", "two_bit")
SPEED = """#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#define LEVSHA_MARK(v)
#include "net.h"
int main(void)
{
    struct timespec a, b;
    if (fread(net_instance.input, sizeof net_instance.input, 1, stdin) != 1) return 1;
    double least = 1e30;
    for (int round = 0; round < 7; ++round) {
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int k = 0; k < REPEATS; ++k) net_run();
        clock_gettime(CLOCK_MONOTONIC, &b);
        const double took = ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) * 1e-3) / REPEATS;
        if (took < least) least = took;
    }
    printf("%.3f %d\\n", least, (int)net_output()[0]);
    return 0;
}
"""


@dataclass(frozen=True)
class Measured:
    """One model. metrics: of the integer net by format, in the units of the float one. microseconds: of a run on this machine, without the
    sanitizer. uno: flash and SRAM in bytes, milliseconds, mismatches; or why not."""

    name: str
    parameters: int
    macs: int
    kind: str
    real: float
    metrics: Mapping[str, float]
    agreement: float
    difference: float
    seconds: float
    vectors: int
    mismatches: int
    microseconds: float
    uno: str
    findings: tuple[str, ...]

    def line(self) -> str:
        digits = 2 if self.kind == "accuracy" else 4
        shown = " ".join(f"{self.metrics[name]:>8.{digits}f}" for name in FORMATS)
        agreement = f"{self.agreement:6.2f}" if self.agreement == self.agreement else "     -"
        return (
            f"{self.name:<12}{self.parameters:>9}{self.macs:>10} {self.kind:<9}{self.real:>8.{digits}f} {shown} {agreement} "
            f"{self.difference:8.1e} {self.seconds:6.1f} {self.mismatches:>4}/{self.vectors:<4} {self.microseconds:>9.1f}  {self.uno}"
        )


HEAD = "model       parameters     MACs metric      float     int8     int4  two_bit  agree   import seconds  wrong/of  us a run  uno"


def macs_of(graph: Graph) -> int:
    """Return the multiplications of a run, by weights alone; those with padding count."""
    places = {
        op.name: graph.values[op.name].size // len(op.weight_OI) for op in graph.ops if isinstance(op, Conv | Dense)
    }
    return sum(places[op.name] * op.weight_OI.size for op in graph.ops if isinstance(op, Conv | Dense))


def vectors_of(net: Net, x: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Return integer inputs: those of real rows, then as many random ones."""
    value = net.graph.inputs["input"]
    real = net.integers("input", net.meaning.layouts["input"].lay(x[: count // 2]))
    random = np.random.default_rng(0).integers(
        np.broadcast_to(value.lows, value.shape), np.broadcast_to(value.highs, value.shape), (count - len(real), *value.shape), endpoint=True
    )  # fmt: skip
    return {"input": np.concatenate([real, random])}


def microseconds_of(graph: Graph, inputs: Mapping[str, np.ndarray], repeats: int) -> float:
    """Return how long the C takes here, compiled with -O2 alone: the least of 7 means."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "net.h").write_text(Host().net_text(graph, "zoo"))
        Path(folder, "speed.c").write_text(SPEED)
        command = ["gcc", "-std=c99", "-O2", f"-DREPEATS={repeats}", "-o", "speed", "speed.c"]
        subprocess.run(command, cwd=folder, check=True)
        row = pack_inputs(graph, {name: x[:1] for name, x in inputs.items()}).tobytes()
        done = subprocess.run([Path(folder, "speed")], input=row, capture_output=True, check=True)
    return float(done.stdout.split()[0])


def on_host(graph: Graph, inputs: Mapping[str, np.ndarray]) -> int:
    """Return how many vectors differ from the interpreter on this machine, with every warning and the sanitizer."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(graph, Host().run(graph, inputs, Path(folder)), inputs).mismatches


def on_uno(graph: Graph, inputs: Mapping[str, np.ndarray]) -> str:
    """Return what 100 vectors need and take on the simulated chip, or by how much the net does not fit."""
    uno = Uno()
    if uno.missing():
        return uno.missing()
    with tempfile.TemporaryDirectory() as folder:
        firmware = uno.firmware(graph, Bare(), "zoo")
        if constant_bytes(graph) > 4 * (uno.flash_bytes or 0):
            return f"{constant_bytes(graph)} B of weights"
        try:
            firmware = firmware.built(Path(folder))
        except LevshaError as error:
            return str(error)
        if firmware.excess:
            return firmware.excess
        outcome = firmware.vectors({name: x[:100] for name, x in inputs.items()})
        assert outcome.cycles is not None and outcome.stack_bytes is not None and uno.clock_hz is not None
        milliseconds = 1000 * float(outcome.cycles.sum(1).mean()) / uno.clock_hz
        wrong, sizes = compare(graph, outcome).mismatches, firmware.sizes
        return f"{sizes.flash_bytes} B flash, {(sizes.static_bytes or 0) + outcome.stack_bytes} B SRAM, {milliseconds:.2f} ms, {wrong} wrong of 100"


def convert_entry(model: torch.nn.Module, data: Data, weights: str, **more: Any) -> tuple[Net, float]:
    """Return a model as integers, and the processor's seconds without those of the measuring on test data."""
    rows = np.random.default_rng(0).permutation(len(data.x))[:CALIBRATED]
    start = time.process_time()
    convert(model, data.x[rows], data.y[rows], weights, test=(data.x_test[:2], data.y_test[:2]), **more)
    seconds = time.process_time() - start
    return convert(model, data.x[rows], data.y[rows], weights, test=(data.x_test, data.y_test), **more), seconds


def measure(name: str, folder: Path) -> Measured:
    """Convert a model of the zoo in every format, and check the int8 net."""
    model, data = trained(name, folder)
    torch.set_num_threads(1)
    made = {weights: convert_entry(model, data, weights) for weights in FORMATS}
    net, seconds = made["int8"]
    kind = "accuracy" if "accuracy" in net.about["float"] else "r2"
    macs = macs_of(net.graph)
    count = FEW_VECTORS if macs > LARGE else VECTORS
    inputs = vectors_of(net, data.x_test, count)
    return Measured(
        name, sum(p.numel() for p in model.parameters()), macs, kind, net.about["float"][kind],
        {weights: one.about["integer"][kind] for weights, (one, _) in made.items()},
        net.about["integer"].get("agreement", float("nan")) if kind == "accuracy" else float("nan"), net.about["import_difference"],
        seconds, count, on_host(net.graph, inputs), microseconds_of(net.graph, inputs, max(1, 20_000_000 // macs)),
        on_uno(net.graph, inputs), tuple(net.about["findings"]),
    )  # fmt: skip


def main() -> None:
    names = sys.argv[1:] or list(ZOO)
    print(HEAD)
    for name in names:
        found = measure(name, Path("runs/zoo"))
        print(found.line(), flush=True)
        for finding in found.findings:
            print(f"    {finding}")


if __name__ == "__main__":
    main()
