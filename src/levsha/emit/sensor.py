"""The files of a sensor model that are the same on every target: the net, and the conversation around it."""

from __future__ import annotations

from importlib.resources import files

from levsha.arith import INT16_MAX
from levsha.emit.c import emit_c
from levsha.errors import LevshaError
from levsha.ir import Graph, Value, c_name

READINGS = "readings"  # the one input of a sensor model


def sensor_files(graph: Graph, title: str) -> dict[str, str]:
    """Return the two headers of a sensor model, by file name: the net and the conversation around it."""
    text = files("levsha.emit").joinpath("sensor.h").read_text()
    return {"net.h": emit_c(graph, title), "sensor.h": _settings(graph) + text}


def needs(readings: Value) -> str:
    """Return what the firmware answers to a line that is not a list of readings inside the proven range.

    >>> needs(Value((3,), -40, 125))
    '? needs 3 integers in -40..125'
    """
    return f"? needs {readings.size} integers in {readings.lo}..{readings.hi}"


def _settings(graph: Graph) -> str:
    if list(graph.inputs) != [READINGS]:
        raise LevshaError(
            f"sensor: the graph reads {', '.join(graph.inputs)}; a sensor model reads one input, called {READINGS!r}. Rename it."
        )
    output = graph.outputs[0]
    for name in (READINGS, output):
        value = graph.values[name]
        if value.lo < -INT16_MAX - 1 or value.hi > INT16_MAX:
            raise LevshaError(
                f"sensor: {name!r} can be {value.lo}..{value.hi}; a line holds integers of {-INT16_MAX - 1}..{INT16_MAX}. "
                f"Use a coarser unit, or requantize it."
            )
    readings = graph.inputs[READINGS]
    return f"""typedef {readings.c_type} sensor_reading_t;
#define SENSOR_LO ({readings.lo}L)
#define SENSOR_HI ({readings.hi}L)
#define SENSOR_OUT {c_name(output)}
#define SENSOR_OUTPUTS {graph.values[output].size}
#define SENSOR_NEEDS "{needs(readings)}"
"""
