"""Convolutions and pools: cycles and bytes on the ATmega328P, the portable C against the assembly; microseconds on this machine, gcc -O2.

Weights are random; 44 % of the activations are not zero. Code is flash without weights, beyond that of a firmware with an arg max in its place.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.kernels import NONZERO, Portable, measure
from benchmarks.nets import NETS
from levsha.applications import Bare
from levsha.emit.c import Style, emit_c
from levsha.emit.choose import Cost
from levsha.emit.memory import plan_memory
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Op, Value
from levsha.ops import Conv, MaxPool, SumPool
from levsha.targets.avr import Uno
from levsha.targets.avr.kernels import KERNELS

AROUND = {"kernel": (3, 3), "pads": (1, 1, 1, 1)}
ALWAYS = {"portable_cost": lambda *_, **__: Cost(float("inf"), 0)}
MAIN = """#include <stdio.h>
#include <time.h>
#include "net.h"
static net_state net;
int main(void)
{
    double best = 1e9;
    if (fread(net.x, sizeof net.x, 1, stdin) != 1) return 1;
    for (int t = 0; t < 300; ++t) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        net_run(&net);
        clock_gettime(CLOCK_MONOTONIC, &end);
        const double took = (double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) / 1e3;
        if (took < best) best = took;
    }
    printf("%.0f\\n", best);
    return 0;
}
"""


class Assembly(Uno):
    """The chip with its kernels wherever they apply, whatever they cost."""

    kernels = tuple(type("Always", (type(kernel),), ALWAYS)() for kernel in KERNELS)


def conv(rng: np.random.Generator, weights: str, shape: tuple[int, int, int], outputs: int, **more: Any) -> Conv:
    fields = AROUND | more
    count = fields["kernel"][0] * fields["kernel"][1] * (shape[2] // more.get("groups", 1))
    weight_OI = rng.choice(FORMATS[weights].grid, (outputs, count))
    return Conv(name="y", inputs=("x",), shape=shape, weight_OI=weight_OI, format=FORMATS[weights], **fields)


def activations(rng: np.random.Generator, shape: tuple[int, int, int], count: int) -> np.ndarray:
    return rng.integers(1, 256, (count, *shape)) * (rng.random((count, *shape)) < NONZERO)


def microseconds(op: Op, value: Value, x: np.ndarray) -> float:
    """The best of 300 runs of the portable C."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, text in (emit_c(Graph({"x": value}, (op,)), "benchmark", Style()).files | {"main.c": MAIN}).items():
            (folder / name).write_text(text)
        flags = ["-std=gnu99", "-O2", "-o", "benchmark", "main.c", "net.c"]
        subprocess.run(["gcc", *flags], cwd=folder, check=True)
        done = subprocess.run(
            [folder / "benchmark"], input=x.astype(value.dtype).tobytes(), capture_output=True, check=True
        )
        return float(done.stdout)


def whole(graph: Graph) -> str:
    """Return what a net takes: its arena, all that is static, the stack, flash, and cycles of a run where it fits the chip."""
    x = {name: activations(np.random.default_rng(1), value.shape, 4) for name, value in graph.inputs.items()}  # pyright: ignore[reportArgumentType]
    with tempfile.TemporaryDirectory() as scratch:
        firmware = Uno().firmware(graph, Bare(), "benchmark").built(Path(scratch))
        sizes, measured = firmware.sizes, f"{'-':>6} {'-':>9}"
        if not firmware.excess:
            outcome = firmware.vectors(x)
            assert outcome.cycles is not None
            assert all((outcome.outputs[name] == interpret(graph, x)[name]).all() for name in graph.outputs)
            measured = f"{outcome.stack_bytes:6} {outcome.cycles.mean():9.0f}"
    return f"{plan_memory(graph).size:7} {sizes.static_bytes:7} {measured} {sizes.flash_bytes:6}"


def nets() -> None:
    print("\non the ATmega328P                            arena  static  stack    cycles  flash")
    for name, graph in NETS:
        with patch("levsha.emit.fuse._joins", lambda *_: False):
            print(f"{name:<16} op by op          {whole(graph)}")
        print(f"{name:<16} window by window  {whole(graph)}")


def main() -> None:
    rng = np.random.default_rng(0)
    deep, wide, pool = (8, 8, 8), (4, 4, 16), {"shape": (8, 8, 8), "kernel": (2, 2), "strides": (2, 2)}
    ops: list[tuple[str, Conv | MaxPool | SumPool, tuple[Uno, ...]]] = [
        *((f"{f} 3x3, 8 -> 16, stride 2", conv(rng, f, deep, 16, strides=(2, 2)), (Portable(), Assembly())) for f in ("int8", "int4")),
        *((f"{f} 3x3, 8 -> 16, stride 2", conv(rng, f, deep, 16, strides=(2, 2)), (Portable(),)) for f in ("binary", "ternary", "two_bit")),
        *((f"{f} 3x3, 16 channels apart", conv(rng, f, wide, 16, groups=16), (Portable(),)) for f in ("int8", "int4", "binary")),
        ("largest of 2x2", MaxPool(name="y", inputs=("x",), **pool), (Portable(),)),
        ("sum of 2x2", SumPool(name="y", inputs=("x",), **pool), (Portable(),)),
    ]  # fmt: skip
    print("on the ATmega328P                kernel    cycles/MAC   cycles   code  weights  stack")
    for about, op, targets in ops:
        taps = op.weight_OI.size if isinstance(op, Conv) else op.kernel[0] * op.kernel[1] * op.shape[2]
        for target in targets:
            found = measure(target, op, Value(op.shape, 0, 255), activations(rng, op.shape, 10))
            per = found.cycles / (taps * op.out_size[0] * op.out_size[1])
            name = "portable" if isinstance(target, Portable) else "assembly"
            print(
                f"{about:<32} {name} {per:12.2f} {found.cycles:9.0f} {found.code:6} {found.weights:8} {found.stack:6}"
            )
    print("\non this machine, 28 x 28         microseconds")
    for about, op in (
        *((f"{f} 3x3, 8 -> 16", conv(rng, f, (28, 28, 8), 16)) for f in FORMATS),
        ("int8 3x3, 8 channels apart", conv(rng, "int8", (28, 28, 8), 8, groups=8)),
    ):
        value = Value(op.shape, 0, 255)
        print(f"{about:<32} {microseconds(op, value, activations(rng, op.shape, 1)):6.0f}")
    nets()


if __name__ == "__main__":
    main()
