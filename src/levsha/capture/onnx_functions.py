"""ONNX operations that are one function of each element; formulas from the ONNX operator specification."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from levsha.capture.onnx_arithmetic import affine
from levsha.capture.onnx_layout import of_rank
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value

Function = Callable[[Tensor], Tensor]


def apply(node: Node, name: str, function: Function) -> Value:
    """One function of each element."""
    return node.call("function", node.real(0), name=name, function=function)


PLAIN: dict[str, Function] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": F.hardswish,
    "Log": torch.log,
    "Mish": F.mish,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}


def plain(node: Node) -> Value:
    """A function without numbers of its own."""
    return apply(node, node.op.lower(), PLAIN[node.op])


def relu(node: Node) -> Value:
    """max(x, 0)."""
    return node.call("clip", node.real(0), lo=0.0, hi=inf)


def neg(node: Node) -> Value:
    """-x."""
    return affine(node, node.real(0), -1.0, 0.0)


def leaky_relu(node: Node) -> Value:
    """x above 0, alpha x below."""
    alpha = node.attribute("alpha", 0.01)
    return apply(node, f"leaky_relu {alpha:g}", lambda t: t.clamp(min=0) + alpha * t.clamp(max=0))


def elu(node: Node) -> Value:
    """x above 0, alpha (e^x - 1) below."""
    alpha = node.attribute("alpha", 1.0)
    return apply(node, f"elu {alpha:g}", lambda t: t.clamp(min=0) + alpha * torch.expm1(t.clamp(max=0)))


def selu(node: Node) -> Value:
    """gamma x above 0, gamma alpha (e^x - 1) below."""
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    gamma = node.attribute("gamma", 1.05070102214813232421875)
    name = f"selu {alpha:g} {gamma:g}"
    return apply(node, name, lambda t: gamma * (t.clamp(min=0) + alpha * torch.expm1(t.clamp(max=0))))


def celu(node: Node) -> Value:
    """x above 0, alpha (e^(x / alpha) - 1) below."""
    alpha = node.attribute("alpha", 1.0)
    return apply(node, f"celu {alpha:g}", lambda t: t.clamp(min=0) + alpha * torch.expm1(t.clamp(max=0) / alpha))


def thresholded_relu(node: Node) -> Value:
    """x above alpha, else 0."""
    alpha = node.attribute("alpha", 1.0)
    return apply(node, f"thresholded_relu {alpha:g}", lambda t: torch.where(t > alpha, t, 0.0))


def shrink(node: Node) -> Value:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    bias, lambd = node.attribute("bias", 0.0), node.attribute("lambd", 0.5)
    name = f"shrink {bias:g} {lambd:g}"
    return apply(node, name, lambda t: torch.where(t < -lambd, t + bias, torch.where(t > lambd, t - bias, 0.0)))


def hard_sigmoid(node: Node) -> Value:
    """alpha x + beta between 0 and 1."""
    line = affine(node, node.real(0), node.attribute("alpha", 0.2), node.attribute("beta", 0.5))
    return node.call("clip", line, lo=0.0, hi=1.0)


def gelu(node: Node) -> Value:
    """x times the normal distribution's probability of less than x, or its approximation by tanh."""
    how = node.attribute("approximate", b"none").decode()
    name = "gelu" if how == "none" else f"gelu {how}"
    return apply(node, name, lambda t: F.gelu(t, approximate=how))


def swish(node: Node) -> Value:
    """x sigmoid(alpha x)."""
    alpha = node.attribute("alpha", 1.0)
    return apply(node, f"swish {alpha:g}", lambda t: t * torch.sigmoid(alpha * t))


def prelu(node: Node) -> Value:
    """x above 0, slope * x below; as relu(x) - slope relu(-x) where the slopes differ."""
    x, slope = node.real(0), node.constant(1, "slope")
    if slope.size and (slope == slope.flat[0]).all():
        alpha = float(slope.flat[0])
        name = f"leaky_relu {alpha:g}"
        return node.call("function", x, name=name, function=lambda t: t.clamp(min=0) + alpha * t.clamp(max=0))
    above = node.call("clip", x, lo=0.0, hi=inf)
    below = node.call("clip", affine(node, x, -1.0, 0.0), lo=0.0, hi=inf)
    if node.opset < 7 and slope.ndim == 1:
        slope = slope.reshape(-1, *[1] * (len(x.view) - 2))
    return node.call("add", above, affine(node, below, slope, 0.0), factors=(1.0, -1.0))


def power(node: Node) -> Value:
    """x to a constant power, or a constant to the power of x."""
    if isinstance(node.input(0), np.ndarray):
        base, x = node.constant(0, "base"), node.real(1)
        if base.size != 1:
            raise UnsupportedError("Pow of several constants", "use one base")
        number = float(base.item())
        x = of_rank(node, x, base.ndim)
        return node.call("function", x, name=f"{number:g} to the power", function=lambda t: number**t)
    x, exponent = node.real(0), node.constant(1, "exponent")
    if exponent.size and not (exponent == exponent.flat[0]).all():
        raise UnsupportedError("Pow by several constants", "use one exponent")
    number = float(exponent.flat[0])
    x = of_rank(node, x, exponent.ndim)
    return node.call("function", x, name=f"power {number:g}", function=lambda t: t**number)


FUNCTIONS = {
    **dict.fromkeys(PLAIN, plain),
    "Relu": relu,
    "Neg": neg,
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "ThresholdedRelu": thresholded_relu,
    "Shrink": shrink,
    "HardSigmoid": hard_sigmoid,
    "Gelu": gelu,
    "Swish": swish,
    "PRelu": prelu,
    "Pow": power,
}
