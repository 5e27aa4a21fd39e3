"""What every integer export says of a net beside its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from levsha.formats import Format
from levsha.ir import Graph, Op
from levsha.net import Net
from levsha.store import describe_value, graph_hash


def outline(net: Net) -> dict[str, Any]:
    """Return hash, inputs, outputs and meaning of a net, as JSON has it."""
    graph = net.graph
    about = {"title": net.title, "application": net.application.to_json(), "meaning": net.meaning.to_json()}
    return {"sha256": graph_hash(graph), **ends_of(graph), **about}


def ends_of(graph: Graph) -> dict[str, Any]:
    """Return what is proven of a graph's inputs and outputs."""
    inputs = [{"name": name} | describe_value(value) for name, value in graph.inputs.items()]
    outputs = [{"name": name} | describe_value(graph.values[name]) for name in graph.outputs]
    return {"inputs": inputs, "outputs": outputs}


Show = Callable[[Op, str, np.ndarray], Any]
"""What stands for the array in a field of an op."""


def describe_op(op: Op, show: Show) -> dict[str, Any]:
    """Return an op as JSON has it: its fields, arrays as `show` gives them; a field that is a graph is described likewise, inside."""
    return fields_of(op, show) | {key: show(op, key, array) for key, array in arrays_of(op).items()}


def arrays_of(op: Op) -> dict[str, np.ndarray]:
    """Return the arrays of an op by field."""
    return {f.name: getattr(op, f.name) for f in dataclasses.fields(op) if isinstance(getattr(op, f.name), np.ndarray)}


def fields_of(op: Op, show: Show) -> dict[str, Any]:
    """Return everything else of an op by field, its kind as `op`."""
    fields: dict[str, Any] = {"op": type(op).__name__}
    for f in dataclasses.fields(op):
        value = getattr(op, f.name)
        if isinstance(value, Format):
            fields[f.name] = value.name
        elif isinstance(value, Graph):
            fields[f.name] = ends_of(value) | {"ops": [describe_op(inner, show) for inner in value.ops]}
        elif value is not None and not isinstance(value, np.ndarray):
            fields[f.name] = value
    return fields
