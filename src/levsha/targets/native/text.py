"""The C of a library: the net's own text, and one function that runs rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

import numpy as np

from levsha.emit.c import Style, emit_c
from levsha.emit.choose import Kernel
from levsha.emit.text import braced
from levsha.ir import C_TYPES, Graph, Value
from levsha.targets.native.instructions import kernels_of
from levsha.targets.native.vectors import Vectors

OWN, WIDE = 0, 1  # how the integers of an input lie: in its own type, or as int64
REALS = {np.dtype("<f4"): (2, "float"), np.dtype("<f8"): (3, "double"), np.dtype("u1"): (4, "uint8_t")}
"""How real numbers lie, and their C type."""


CHUNK = 1024  # numbers that are on their way from real to integer at once
_LOADS = "\n".join(
    f"""    if (kind == {kind}) {{
        const {c_type} *const v = (const {c_type} *)from + row;
        if (order) for (int32_t i = 0; i < n; ++i) real[i] = (double)v[order[i]];
        else for (int32_t i = 0; i < n; ++i) real[i] = (double)v[start + i];
    }}"""
    for kind, c_type in REALS.values()
)
_NEAREST = f"""
#ifndef LEVSHA_NEAREST
#define LEVSHA_NEAREST
/* real = zero + step * integer, of each element as it lies in memory; order: of an input where the element that lies here is in the model,
   of an output where an element of the model lies; NULL where both are the same */
typedef struct {{ const double *zero, *step; const int32_t *order; }} levsha_real;

/* Some elements of a row, from `start` on, as the nearest integers, halves to even, within 32 bits; returns whether one of them is no number.
   row: where it begins. */
static __attribute__((noinline)) int levsha_nearest(const void *from, int32_t kind, int64_t row, const levsha_real *how, int32_t start, int32_t n, int32_t *restrict to)
{{
    const double *restrict const zero = how->zero + start, *restrict const step = how->step + start;
    const int32_t *const order = how->order ? how->order + start : 0;
    double real[{CHUNK}];
    int bad = 0;
{_LOADS}
    for (int32_t i = 0; i < n; ++i) {{
        const double r = __builtin_rint((real[i] - zero[i]) / step[i]);
        const double raised = r < -2147483648.0 ? -2147483648.0 : r;
        bad |= !(r - r == 0);
        to[i] = (int32_t)(raised > 2147483647.0 ? 2147483647.0 : raised);
    }}
    return bad;
}}
#endif
"""


def library_text(graph: Graph, vectors: Vectors, prefix: str = "net", kernels: Sequence[Kernel] = ()) -> str:
    """Return the C of a net whose function PREFIX_rows(rows, ...) runs a batch and returns 0, or which row it cannot take.

    Of each input, in order: its rows, how they lie (OWN, WIDE, or see REALS), and what reals mean, or NULL; of each output: where int64
    go, or double, and what these mean, or NULL. A state for each thread. kernels: those of the vectors, if none are given.
    """
    style = Style(prefix, private=True, dialect=vectors.dialect, kernels=kernels or kernels_of(vectors))
    net = emit_c(graph, "a net for this machine", style).header
    takes = "\n".join(_take(name, value, prefix) for name, value in graph.inputs.items())
    parameters = [f"const void *{name}_from, int32_t {name}_kind, const void *{name}_from_how" for name in graph.inputs]
    parameters += [f"void *{name}_to, const levsha_real *{name}_to_how" for name in graph.outputs]
    inputs = [
        f"if ({prefix}_take_{name}(&state, {name}_from, {name}_kind, {name}_from_how, row)) return row + 1;"
        for name in graph.inputs
    ]
    outputs = [_give(name, graph.values[name], prefix) for name in graph.outputs]
    return f"""{net}{_NEAREST}
{takes}
__attribute__((visibility("default"))) int64_t {prefix}_rows(int64_t rows, {", ".join(parameters)})
{{
    static _Thread_local {prefix}_state state __attribute__((aligned(64)));
    for (int64_t row = 0; row < rows; ++row) {{
{indent(chr(10).join([*inputs, f"{prefix}_run(&state);", *outputs]), "        ")}
    }}
    return 0;
}}
"""


def _take(name: str, value: Value, prefix: str) -> str:
    """A function that copies one row of an input, and says whether any number is out of range, or of a real one, none."""
    size, t = value.size, value.c_type
    tables, low, high = "", str(value.lo), str(value.hi)
    if value.ranges is not None:
        ends = [np.broadcast_to(end, value.shape).ravel() for end in (value.lows, value.highs)]
        named = zip(("low", "high"), ends, strict=True)
        tables = "".join(f"    static const int32_t {label}[{size}] = {braced(end)};\n" for label, end in named)
        low, high = "low[i]", "high[i]"
    whole = (value.lo, value.hi) == C_TYPES[t][:2] and value.ranges is None
    each = f"for (int32_t i = 0; i < {size}; ++i)"
    check = f"bad |= (v[i] < {low}) | (v[i] > {high});"
    return f"""static int {prefix}_take_{name}({prefix}_state *state, const void *from, int32_t kind, const levsha_real *how, int64_t row)
{{
{tables}    int32_t bad = 0;
    {t} *restrict const to = state->{name};
    if (kind == {OWN}) {{
        const {t} *v = (const {t} *)from + row * {size};
        {each} to[i] = v[i];
        {"" if whole else f"{each} {check}"}
    }}
    if (kind == {WIDE}) {{
        const int64_t *v = (const int64_t *)from + row * {size};
        {each} {{
            {check}
            to[i] = ({t})v[i];
        }}
    }}
    if (kind > {WIDE})
        for (int32_t start = 0; start < {size}; start += {CHUNK}) {{
            int32_t v[{CHUNK}];
            const int32_t n = {size} - start < {CHUNK} ? {size} - start : {CHUNK};
            bad |= levsha_nearest(from, kind, row * {size}, how, start, n, v);
            for (int32_t k = 0, i = start; k < n; ++k, ++i) {{
                const int32_t raised = v[k] < {low} ? {low} : v[k];
                to[i] = ({t})(raised > {high} ? {high} : raised);
            }}
        }}
    return bad;
}}
"""


def _give(name: str, value: Value, prefix: str) -> str:
    """Copy an output, as integers in memory's order or as real numbers in the model's."""
    each, v = f"for (int32_t i = 0; i < {value.size}; ++i)", f"{prefix}_{name}(&state)"
    return f"""if ({name}_to_how) {{
    double *const to = (double *){name}_to + row * {value.size};
    {each} {{
        const int32_t at = {name}_to_how->order ? {name}_to_how->order[i] : i;
        to[i] = {name}_to_how->zero[at] + {name}_to_how->step[at] * {v}[at];
    }}
}} else {{
    int64_t *const to = (int64_t *){name}_to + row * {value.size};
    {each} to[i] = {v}[i];
}}"""
