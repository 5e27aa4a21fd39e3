"""Cycles a MAC and flash bytes of dense layers on the ATmega328P: the portable C against the assembly of targets/avr.

Weights are random; 44 % of the activations are not zero. Code is flash without weights, beyond that of a firmware without a layer.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from levsha.formats import FORMATS
from levsha.ir import Constant, Graph, Value
from levsha.ops.dense import Dense
from levsha.targets import Uno
from levsha.targets.avr import dense24

NONZERO = 0.44
LAYERS = [  # format, type of the inputs, inputs, outputs
    ("int8", "uint8_t", 256, 64),
    ("int8", "int8_t", 256, 64),
    ("int4", "uint8_t", 256, 128),
    ("int4", "int8_t", 256, 128),
    ("int8", "uint8_t", 12, 24),
    ("int8", "uint8_t", 24, 12),
]
RANGES = {"uint8_t": (0, 255), "int8_t": (-128, 127)}
EMPTY = "#include <stdint.h>\nstatic uint8_t net_x[1];\nstatic int32_t net_y[1];\nstatic void net_run_x(void) {}\n"


class Assembly(Dense):
    """The same layer with the packing and the function of the assembly."""

    def constants(self) -> dict[str, Constant]:
        ((name, _, _),) = self._parts()
        return {name: Constant("uint8_t", dense24.packed(self))}

    def functions(self, out: Value, *x: Value) -> dict[str, str]:
        name = self._kernel(out, *x)
        return {name: dense24.c_function(name, self.format.name, x[0].c_type, out.c_type)}


class Measured(NamedTuple):
    """Mean cycles of a run; flash in bytes without weights, and of the weights; the deepest stack in bytes."""

    cycles: float
    code: int
    weights: int
    stack: int


def measure(op: Dense, value: Value, x_NI: np.ndarray) -> Measured:
    """Run one layer in the simulator; every output is checked."""
    graph = Graph({"x": value}, (op,))
    weights = sum(constant.data.size for constant in op.constants().values())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        outcome = Uno().run(graph, {"x": x_NI}, folder)
        flash = Uno().load(folder / "main.elf", graph).flash_bytes
        (folder / "net.h").write_text(EMPTY)
        empty = Uno().build(graph, folder / "main.c").flash_bytes
    assert outcome.cycles is not None and outcome.stack_bytes is not None
    assert (outcome.outputs["y"] == op.run(x_NI)).all()
    return Measured(outcome.cycles.mean(), flash - empty - weights, weights, outcome.stack_bytes)


def activations(rng: np.random.Generator, lo: int, hi: int, count: int) -> np.ndarray:
    """Return ten vectors, each with the same number of non-zero elements."""
    x_NI = rng.integers(lo, hi + 1, (10, count))
    x_NI[x_NI == 0] = 1
    x_NI[:, round(NONZERO * count) :] = 0
    return rng.permuted(x_NI, axis=1)


def main() -> None:
    rng = np.random.default_rng(0)
    print("layer                       kernel    cycles/MAC   cycles  estimate   code  weights  stack")
    for weights, x_type, count, outputs in LAYERS:
        lo, hi = RANGES[x_type]
        x_NI = activations(rng, lo, hi, count)
        weight_OI = rng.choice(FORMATS[weights].grid, (outputs, count))
        for kind, about in ((Dense, "portable"), (Assembly, "assembly")):
            op = kind(name="y", inputs=("x",), weight_OI=weight_OI, format=FORMATS[weights])
            value = Value((count,), lo, hi)
            found = measure(op, value, x_NI)
            guess = f"{dense24.estimate(op, value, float((x_NI != 0).mean())):8.0f}" if kind is Assembly else " " * 8
            print(
                f"{weights} {count:>3} -> {outputs:<3} {x_type:<8}   {about} {found.cycles / weight_OI.size:11.2f} "
                f"{found.cycles:8.0f}  {guess}  {found.code:5} {found.weights:8} {found.stack:6}"
            )


if __name__ == "__main__":
    main()
