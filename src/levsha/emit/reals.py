"""Helpers in C between real numbers and the integers of a net, for programs that have a floating-point type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levsha.emit.names import Names
from levsha.emit.text import braced
from levsha.ir import Graph, Value
from levsha.meaning import Meaning, Quantity


def float_helpers(graph: Graph, names: Names, meaning: Meaning) -> str:
    """Return the helpers, compiled where PREFIX_FLOAT is defined; '' where no unit is known."""
    values = {name: graph.values[name] for name in (*graph.inputs, *graph.outputs) if _known(graph, name, meaning)}
    parts = [
        _to_integer(name, value, meaning.quantities[name], names)
        for name, value in values.items()
        if name in graph.inputs
    ]
    parts += [
        _to_real(name, value, meaning.quantities[name], names)
        for name, value in values.items()
        if name in graph.outputs
    ]
    if not parts:
        return ""
    exact = all(float_is_enough(meaning.quantities[name], value) for name, value in values.items())
    kind = "float" if exact else "double"
    why = "" if exact else "   /* a float holds too few digits for these steps and zeros */"
    head = [f"#ifdef {names.upper}_FLOAT", f"#ifndef {names.upper}_REAL", f"#define {names.upper}_REAL {kind}{why}", "#endif"]  # fmt: skip
    return "\n".join([*head, *parts, "#endif", ""])


def float_is_enough(quantities: Sequence[Quantity], value: Value) -> bool:
    """Say whether a 32-bit float tells an eighth of a step from the next everywhere in the value's range.

    >>> float_is_enough((Quantity("a", "V", 0.001),), Value((1,), 0, 4095)), float_is_enough((Quantity("s", "s", 1.0, 1.7e9),), Value((1,), 0, 9))
    (True, False)
    """
    step, zero = (np.array([getattr(q, key) for q in quantities]) for key in ("step", "zero"))
    largest = np.maximum(np.abs(zero + step * value.lows.ravel()), np.abs(zero + step * value.highs.ravel()))
    largest, info = np.maximum(largest, np.abs(zero)), np.finfo(np.float32)
    return bool((largest * info.eps <= step / 8).all() and (step > info.tiny).all() and (largest < info.max).all())


def _known(graph: Graph, name: str, meaning: Meaning) -> bool:
    count = len(meaning.quantities.get(name, ()))
    return count > 0 and graph.values[name].size % count == 0


def _to_integer(name: str, value: Value, quantities: Sequence[Quantity], names: Names) -> str:
    label, real = f"{names.upper}_{name.upper()}", f"{names.upper}_REAL"
    tables, step, zero = _tables(quantities, real, value.size)
    at = "0" if value.ranges is None else element(value.lows.size, value.size)
    lo, hi = f"lo[{at}]", f"hi[{at}]"
    return f"""/* A real number in the unit of element i as the nearest integer that the net takes, halves to even; what is no number as the least. */
static inline {value.c_type} {names.prefix}_{name}_from(int i, {real} number)
{{
    {tables}
    static const int32_t lo[] = {label}_LOWS, hi[] = {label}_HIGHS;
    const {real} steps = (number - {zero}) / {step};
    (void)i;
    if (!(steps > ({real}){lo})) return ({value.c_type}){lo};
    if (!(steps < ({real}){hi})) return ({value.c_type}){hi};
    int32_t whole = (int32_t)steps;
    const {real} rest = steps - ({real})whole;
    if (rest > 0.5f || (rest >= 0.5f && whole % 2 != 0)) ++whole;
    if (rest < -0.5f || (rest <= -0.5f && whole % 2 != 0)) --whole;
    return ({value.c_type})whole;
}}"""


def _to_real(name: str, value: Value, quantities: Sequence[Quantity], names: Names) -> str:
    real = f"{names.upper}_REAL"
    tables, step, zero = _tables(quantities, real, value.size)
    return f"""/* Element i of {name} as a real number in its unit. */
static inline {real} {names.prefix}_{name}_real(int i, {value.c_type} integer)
{{
    {tables}
    (void)i;
    return {zero} + {step} * ({real})integer;
}}"""


def element(count: int, size: int) -> str:
    """Return the place of element i in a list of one number an element, or one a channel, the last axis.

    >>> element(12, 12), element(3, 12)
    ('i', 'i % 3')
    """
    return "i" if count == size else f"i % {count}"


def _tables(quantities: Sequence[Quantity], real: str, size: int) -> tuple[str, str, str]:
    """Declarations of steps and zeros, each converted explicitly; and C that reads those of element i: one number where all are equal."""
    found, reads = [], []
    for label in ("step", "zero"):
        numbers = [float(getattr(q, label)) for q in quantities]
        same = len(set(numbers)) == 1
        found.append(f"{label}[] = {braced(f'({real}){number!r}' for number in (numbers[:1] if same else numbers))}")
        reads.append(f"{label}[{'0' if same else element(len(numbers), size)}]")
    return f"static const {real} {', '.join(found)};", reads[0], reads[1]
