"""ONNX operations after which every number is what it was: Identity, Dropout, and Cast between floats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value

FLOATS = {1: "float", 10: "float16", 11: "double", 16: "bfloat16"}
INTEGERS = {6: "int32", 7: "int64"}
INSIDE = "export the float model; Levsha chooses the integers itself"
OTHERS = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 8: "string", 9: "bool", 12: "uint32", 13: "uint64"}


def same(node: Node) -> Value:
    """The input as it is."""
    return node.value(0)


def dropout(node: Node) -> Value:
    """The input as it is: nothing is dropped outside training."""
    training = node.maybe(2, "training_mode")
    on = training is not None and bool(training.item())
    if on or (node.opset < 7 and not node.attribute("is_test", 0)):
        raise UnsupportedError(
            "Dropout in training mode", "export the model in eval mode (torch: model.eval() before the export)"
        )
    node.need_no_output(1, "the mask", "only the values can be used")
    return node.value(0)


def cast(node: Node) -> Value:
    """Another type of number: floats stay as they are, integers become floats; what is cut off to an integer is a function."""
    x, to = node.value(0), int(node.attributes["to"])
    if to in FLOATS or (x.whole and to in INTEGERS):
        return replace(x, whole=to in INTEGERS)
    if to in INTEGERS:
        return replace(node.call("function", x, name="trunc", function=torch.trunc, whole=True), uncut=x)
    kind = OTHERS.get(to, f"type {to}")
    raise UnsupportedError(f"{node.op} to {kind} inside the model", INSIDE)


def cast_like(node: Node) -> Value | np.ndarray:
    """The type of a second input, where both are floats; a constant becomes float32, which calls compute in."""
    like = node.input(1)
    floats = not like.whole if isinstance(like, Value) else like is not None and like.dtype.kind not in "iubSUO"
    if not floats:
        raise UnsupportedError("CastLike to integers inside the model", INSIDE)
    x = node.input(0)
    return x.astype(np.float32) if isinstance(x, np.ndarray) else replace(node.value(0), whole=False)


CASTS = {"Identity": same, "Dropout": dropout, "Cast": cast, "CastLike": cast_like}
