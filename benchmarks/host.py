"""Microseconds a run of small nets on this machine: the portable C against loops as one would write them, compiled alike, taking turns.

The plain loops keep every map as it is, weights as int8_t in the order output, row, column, channel, and know all sizes at compile time.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.nets import NETS, Layers
from levsha.emit.c import Style, emit_c
from levsha.emit.text import braced
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, Op
from levsha.ops import Conv, Dense, MaxPool, Requantize

FLAGS = (("gcc", "-O2"), ("gcc", "-O3"), ("gcc", "-O3", "-march=native"), ("gcc", "-Os"))
TURNS = 200
MAIN = """#include <stdio.h>
#include <string.h>
#include <time.h>
#include "net.h"
#include "plain.h"
static net_state net;
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
int main(void)
{
    double best[2] = {1e9, 1e9};
    if (fread(net.x, sizeof net.x, 1, stdin) != 1) return 1;
    for (int t = 0; t < TURNS; ++t) {
        const double start = now();
        net_run(&net);
        const double middle = now();
        plain(net.x);
        const double end = now();
        if (middle - start < best[0]) best[0] = middle - start;
        if (end - middle < best[1]) best[1] = end - middle;
    }
    for (unsigned i = 0; i < sizeof OUTPUT / sizeof OUTPUT[0]; ++i)
        if (OUTPUT[i] != net_OUTPUT(&net)[i]) return 2;
    printf("%f %f\\n", best[0], best[1]);
    return 0;
}
"""


def plain(graph: Graph) -> str:
    """Return the plain loops of a net."""
    parts = ["#include <stdint.h>"]
    parts += [f"static {graph.values[op.name].c_type} {op.name}[{graph.values[op.name].size}];" for op in graph.ops]
    arrays: list[str] = []
    bodies = [_plain_op(op, graph, arrays) for op in graph.ops]
    return "\n".join([*parts, *arrays, "static void plain(const uint8_t *x)", "{", *bodies, "}", ""])


def _plain_op(op: Op, graph: Graph, arrays: list[str]) -> str:
    x, y, out = op.inputs[0], op.name, graph.values[op.name]
    if isinstance(op, Dense | Conv):
        arrays.append(f"static const int8_t {y}_w[] = {braced(op.weight_OI)};")
    if isinstance(op, Dense):
        outputs, count = op.weight_OI.shape
        return f"""    for (int o = 0; o < {outputs}; ++o) {{
        int32_t s = 0;
        for (int i = 0; i < {count}; ++i) s += {y}_w[o * {count} + i] * {x}[i];
        {y}[o] = s;
    }}"""
    if isinstance(op, Requantize):
        arrays.append(f"static const int16_t {y}_m[] = {braced(op.multiplier_O)}, {y}_b[] = {braced(op.bias_O)};")
        channels = out.shape[-1]
        return f"""    for (int p = 0; p < {out.size // channels}; ++p)
        for (int o = 0; o < {channels}; ++o) {{
            int32_t v = ({x}[p * {channels} + o] * {y}_m[o] + {y}_b[o] * {1 << op.bias_shift} + {op.rounding}) >> {op.shift};
            {y}[p * {channels} + o] = ({out.c_type})(v < {op.lo} ? {op.lo} : v > {op.hi} ? {op.hi} : v);
        }}"""
    assert isinstance(op, Conv | MaxPool)
    (height, width, channels), (rows, columns) = op.shape, op.out_size
    around = f"""    for (int oy = 0; oy < {rows}; ++oy)
        for (int ox = 0; ox < {columns}; ++ox)
            for (int o = 0; o < {out.shape[-1]}; ++o) {{
                int32_t s = 0;
                for (int ky = 0; ky < {op.kernel[0]}; ++ky)
                    for (int kx = 0; kx < {op.kernel[1]}; ++kx) {{
                        const int iy = oy * {op.strides[0]} + ky - {op.pads[0]}, ix = ox * {op.strides[1]} + kx - {op.pads[1]};
                        if (iy < 0 || iy >= {height} || ix < 0 || ix >= {width}) continue;
                        STEP
                    }}
                {y}[(oy * {columns} + ox) * {out.shape[-1]} + o] = ({out.c_type})s;
            }}"""
    if isinstance(op, MaxPool):
        at = f"{x}[(iy * {width} + ix) * {channels} + o]"
        return around.replace("STEP", f"if ({at} > s || !(ky | kx)) s = {at};")
    each, apart = channels // op.groups, op.is_depthwise
    at = f"{x}[(iy * {width} + ix) * {channels} + {'o' if apart else 'c'}]"
    weight = f"{y}_w[((o * {op.kernel[0]} + ky) * {op.kernel[1]} + kx) * {each}{'' if apart else ' + c'}]"
    step = f"s += {weight} * {at};"
    return around.replace("STEP", step if apart else f"for (int c = 0; c < {channels}; ++c) {step}")


def microseconds(graph: Graph, command: Sequence[str]) -> tuple[float, float]:
    """Return the best of many runs of the portable C and of the plain loops, which take turns; what they compute is compared."""
    rng = np.random.default_rng(1)
    x = {
        name: rng.integers(1, 256, value.shape) * (rng.random(value.shape) < 0.44)
        for name, value in graph.inputs.items()
    }
    assert interpret(graph, {name: row[None] for name, row in x.items()})
    with tempfile.TemporaryDirectory() as scratch:
        folder, output = Path(scratch), graph.outputs[0]
        texts = emit_c(graph, "benchmark", Style()).files
        texts |= {
            "plain.h": plain(graph),
            "main.c": MAIN.replace("net_OUTPUT", f"net_{output}").replace("OUTPUT", output),
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        call = [*command, "-std=gnu99", f"-DTURNS={TURNS}", "-o", "benchmark", "main.c", "net.c"]
        subprocess.run(call, cwd=folder, check=True)
        done = subprocess.run(
            [folder / "benchmark"], input=x["x"].astype(np.uint8).tobytes(), capture_output=True, check=True
        )
    ours, naive = map(float, done.stdout.split())
    return ours, naive


def layer(weights: str, apart: bool = False) -> Graph:
    """A convolution of 28 x 28 pixels alone, 8 channels to 16, or 16 channels apart."""
    net = Layers((28, 28, 16 if apart else 8), weights)
    net.conv(16, pad=1, apart=apart)
    return net.graph().prefix(1)


def main() -> None:
    graphs = [(f"{name} 3x3, 8 -> 16", layer(name)) for name in FORMATS]
    graphs += [(f"{name} 3x3, 16 apart", layer(name, apart=True)) for name in ("int8", "int4")]
    print("microseconds: the portable C, the plain loops, their ratio")
    print(" " * 24 + "".join(f"{' '.join(flags):>28}" for flags in FLAGS))
    for name, graph in (*graphs, *NETS):
        cells = []
        for flags in FLAGS:
            ours, naive = microseconds(graph, flags)
            cells.append(f"{ours:10.1f} {naive:9.1f} {ours / naive:6.2f}")
        print(f"{name:<24}" + "".join(f"{cell:>28}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
