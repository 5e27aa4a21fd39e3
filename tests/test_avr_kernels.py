"""The AVR assembly kernels equal numpy, output for output, in the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from levsha.formats import FORMATS
from levsha.ir import C_TYPES, Value
from levsha.ops.dense import Dense
from levsha.targets import TARGETS
from levsha.targets.avr import dense24, dense24_text
from levsha.targets.avr.dialect import AVR
from levsha.targets.avr.kernels import block_of
from levsha.targets.avr.simulate import Area, run_vectors
from levsha.targets.avr.sketch import MARK
from levsha.targets.avr.uno import FLAGS, SRAM_START
from levsha.targets.base import call
from levsha.targets.texts import mark_header

UNO = TARGETS["uno"]
PROLOGUE = "#include <stdint.h>\n" + AVR.prologue.replace("$", "LEVSHA_")
OUTPUTS = range(1, 21)
GUARD = 0x5A
LONGEST = 259  # inputs of 255 times weights of 127: 8 387 715, just below 2**23
X_TYPES = ("uint8_t", "int8_t")
RANGES = {c_type: C_TYPES[c_type][:2] for c_type in X_TYPES}


@pytest.fixture(autouse=True)
def _tools(need) -> None:
    need(UNO)


def layer(weights: str, weight_OI: np.ndarray) -> Dense:
    return Dense(name="y", inputs=("x",), weight_OI=weight_OI, format=FORMATS[weights])


def firmware(op: Dense, x_type: str, y_type: str, calls: Sequence[int], block: int) -> str:
    """Return a main that computes the layer's first outputs, as many as each call asks for, every result before a guard."""
    count, data = op.weight_OI.shape[1], ",".join(map(str, dense24.packed(op, block)))
    room = sum(calls) + len(calls)
    lines, start = [], 0
    for outputs in calls:
        lines.append(f"        layer(weight, x, {count}, y + {start}, {outputs});")
        start += outputs + 1
    return "\n".join([
        PROLOGUE, MARK, "#include <string.h>", f"static const uint8_t weight[] LEVSHA_FLASH = {{{data}}};",
        f"static {x_type} x[{count}];", f"static {y_type} y[{room}];",
        dense24_text.c_function("layer", op.format.name, x_type, y_type, block=block),
        "int main(void)", "{", '    __asm__ volatile("" :: "r"(x), "r"(y) : "memory");', "    for (;;) {",
        f"        memset(y, {GUARD}, sizeof y);", "        LEVSHA_MARK(0x10);", *lines, "        LEVSHA_MARK(0x20);", "    }", "}", "",
    ])  # fmt: skip


