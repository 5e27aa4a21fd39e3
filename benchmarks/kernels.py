"""Cycles a MAC and flash bytes of dense layers on the ATmega328P: the portable C against the assembly of targets/avr.

Weights are random; 44 % of the activations are not zero. Code is flash without weights, beyond that of a firmware with an arg max in its place.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from levsha.applications import Bare
from levsha.emit.choose import Cost, choose_code
from levsha.formats import FORMATS
from levsha.ir import Graph, Op, Value
from levsha.ops import Argmax, Dense
from levsha.targets.avr import Uno
from levsha.targets.avr.kernels import Dense24

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


class Portable(Uno):
    """The chip without hand-made kernels."""

    kernels = ()


class Assembly(Uno):
    """The chip with the kernel wherever it applies, whatever it costs."""

    kernels = (type("Always", (Dense24,), {"portable_cost": lambda *_, **__: Cost(float("inf"), 0)})(),)


class Measured(NamedTuple):
    """Mean cycles of a run; flash in bytes without weights, and of the weights; the deepest stack in bytes."""

    cycles: float
    code: int
    weights: int
    stack: int


def measure(target: Uno, op: Op, value: Value, x_NI: np.ndarray) -> Measured:
    """Run one layer in the simulator; every output is checked."""
    graph = Graph({"x": value}, (op,))
    empty = Graph({"x": value}, (Argmax(name="y", inputs=("x",)),))
    with tempfile.TemporaryDirectory() as scratch:
        firmware = target.firmware(graph, Bare(), "benchmark").built(Path(scratch))
        outcome = firmware.vectors({"x": x_NI})
        code = choose_code(op, graph.values, target.kernels)
        weights = sum(constant.data.size for constant in code.constants.values())
        rest = target.firmware(empty, Bare(), "benchmark").built(Path(scratch)).sizes.flash_bytes
    assert outcome.cycles is not None and outcome.stack_bytes is not None and rest and firmware.sizes.flash_bytes
    assert (outcome.outputs["y"] == op.run(x_NI)).all()
    return Measured(outcome.cycles.mean(), firmware.sizes.flash_bytes - rest - weights, weights, outcome.stack_bytes)


def activations(rng: np.random.Generator, lo: int, hi: int, count: int) -> np.ndarray:
    """Return ten vectors, each with the same number of non-zero elements."""
    x_NI = rng.integers(lo, hi + 1, (10, count))
    x_NI[x_NI == 0] = 1
    x_NI[:, round(NONZERO * count) :] = 0
    return rng.permuted(x_NI, axis=1)


def example_layer(weights: str, x_type: str, count: int, outputs: int) -> tuple[Dense, Value, np.ndarray]:
    """Return a layer with random weights, its input's range, and ten inputs; always the same."""
    rng = np.random.default_rng([count, outputs])
    lo, hi = RANGES[x_type]
    weight_OI = rng.choice(FORMATS[weights].grid, (outputs, count))
    op = Dense(name="y", inputs=("x",), weight_OI=weight_OI, format=FORMATS[weights])
    return op, Value((count,), lo, hi), activations(rng, lo, hi, count)


def main() -> None:
    print("layer                       kernel    cycles/MAC   cycles  estimate   code  weights  stack")
    for weights, x_type, count, outputs in LAYERS:
        op, value, x_NI = example_layer(weights, x_type, count, outputs)
        for target, about in ((Portable(), "portable"), (Assembly(), "assembly")):
            found = measure(target, op, value, x_NI)
            cost = Dense24().cost if target.kernels else Dense24().portable_cost
            guess = f"{cost(op, op.infer(value), value, nonzero=float((x_NI != 0).mean())).cycles:8.0f}"
            print(
                f"{weights} {count:>3} -> {outputs:<3} {x_type:<8}   {about} {found.cycles / op.weight_OI.size:11.2f} "
                f"{found.cycles:8.0f}  {guess}  {found.code:5} {found.weights:8} {found.stack:6}"
            )


if __name__ == "__main__":
    main()
