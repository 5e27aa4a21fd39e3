"""Every op, in every format, on every target, against the interpreter: a new op, format or target is tested by existing."""

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.emit.choose import Cost, Kernel
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.ops import OPS
from levsha.targets import TARGETS

EXAMPLES = [
    pytest.param(graph, id=f"{name}-{index}")
    for name, op in OPS.items()
    for index, graph in enumerate(op.examples(np.random.default_rng(0)))
]


def _takes(kernel: Kernel, graph: Any) -> bool:
    op = graph.ops[-1]
    return isinstance(op, kernel.op) and kernel.takes(op, graph.values[op.name], *(graph.values[n] for n in op.inputs))


def always(kernel: Kernel) -> Kernel:
    """The same kernel, chosen wherever it applies."""
    found = copy(kernel)
    found.__class__ = type("Always", (type(kernel),), {"portable_cost": lambda *_, **__: Cost(float("inf"), 0)})
    return found


def draw(value: Value, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random inputs inside the proven range and total, both ends first, some with zeros."""
    if value.total is not None:
        picks = rng.multinomial(value.total, np.full(value.size, 1 / value.size), count)
        return np.minimum(picks, value.hi).reshape(count, *value.shape)
    x = rng.integers(value.lows, value.highs, (count, *value.shape), endpoint=True)
    for ends, at in zip((value.lows, value.highs), x[:2], strict=False):
        at[:] = ends
    if value.lows.max() <= 0 <= value.highs.min():
        x[2:4] *= rng.random(x[2:4].shape) < 0.5
    return x


def inputs_of(graph: Graph, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: draw(value, count, rng) for name, value in graph.inputs.items()}


def corners(value: Value, limit: int = 10) -> np.ndarray:
    """Every input made of the two ends of the range: where a linear op reaches its bounds."""
    free = min(value.size, limit)
    bits = (np.arange(2**free)[:, None] >> np.arange(free)) & 1
    low, high = (np.broadcast_to(ends, value.shape).ravel() for ends in (value.lows, value.highs))
    x = np.tile(low, (2**free, 1))
    x[:, :free] = np.where(bits, high[:free], low[:free])
    return x.reshape(-1, *value.shape)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
@pytest.mark.parametrize("graph", EXAMPLES)
def test_target_equals_interpreter(graph: Graph, target, tmp_path: Path, need) -> None:
    need(target)
    inputs = inputs_of(graph, 8)
    want = interpret(graph, inputs)
    got = target.run(graph, inputs, tmp_path)
    for name in graph.outputs:
        np.testing.assert_array_equal(got.outputs[name], want[name])


FORCED = [
    pytest.param(target, kernel, graph.values[0], id=f"{target.name}-{kernel.name}-{graph.id}")
    for target in TARGETS.values()
    for kernel in target.kernels
    for graph in EXAMPLES
    if _takes(kernel, graph.values[0])
]


@pytest.mark.parametrize(("target", "kernel", "graph"), FORCED)
def test_every_kernel_equals_the_interpreter(target, kernel, graph: Graph, tmp_path: Path, need) -> None:
    """Each kernel computes every op it says it takes, whether or not the planner would choose it."""
    need(target)
    forced = type("Forced", (type(target),), {"kernels": (always(kernel),)})()
    inputs = inputs_of(graph, 8)
    got = forced.run(graph, inputs, tmp_path)
    for name in graph.outputs:
        np.testing.assert_array_equal(got.outputs[name], interpret(graph, inputs)[name])


@pytest.mark.parametrize("graph", EXAMPLES)
def test_proven_range_holds(graph: Graph) -> None:
    sets = [inputs_of(graph, 64, seed) for seed in range(3)]
    if len(graph.inputs) == 1 and all(v.total is None for v in graph.inputs.values()):
        sets.append({name: corners(value) for name, value in graph.inputs.items()})
    for inputs in sets:
        for name, y in interpret(graph, inputs).items():
            value = graph.values[name]
            assert value.lo <= y.min() and y.max() <= value.hi
            assert value.total is None or np.abs(y).reshape(len(y), -1).sum(1).max() <= value.total
