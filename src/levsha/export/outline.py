"""What every integer export says of a net beside its weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from levsha.formats import Format
from levsha.ir import Op
from levsha.run import Net
from levsha.store import describe_value, graph_hash


def outline(net: Net) -> dict[str, Any]:
    """Return hash, inputs, outputs and meaning of a net, as JSON has it."""
    graph = net.graph
    inputs = [{"name": name} | describe_value(value) for name, value in graph.inputs.items()]
    outputs = [{"name": name} | describe_value(graph.values[name]) for name in graph.outputs]
    about = {"title": net.title, "application": net.application.to_json(), "meaning": net.meaning.to_json()}
    return {"sha256": graph_hash(graph), "inputs": inputs, "outputs": outputs, **about}


def arrays_of(op: Op) -> dict[str, np.ndarray]:
    """Return the arrays of an op by field."""
    return {f.name: getattr(op, f.name) for f in dataclasses.fields(op) if isinstance(getattr(op, f.name), np.ndarray)}


def fields_of(op: Op) -> dict[str, Any]:
    """Return everything else of an op by field, its kind as `op`."""
    fields: dict[str, Any] = {"op": type(op).__name__}
    for f in dataclasses.fields(op):
        value = getattr(op, f.name)
        if isinstance(value, Format):
            fields[f.name] = value.name
        elif value is not None and not isinstance(value, np.ndarray):
            fields[f.name] = value
    return fields
