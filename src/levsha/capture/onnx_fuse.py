"""Operations between values that all come element by element from one value: together they are one function of it.

So become whole again the activations that a file has in pieces: x * sigmoid(x), x / (1 + |x|), where(x > 0, x, 0.1 x).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from levsha.capture.onnx_arithmetic import add, affine, aligned, divide, extreme, multiply
from levsha.capture.onnx_node import Node, Operation
from levsha.capture.onnx_value import MOST_STEPS, Element, UnsupportedError, Value, element_of, moved_alike

LONGEST = 60
ADVICE = "write it with Relu, Clip, Max, Min or one activation"


def fuse(
    node: Node, text: str, function: Callable[..., Tensor], operands: Sequence[Value | np.ndarray], whole: bool = False
) -> Value | None:
    """Return one function of the operands' common base; None where they have none, or a constant is more than one number.

    text: of the function, with {} for each operand; it becomes the name of the call.
    """
    values = [x for x in operands if isinstance(x, Value)]
    moved = moved_alike(values)
    if moved and all(v.batch == values[0].batch for v in values):
        inner = fuse(
            node, text, function, [x.moved.source if isinstance(x, Value) and x.moved else x for x in operands], whole
        )
        return inner and node.move(inner, moved.move, values[0].batch)
    bases = {element_of(v).base.name for v in values}
    if len(bases) != 1 or any(v.batch != values[0].batch or v.shape != values[0].shape for v in values):
        return None
    if any(isinstance(x, np.ndarray) and x.size != 1 for x in operands):
        return None
    base = element_of(values[0]).base
    parts = [element_of(x) if isinstance(x, Value) else _constant(base, x) for x in operands]
    name, size = text.format(*(part.text for part in parts)), 1 + sum(part.size for part in parts)
    if size > MOST_STEPS:
        return None

    def composed(t: Tensor) -> Tensor:
        return function(*(part.function(t) for part in parts)).to(t.dtype)

    y = node.call(
        "function", base, name=name if len(name) <= LONGEST else f"{name[:LONGEST]}...", function=composed, whole=whole
    )
    return replace(y, batch=values[0].batch, element=Element(base, composed, name, True, size))


def _constant(base: Value, c: np.ndarray) -> Element:
    number = c.item()
    return Element(base, lambda t: torch.full_like(t, float(number)), f"{number:g}", False, 0)


def operands_of(node: Node) -> list[Value | np.ndarray]:
    """Return all inputs of a node, values and constants."""
    return [x if isinstance(x, Value) else node.constant(i, f"input {i + 1}") for i, x in enumerate(node.inputs)]


def either(text: str, function: Callable[..., Tensor], otherwise: Operation, straight: bool = False) -> Operation:
    """Return an operation that is one function of the base of two values, and else what it is elsewhere.

    straight: of two straight lines it makes another one, for which no function is needed.
    """

    def turn(node: Node) -> Value:
        operands = operands_of(node)
        if sum(isinstance(x, Value) for x in operands) > 1:
            fused = fuse(
                node, text, function, [node.real(i) if isinstance(x, Value) else x for i, x in enumerate(operands)]
            )
            if fused:
                return fused
        return otherwise(node)

    return turn


def compare(text: str, function: Callable[..., Tensor]) -> Operation:
    """Return an operation that gives 1 where a comparison holds, else 0: of a - b with 0, where it is no function of one value."""

    def turn(node: Node) -> Value:
        a, b = (node.real(i) if isinstance(x, Value) else x for i, x in enumerate(operands_of(node)))
        fused = fuse(node, text, function, (a, b), whole=True)
        if fused:
            return fused
        if isinstance(a, Value) and isinstance(b, Value):
            apart = node.call("add", *aligned(node, a, b), factors=(1.0, -1.0))
        elif isinstance(a, Value):
            assert isinstance(b, np.ndarray)
            apart = affine(node, a, 1.0, -b)
        else:
            assert isinstance(b, Value)
            apart = affine(node, b, -1.0, a)
        found = fuse(node, text, function, (apart, np.zeros(())), whole=True)
        assert found
        return found

    return turn


def logic(text: str, function: Callable[..., Tensor]) -> Operation:
    """Return an operation on values that are 0 or 1, which must come from one value."""

    def turn(node: Node) -> Value:
        found = fuse(node, text, function, operands_of(node), whole=True)
        if found is None:
            raise UnsupportedError(f"{node.op} of several values", ADVICE)
        return found

    return turn


def where(node: Node) -> Value:
    """One branch where a condition holds, else the other: of one value, or by a constant condition with one constant branch."""
    operands = operands_of(node)
    if isinstance(operands[0], Value):
        found = fuse(node, "where({}, {}, {})", lambda c, a, b: torch.where(c > 0.5, a, b), operands)
        if found is None:
            raise UnsupportedError("Where by a condition that depends on the input", ADVICE)
        return found
    condition = node.constant(0, "condition")
    if isinstance(operands[1], Value) and isinstance(operands[2], Value):
        raise UnsupportedError(
            "Where between two values that depend on the input", "one of its branches must be a constant"
        )
    x, taken = (node.real(1), condition) if isinstance(operands[1], Value) else (node.real(2), ~condition)
    other = node.constant(2 if isinstance(operands[1], Value) else 1, "branch")
    return affine(node, x, taken.astype(np.float32), np.where(taken, 0.0, other).astype(np.float32))


def _truth(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *t: function(*(x > 0.5 for x in t))


FUSED = {
    "Mul": either("{} * {}", torch.mul, multiply),
    "Div": either("{} / {}", torch.div, divide),
    "Add": either("({} + {})", torch.add, add, straight=True),
    "Sub": either("({} - {})", torch.sub, partial(add, sign=-1.0), straight=True),
    "Max": either("max({}, {})", torch.maximum, partial(extreme, sign=1.0)),
    "Min": either("min({}, {})", torch.minimum, partial(extreme, sign=-1.0)),
    "Greater": compare("({} > {})", torch.gt),
    "GreaterOrEqual": compare("({} >= {})", torch.ge),
    "Less": compare("({} < {})", torch.lt),
    "LessOrEqual": compare("({} <= {})", torch.le),
    "Not": logic("not {}", _truth(torch.logical_not)),
    "And": logic("({} and {})", _truth(torch.logical_and)),
    "Or": logic("({} or {})", _truth(torch.logical_or)),
    "Where": where,
}