def run(
    op: Dense,
    x_NI: np.ndarray,
    x_type: str,
    y_type: str,
    folder: Path,
    calls: Sequence[int] = OUTPUTS,
    flags: Sequence[str] = (),
    block: int = dense24_text.BLOCK,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the results of each call, shape (N, outputs + guard), and the cycles between the marks."""
    folder.joinpath("mark.h").write_text(mark_header())
    folder.joinpath("main.c").write_text(firmware(op, x_type, y_type, calls, block))
    basic = [flag for flag in FLAGS if flag != "-std=c99" or "c++" not in flags]
    call(["avr-gcc", *basic, *flags, "-o", "main.elf", "main.c"], "test", cwd=folder)
    words = [line.split() for line in call(["avr-nm", "-C", "main.elf"], "test", cwd=folder).splitlines()]
    address = {w[-1]: int(w[0], 16) - SRAM_START for w in words if w[-1] in ("x", "y")}
    y = np.dtype(C_TYPES[y_type][2])
    room = sum(calls) + len(calls)
    areas = [Area(address["x"], op.weight_OI.shape[1])], [Area(address["y"], room * y.itemsize)]
    steps = run_vectors(folder / "main.elf", *areas, x_NI.astype(C_TYPES[x_type][2])).steps
    found = np.frombuffer(b"".join(step[1] for step in steps), y).reshape(len(steps), room)
    return np.split(found, np.cumsum([n + 1 for n in calls])[:-1], 1), np.array([step[2][0] for step in steps])


def assert_exact(op: Dense, x_NI: np.ndarray, x_type: str, y_type: str, folder: Path, **how) -> None:
    want_NO = x_NI.astype(np.int64) @ op.weight_OI.T
    guard = int.from_bytes(bytes([GUARD] * np.dtype(C_TYPES[y_type][2]).itemsize), "little")
    results, _ = run(op, x_NI, x_type, y_type, folder, **how)
    for found in results:
        assert (found[:, :-1] == want_NO[:, : found.shape[1] - 1]).all()
        assert (found[:, -1] == guard).all()


def corners(x_type: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return inputs: random, sparse, none, the smallest, the largest, one at either end, one everywhere."""
    lo, hi = RANGES[x_type]
    dense = rng.integers(lo, hi + 1, (3, count))
    dense[1] *= rng.random(count) < 0.44
    ends = np.zeros((2, count), np.int64)
    ends[0, 0] = ends[1, -1] = hi
    return np.concatenate([dense, np.outer([0, lo, hi, 1], np.ones(count, np.int64)), ends])


def extremes(weights: str, outputs: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return weights whose first rows are all smallest, all largest, none and alternating; the rest is random.

    No sum leaves 24 bits: the first rows end with zeros after 259 inputs.
    """
    lo, hi = FORMATS[weights].lo, FORMATS[weights].hi
    weight_OI = rng.choice(FORMATS[weights].grid, (outputs, count))
    weight_OI[:4] = [[lo] * count, [hi] * count, [0] * count, [(lo, hi)[i % 2] for i in range(count)]]
    weight_OI[:4, LONGEST:] = 0
    return weight_OI


@pytest.mark.parametrize("count", [1, 7, 256, 300])
@pytest.mark.parametrize("x_type", X_TYPES)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_every_number_of_outputs(weights: str, x_type: str, count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(count)
    op = layer(weights, extremes(weights, OUTPUTS[-1], count, rng))
    value = Value((count,), *RANGES[x_type])
    x_NI = corners(x_type, count, rng)
    out = op.infer(value)
    assert dense24.takes(op, Value(out.shape, min(out.lo, -(1 << 15) - 1), out.hi), value)
    assert_exact(op, x_NI, x_type, "int32_t", tmp_path)


@pytest.mark.parametrize("x_type", X_TYPES)
@pytest.mark.parametrize(("weights", "block"), [("int8", 1), ("int8", 5), ("int8", 7), ("int4", 2), ("int4", 6)])
def test_blocks_of_fewer_outputs(weights: str, block: int, x_type: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(block)
    op = layer(weights, extremes(weights, OUTPUTS[-1], 30, rng))
    assert_exact(op, corners(x_type, 30, rng), x_type, "int32_t", tmp_path, block=block)


def test_a_block_is_smaller_only_where_that_saves_more_than_its_code() -> None:
    def block(weights: str, outputs: int, count: int) -> int:
        return block_of(layer(weights, np.ones((outputs, count), int)))

    assert [block("int8", outputs, 400) for outputs in (1, 8, 10, 12, 16, 17)] == [1, 8, 5, 6, 8, 6]
    assert [block("int4", outputs, 400) for outputs in (1, 8, 10, 12, 16)] == [2, 8, 6, 6, 8]
    assert block("int8", 10, 60) == 8


@pytest.mark.parametrize("x_type", X_TYPES)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_sums_of_16_bits(weights: str, x_type: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weight_OI = np.zeros((20, 300), np.int64)
    weight_OI[:, :8] = rng.integers(-7, 8, (20, 8))
    weight_OI[:4, :18] = np.array([7, -7, 7, -7])[:, None]
    op, value = layer(weights, weight_OI), Value((300,), *RANGES[x_type])
    assert op.infer(value).c_type == "int16_t"
    assert dense24.takes(op, op.infer(value), value)
    assert_exact(op, corners(x_type, 300, rng), x_type, "int16_t", tmp_path)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_the_ends_of_24_bits(weights: str, tmp_path: Path) -> None:
    """The largest results that are taken; every partial sum of p and q wraps on the way."""
    hi = FORMATS[weights].hi
    count = {"int8": LONGEST, "int4": 1_000}[weights]
    op = layer(weights, np.outer([hi, -hi], np.ones(count, np.int64)))
    x_NI = np.full((1, count), 255)
    assert dense24.takes(op, op.infer(Value((count,), 0, 255)), Value((count,), 0, 255))
    assert_exact(op, x_NI, "uint8_t", "int32_t", tmp_path, calls=[2])


@pytest.mark.parametrize("x_type", X_TYPES)
def test_many_passes(x_type: str, tmp_path: Path) -> None:
    """Numbers of inputs around multiples of 256, where the eight-bit counter runs out."""
    rng = np.random.default_rng(2)
    for count in (255, 257, 511, 512, 513, 1024, 1300):
        op = layer("int4", rng.integers(-1, 2, (3, count)))
        assert_exact(op, corners(x_type, count, rng), x_type, "int32_t", tmp_path, calls=[1, 3])


@pytest.mark.parametrize(
    "flags",
    [
        ["-O2"],
        ["-O3", "-flto"],
        ["-mno-call-prologues"],
        ["-fno-omit-frame-pointer"],
        ["-O0"],
        ["-x", "c++", "-std=gnu++11"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_other_ways_to_compile(weights: str, flags: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    op = layer(weights, extremes(weights, 20, 40, rng))
    for x_type in X_TYPES:
        assert_exact(op, corners(x_type, 40, rng), x_type, "int32_t", tmp_path, flags=flags)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_packed_bytes_hold_the_weights(weights: str) -> None:
    rng = np.random.default_rng(4)
    op = layer(weights, rng.choice(FORMATS[weights].grid, (11, 5)))
    data = dense24.packed(op)
    assert len(data) == 2 * dense24.block_bytes(op)
    digits = data if weights == "int8" else np.stack([data & 15, data >> 4], 1).ravel()
    bias = {"int8": 128, "int4": 8}[weights]
    rows = (bias - digits.astype(np.int64)).reshape(2, 5, 8).swapaxes(1, 2).reshape(16, 5)
    assert (rows[:11] == op.weight_OI).all() and (rows[11:] == 0).all()


@pytest.mark.parametrize("outputs", [1, 24])
@pytest.mark.parametrize("x_type", X_TYPES)
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_the_estimate_is_near(weights: str, x_type: str, outputs: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    value = Value((200,), *RANGES[x_type])
    for scale, y_type in ((0, "int16_t"), (1, "int32_t")):
        op = layer(weights, rng.choice(FORMATS[weights].grid, (outputs, 200)) * scale)
        op.weight_OI[0, :18] = 7  # more than 8 bits
        x_NI = corners(x_type, 200, rng)[:2]
        _, cycles = run(op, x_NI, x_type, y_type, tmp_path, calls=[outputs])
        for row, found in zip(x_NI, cycles, strict=True):
            assert dense24.estimate(op, x_type, op.infer(value).c_type, float((row != 0).mean())) == pytest.approx(
                found, rel=0.03
            )


def test_takes_only_what_is_exact() -> None:
    op = layer("int8", np.full((1, 4_000), 1))
    byte, wide = Value((4_000,), 0, 255), Value((4_000,), -32_768, 32_767)
    at = (1 << 23) - 1
    assert dense24.takes(op, Value((1,), -at - 1, at), byte)
    assert not dense24.takes(op, Value((1,), -at - 2, 0), byte)
    assert not dense24.takes(op, Value((1,), 0, at + 1), byte)
    assert not dense24.takes(op, op.infer(wide), wide)
    assert not dense24.takes(layer("two_bit", np.full((1, 4_000), 1)), op.infer(byte), byte)
    long = layer("int8", np.full((1, 4_096), 1))
    assert not dense24.takes(long, Value((1,), -at - 1, at), Value((4_096,), 0, 255))
