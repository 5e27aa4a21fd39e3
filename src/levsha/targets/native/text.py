"""The C of a library: the net's own text, and one function that runs rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levsha.emit.c import Style, emit_c
from levsha.emit.choose import Kernel
from levsha.emit.text import braced
from levsha.ir import C_TYPES, Graph, Value
from levsha.targets.native.instructions import kernels_of
from levsha.targets.native.vectors import Vectors

OWN, WIDE = 0, 1  # how the integers of an input lie: in its own type, or as int64


def library_text(graph: Graph, vectors: Vectors, prefix: str = "net", kernels: Sequence[Kernel] = ()) -> str:
    """Return the C of a net whose function PREFIX_rows(rows, input, how it lies, ..., output, ...) returns 0, or which row is out of range.

    Inputs, in order: rows of integers in the input's own type, or int64. Outputs, in order: rows of int64. A state for each thread. kernels: those of the vectors, if none
    are given.
    """
    style = Style(prefix, private=True, dialect=vectors.dialect, kernels=kernels or kernels_of(vectors))
    net = emit_c(graph, "a net for this machine", style).header
    takes = "\n".join(_take(name, value, prefix) for name, value in graph.inputs.items())
    parameters = [f"const void *{name}_from, int32_t {name}_kind" for name in graph.inputs]
    parameters += [f"int64_t *{name}_to" for name in graph.outputs]
    inputs = [
        f"if ({prefix}_take_{name}(&state, {name}_from, {name}_kind, row)) return row + 1;" for name in graph.inputs
    ]
    outputs = [_give(name, graph.values[name], prefix) for name in graph.outputs]
    lines = "\n".join(f"        {line}" for line in (*inputs, f"{prefix}_run(&state);", *outputs))
    return f"""{net}
{takes}
__attribute__((visibility("default"))) int64_t {prefix}_rows(int64_t rows, {", ".join(parameters)})
{{
    static _Thread_local {prefix}_state state __attribute__((aligned(64)));
    for (int64_t row = 0; row < rows; ++row) {{
{lines}
    }}
    return 0;
}}
"""


def _take(name: str, value: Value, prefix: str) -> str:
    """A function that copies one row of an input, and says whether any integer is out of its range."""
    size, t = value.size, value.c_type
    tables, low, high = "", str(value.lo), str(value.hi)
    if value.ranges is not None:
        ends = [np.broadcast_to(end, value.shape).ravel() for end in (value.lows, value.highs)]
        tables = (
            "\n".join(
                f"    static const int32_t {n}[{size}] = {braced(e)};"
                for n, e in zip(("low", "high"), ends, strict=True)
            )
            + "\n"
        )
        low, high = "low[i]", "high[i]"
    whole = (value.lo, value.hi) == C_TYPES[t][:2] and value.ranges is None
    check = f"bad |= (v[i] < {low}) | (v[i] > {high});"
    return f"""static int {prefix}_take_{name}({prefix}_state *state, const void *from, int32_t kind, int64_t row)
{{
{tables}    int32_t bad = 0;
    {t} *const to = state->{name};
    if (kind == {OWN}) {{
        const {t} *v = (const {t} *)from + row * {size};
        for (int32_t i = 0; i < {size}; ++i) to[i] = v[i];
        {"" if whole else f"for (int32_t i = 0; i < {size}; ++i) {check}"}
    }} else {{
        const int64_t *v = (const int64_t *)from + row * {size};
        for (int32_t i = 0; i < {size}; ++i) {{
            {check}
            to[i] = ({t})v[i];
        }}
    }}
    return bad;
}}
"""


def _give(name: str, value: Value, prefix: str) -> str:
    return f"for (int32_t i = 0; i < {value.size}; ++i) {name}_to[row * {value.size} + i] = {prefix}_{name}(&state)[i];"
