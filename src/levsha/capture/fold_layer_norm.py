"""Layer normalisation as a node: over rows of memory, in whatever order a row's elements lie.  Legend: R rows, I elements of a row."""

from __future__ import annotations

import math

import numpy as np

from levsha.capture.build import ONE, ZERO, Build
from levsha.capture.call import Call
from levsha.capture.view import View


def fold_layer_norm(build: Build, call: Call) -> None:
    """Add a layer normalisation; weights and biases are its factor and offset."""
    view, size = build.view(call.inputs[0]), math.prod(call.attributes["shape"])
    whole = math.prod(build.shapes[view.value])
    weight_I, bias_I = (
        nothing if (array := call.array(name)) is None else array.double().numpy().ravel()
        for name, nothing in (("weight", ONE), ("bias", ZERO))
    )
    more = {"epsilon": float(call.attributes["epsilon"])}
    if size == view.index.size and view.is_whole(whole):  # one row, which may lie in any order
        order = np.argsort(view.index.ravel())
        factor, offset = (part if part.size == 1 else part[order] for part in (weight_I, bias_I))
        node = build.add(call, "layer_norm", [view.value], (1, size), None, factor_O=factor, offset_O=offset, **more)
        build.views[call.output] = View(node.output, view.index)
        return
    value = build.materialise(call, view)
    shape = (view.index.size // size, size)
    build.add(call, "layer_norm", [value], shape, None, factor_O=weight_I, offset_O=bias_I, **more)
