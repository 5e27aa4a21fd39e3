"""Real readings in, real results out of a sensor model: every value in its own unit, refused outside its own range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from levsha.applications.sensor import READINGS
from levsha.errors import LevshaError
from levsha.net import Net


def to_readings(net: Net, x_NI: np.ndarray, where: Sequence[str]) -> np.ndarray:
    """Return real inputs (N, I) as the integers that the net takes; LevshaError says at which place (where, N) one is not taken, and why."""
    value, quantities = net.graph.inputs[READINGS], net.meaning.quantities[READINGS]
    if x_NI.shape[1] != value.size:
        names = ", ".join(q.name for q in quantities)
        raise LevshaError(f"{where[0]}: {x_NI.shape[1]} numbers; the net reads {value.size}: {names}.")
    for n, _ in np.argwhere(~np.isfinite(x_NI))[:1]:
        raise LevshaError(f"{where[n]}: one is no finite number; give measured values.")
    zero_I, step_I = net.meaning.zeros_and_steps(READINGS)
    integer_NI = np.rint((x_NI - zero_I) / step_I)
    for n, i in np.argwhere((integer_NI < value.lows) | (integer_NI > value.highs))[:1]:
        low, high = (
            zero_I[i] + step_I[i] * np.broadcast_to(ends, value.shape)[i] for ends in (value.lows, value.highs)
        )
        unit = f" {quantities[i].unit}" if quantities[i].unit else ""
        taken = f"{low:.10g} to {high:.10g}" if low < high else f"only {low:.10g}"
        raise LevshaError(
            f"{where[n]}: {quantities[i].name} is {x_NI[n, i]:.10g}; the net takes {taken}{unit}: it was trained on nothing beyond."
        )
    return integer_NI.astype(np.int64)


def in_words(net: Net, said: str) -> str:
    """Return what a net said, integers or the name of a class, in the units of its target."""
    output = net.graph.outputs[0]
    if output in net.meaning.classes:
        return said
    texts = [text for text in _real_texts(net, np.array([[int(word) for word in said.split()]]))[0]]
    quantities = net.meaning.quantities[output]
    return ", ".join(
        f"{q.name}: {text}{f' {q.unit}' if q.unit else ''}" for q, text in zip(quantities, texts, strict=True)
    )


def answers(net: Net, results_NO: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Return titles and cells of a table of results (N, O): real numbers in their units, or names of classes."""
    output = net.graph.outputs[0]
    if output in net.meaning.classes:
        names = net.meaning.classes[output]
        return [output], [[names[int(row[0])]] for row in results_NO]
    quantities = net.meaning.quantities[output]
    return [f"{q.name}, {q.unit}" if q.unit else q.name for q in quantities], _real_texts(net, results_NO)


def _real_texts(net: Net, results_NO: np.ndarray) -> list[list[str]]:
    return [[f"{value:.10g}" for value in row] for row in net.meaning.to_real(net.graph.outputs[0], results_NO)]
