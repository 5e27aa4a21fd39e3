"""Arithmetic of values and constants: with a constant it is an affine map, between values an addition or a product."""

from __future__ import annotations

import torch
from torch import Tensor

from levsha.capture.reader import BATCH, Name, Node, index_of

Operand = Name | Tensor | float


def _constant(n: Node, c: Tensor | float, rank: int) -> Tensor:
    """A constant as it broadcasts against a value without its batch."""
    tensor = torch.as_tensor(c, dtype=torch.float64)
    if tensor.dim() == rank + 1 and len(tensor) in (1, BATCH) and bool((tensor == tensor[:1]).all()):
        tensor = tensor[0]
    if tensor.dim() > rank:
        n.refuse("a constant that differs from example to example", "use one constant for all examples")
        return torch.zeros(())
    return tensor


def _spread(n: Node, x: Name, suffix: str) -> Name:
    """The value at the shape of the output."""
    if x.shape == n.shape:
        return x
    index = index_of(
        lambda t: t.reshape(BATCH, *[1] * (len(n.shape) - len(x.shape)), *x.shape).expand(BATCH, *n.shape), x.shape
    )
    assert index is not None
    return n.move(x, index, suffix=suffix)


def _affine(n: Node, x: Name, factor: Tensor | float, offset: Tensor | float) -> Name:
    rank = len(n.shape)
    arrays = {"factor": _constant(n, factor, rank), "offset": _constant(n, offset, rank)}
    return n.emit("affine", [_spread(n, x, "_wide")], {}, arrays)


def _sum(n: Node, a: Operand, b: Operand, fa: float, fb: float) -> Name:
    """fa * a + fb * b."""
    if isinstance(a, Name) and isinstance(b, Name):
        return n.emit("add", [_spread(n, a, "_a"), _spread(n, b, "_b")], {"factors": (fa, fb)})
    if isinstance(a, Name):
        return _affine(n, a, fa, b * fb)  # pyright: ignore[reportOperatorIssue]
    assert isinstance(b, Name)
    return _affine(n, b, fb, a * fa)


def _operands(n: Node) -> tuple[Operand, Operand, float]:
    return n["self"], n["other"], float(n.get("alpha", 1) or 1)


def add(n: Node) -> Name:
    """a + alpha b."""
    a, b, alpha = _operands(n)
    return _sum(n, a, b, 1.0, alpha)


def subtract(n: Node) -> Name:
    """a - alpha b."""
    a, b, alpha = _operands(n)
    return _sum(n, a, b, 1.0, -alpha)


def reverse_subtract(n: Node) -> Name:
    """b - alpha a."""
    a, b, alpha = _operands(n)
    return _sum(n, a, b, -alpha, 1.0)


def multiply(n: Node) -> Name:
    """a b."""
    a, b, _ = _operands(n)
    if isinstance(a, Name) and isinstance(b, Name):
        return n.emit("multiply", [_spread(n, a, "_a"), _spread(n, b, "_b")])
    value, factor = (a, b) if isinstance(a, Name) else (b, a)
    assert isinstance(value, Name) and not isinstance(factor, Name)
    return _affine(n, value, factor, 0.0)


def divide(n: Node) -> Name:
    """a / b, of a value by a constant, or of a constant by a value."""
    a, b, _ = _operands(n)
    if n.get("rounding_mode"):
        return n.refuse("a division that rounds", "divide by a constant without rounding")
    if isinstance(b, Name):
        if isinstance(a, Name):
            return n.refuse("a quotient of two computed values", "multiply by 1 / b, made by a function of one value")
        one = n.emit(
            "function", [b], {"name": "reciprocal", "function": torch.reciprocal}, shape=b.shape, suffix="_inverse"
        )
        return _affine(n, one, a, 0.0)
    assert isinstance(a, Name)
    return _affine(n, a, 1.0 / torch.as_tensor(b, dtype=torch.float64), 0.0)


def negate(n: Node) -> Name:
    """-a."""
    return _affine(n, n["self"], -1.0, 0.0)


def power(n: Node) -> Name:
    """a to a constant power."""
    x, exponent = n["self"], n["exponent"]
    if not isinstance(x, Name) or not isinstance(exponent, int | float):
        return n.refuse("a computed power", "use a constant exponent")
    return n.emit("function", [x], {"name": f"pow_{exponent:g}", "function": lambda t: t**exponent})
