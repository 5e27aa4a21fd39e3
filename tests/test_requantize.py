"""Requantising is exact for every shift, bias and clip, on every target: shifts are written in several ways, by what is nearest on small chips."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.ops import Requantize
from levsha.targets import TARGETS

X = Value((6,), -(1 << 17), 1 << 17)
CLIPS = [
    (0, 255),
    (-127, 127),
    (-32768, 32767),
    (-32767, 32766),
    (-(1 << 31), (1 << 31) - 1),
    (-40_000, 40_000),
    (30_000, 70_000),
]


def requantize(name: str, bias_shift: int, shift: int, lo: int, hi: int) -> Requantize:
    """With the largest bias of either sign that 32 bits leave room for."""
    most = min(32_767, (1 << 30) - 1 >> bias_shift)
    room = ((1 << 31) - 1 - (most << bias_shift) - (1 << shift >> 1)) >> 17
    largest = min(32_767, room)
    return Requantize(
        name=name, inputs=("x",), multiplier_O=np.array([largest, -largest, largest, 1, -1, 0]), bias_O=np.array([most, -most, -most, most, 0, 1]),
        bias_shift=bias_shift, shift=shift, rounding=1 << shift >> 1, lo=lo, hi=hi,
    )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_shift_is_exact(target: Any, tmp_path: Path, need) -> None:
    need(target)
    ops = [requantize(f"bias{bits}", bits, 14 + bits // 2, *CLIPS[bits % 4]) for bits in range(31)]
    equals_the_interpreter(ops, target, tmp_path)


@pytest.mark.parametrize("shift", [0, 1, 8, 15, 16, 17, 23, 29, 30])
@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_clip_is_exact(target: Any, shift: int, tmp_path: Path, need) -> None:
    need(target)
    ops = [requantize(f"clip{k}", 13, shift, lo, hi) for k, (lo, hi) in enumerate(CLIPS)]
    equals_the_interpreter(ops, target, tmp_path)


def equals_the_interpreter(ops: list[Requantize], target: Any, folder: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(X.lo, X.hi, (20, 6), endpoint=True)
    x[0], x[1], x[2] = X.lo, X.hi, [X.lo, X.hi, 0, 1, -1, 2]
    # the simulator reads a few outputs at a time
    for start in range(0, len(ops), 8):
        some = Graph({"x": X}, tuple(ops[start : start + 8]), tuple(op.name for op in ops[start : start + 8]))
        got, want = target.run(some, {"x": x}, folder).outputs, interpret(some, {"x": x})
        for name in some.outputs:
            np.testing.assert_array_equal(got[name], want[name])
