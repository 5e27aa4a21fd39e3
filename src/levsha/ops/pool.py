"""What pools share: their C, and graphs for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from textwrap import indent
from typing import Any

from levsha.ir import C_TYPES, Code, Graph, Value, c_long, c_name
from levsha.ops.window import WindowCode, Windowed


def pool_window(op: Windowed, out: Value, x: Value, start: str, step: str) -> WindowCode:
    """Return the C of one window of a pool: every y[c] starts as `start`, then `step` takes in v[c], real element after real element."""
    counter, channels = op.c_counter(x, out), op.shape[2]
    loop = f"for ({counter} c = 0; c < {channels}; ++c) "
    body = f"{loop}y[c] = {start};\n{op.c_taps(counter, x.c_place, loop + step)}\ny += {channels};"
    return WindowCode([f"const {x.c_place} *const x = {c_name(op.inputs[0])};"], body, counter, {}, {})


def pool_code(op: Windowed, out: Value, x: Value, about: str) -> Code:
    """Return the C of a pool; about: what y is, for the comment."""
    window = op.window(out, x)
    counter = window.counter
    name = f"{type(op).__name__.lower()}_{x.c_type[:-2]}_{out.c_type[:-2]}_{op.c_geometry}{c_long(counter)}"
    text = f"""/* {about} of every window, for each channel; counters wrap below zero: outside as well. */
static $KERNEL void ${name}(const {x.c_place} *x, {out.c_place} *y)
{{
{indent(op.c_windows(counter, window.body), "    ")}
}}
"""
    return Code(f"${name}({c_name(op.inputs[0])}, {c_name(op.name)});", functions={name: text})


def pool_examples(pool: type[Windowed]) -> Iterator[Graph]:
    """Yield graphs of a pool of either kind: types, strides, dilations, padding, signals in time."""

    def example(shape: tuple[int, ...], c_type: str, kernel: tuple[int, int], **more: Any) -> Graph:
        fields = {"shape": (1, *shape)[-3:], "kernel": kernel, **more}
        return Graph({"x": Value(shape, *C_TYPES[c_type][:2])}, (pool(name="y", inputs=("x",), **fields),))

    half = {"strides": (2, 2)}
    yield example((4, 6, 3), "uint8_t", (2, 2), **half)
    yield example((5, 3, 2), "int8_t", (3, 3), **half, pads=(1, 1, 1, 1))
    yield example((5, 7, 1), "int16_t", (2, 3), dilations=(2, 2), pads=(0, 1, 1, 0))
    yield example((9, 4), "uint8_t", (1, 3), strides=(1, 2), pads=(0, 1, 0, 0))
    yield example((7, 2), "int8_t", (1, 7))
    yield example((2, 3, 2), "int8_t", (1, 1), **half)
    wide = example((3, 3, 2), "int16_t", (2, 3))
    yield replace(wide, inputs={"x": Value((18,), -(1 << 27), 1 << 27)})
    apart = Value((3, 3, 3), -200, 90, ranges=((0, 9), (-200, -100), (5, 90)))
    yield replace(example((3, 3, 3), "int16_t", (2, 2), pads=(1, 0, 0, 1)), inputs={"x": apart})
    narrower = Value((2, 2, 1), -9, 300, ranges=((0, 50),))
    yield replace(example((2, 2, 1), "int16_t", (2, 2)), inputs={"x": narrower})
