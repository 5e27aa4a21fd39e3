"""ONNX operations that are weighted sums: Gemm, MatMul, Conv, ConvTranspose, BatchNormalization, LayerNormalization; legend: O, I."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from levsha.capture.onnx_arithmetic import affine
from levsha.capture.onnx_layout import axis_of, reshape, with_batch
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value

EVAL = "export the model in eval mode (torch: model.eval() before the export)"


def gemm(node: Node) -> Value:
    """Y = alpha A' B' + beta C, of which only A depends on the input, and maybe C."""
    if isinstance(node.input(0), np.ndarray):
        raise UnsupportedError("Gemm whose first factor is a constant", "the second must be the constant: swap them")
    x = node.real(0)
    if node.attribute("transA", 0):
        raise UnsupportedError("Gemm with transA = 1 puts the batch last", "export it with transA = 0")
    weight = _factor(node, 1)
    weight_OI = (weight if node.attribute("transB", 0) else weight.T) * node.attribute("alpha", 1.0)
    beta = node.attribute("beta", 1.0)
    added = node.input(2)
    axis_of(x, -1, "Gemm")
    if isinstance(added, np.ndarray) and prod(added.shape[:-1]) == 1:
        bias_O = np.broadcast_to(added.reshape(-1) * beta, (len(weight_OI),))
        return node.call("linear", x, arrays={"weight": weight_OI, "bias": bias_O})
    y = node.call("linear", x, arrays={"weight": weight_OI})
    if isinstance(added, Value):
        return node.call("add", y, with_batch(node, added, 0), factors=(1.0, float(beta)))
    return y if added is None else affine(node, y, 1.0, added * beta)


def _factor(node: Node, index: int) -> np.ndarray:
    """The constant of a product of matrices."""
    found = node.input(index)
    if isinstance(found, Value):
        advice = "one factor must be a constant (attention is not supported)"
        raise UnsupportedError(f"{node.op} of two values that depend on the input", advice)
    return node.constant(index, f"factor {index + 1}")


def mat_mul(node: Node) -> Value:
    """A product with a constant matrix on either side."""
    if isinstance(node.input(0), np.ndarray):
        return _constant_first(node)
    weight = _factor(node, 1)
    x = node.real(0)
    axis_of(x, -1, "MatMul")
    if prod(weight.shape[:-2]) != 1:
        raise UnsupportedError(f"MatMul by a stack of matrices, {list(weight.shape)}", "use one matrix of rank 2")
    if weight.ndim == 1:
        y = node.call("linear", x, arrays={"weight": weight[None]})
        return reshape(node, y, y.view[:-1])
    y = node.call("linear", x, arrays={"weight": weight.reshape(weight.shape[-2:]).T})
    return y if weight.ndim <= len(x.view) else reshape(node, y, (*[1] * (weight.ndim - len(x.view)), *y.view))


def _constant_first(node: Node) -> Value:
    """A (M, K) x (..., K, N): sums over the last axis but one."""
    weight_MK = node.constant(0, "factor 1")
    x = node.real(1)
    if weight_MK.ndim != 2 or len(x.view) < 2:
        raise UnsupportedError(
            f"MatMul by a constant of {list(weight_MK.shape)} from the left", "use a matrix of rank 2"
        )
    axis_of(x, -1, "MatMul")
    axis_of(x, -2, "MatMul")
    swapped = node.move(x, lambda t, fill: t.transpose(-1, -2), x.batch)
    y = node.call("linear", swapped, arrays={"weight": weight_MK})
    return node.move(y, lambda t, fill: t.transpose(-1, -2), x.batch)


def numbers(node: Node, name: str, rank: int, otherwise: int) -> list[int]:
    """Return an attribute of one integer an axis."""
    return [int(n) for n in node.attribute(name) or [otherwise] * rank]


def same_pads(
    node: Node, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int] | None:
    """Return the zeros before each axis, then after each, that auto_pad asks for; None where the node names them itself."""
    how = _text(node.attribute("auto_pad", "NOTSET"))
    if how == "VALID":
        return [0] * (2 * len(size))
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        return None
    if any(d != 1 for d in dilations):
        raise UnsupportedError(f"{node.op} with auto_pad = {how} and dilations = {list(dilations)}", "say its pads")
    before, after = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        less, more = total // 2, total - total // 2
        before.append(less if how == "SAME_UPPER" else more)
        after.append(more if how == "SAME_UPPER" else less)
    return [*before, *after]


def _text(found: bytes | str) -> str:
    return found.decode() if isinstance(found, bytes) else found


def images(node: Node, ranks: Sequence[int] = (1, 2)) -> Value:
    """Return input 1 as (N, C, one or two axes), batch first."""
    x = with_batch(node, node.real(0))
    rank = len(x.shape) - 1
    if rank not in ranks:
        raise UnsupportedError(f"{node.op} over {rank} axes", "1 and 2 axes are supported")
    return x


def conv(node: Node) -> Value:
    """A convolution over 1 or 2 axes, with any strides, dilations, groups and pads."""
    x = images(node)
    weight = node.constant(1, "kernel")
    rank = len(x.shape) - 1
    kernel = weight.shape[2:]
    strides, dilations = numbers(node, "strides", rank, 1), numbers(node, "dilations", rank, 1)
    pads = same_pads(node, x.shape[1:], kernel, strides, dilations)
    if pads is None:
        pads = numbers(node, "pads", 2 * rank, 0)
    arrays = {"weight": weight, "bias": node.maybe(2, "bias")}
    groups = int(node.attribute("group", 1))
    return node.call("conv", x, arrays=arrays, strides=strides, dilations=dilations, pads=pads, groups=groups)


def conv_transpose(node: Node) -> Value:
    """A transposed convolution; where the node says how large the output is, what is cut off follows (ONNX: ConvTranspose)."""
    x = images(node)
    weight = node.constant(1, "kernel")
    rank = len(x.shape) - 1
    strides, dilations = numbers(node, "strides", rank, 1), numbers(node, "dilations", rank, 1)
    more = numbers(node, "output_padding", rank, 0)
    pads = numbers(node, "pads", 2 * rank, 0)
    how = _text(node.attribute("auto_pad", "NOTSET"))
    wanted = node.attribute("output_shape")
    if wanted is None and how.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[1:], strides, strict=True)]
    if how == "VALID" and wanted is None:
        pads = [0] * (2 * rank)
    if wanted is not None:
        whole = [
            s * (n - 1) + m + (k - 1) * d + 1
            for n, k, s, d, m in zip(x.shape[1:], weight.shape[2:], strides, dilations, more, strict=True)
        ]
        cut = [a - int(b) for a, b in zip(whole, list(wanted)[-rank:], strict=True)]
        more = [m + max(-c, 0) for m, c in zip(more, cut, strict=True)]
        less = [max(c, 0) // 2 for c in cut]
        rest = [max(c, 0) - n for c, n in zip(cut, less, strict=True)]
        pads = [*less, *rest] if how == "SAME_UPPER" else [*rest, *less]
    return node.call(
        "conv_transpose", x, arrays={"weight": weight, "bias": node.maybe(2, "bias")}, strides=strides,
        dilations=dilations, pads=pads, output_padding=more, groups=int(node.attribute("group", 1)),
    )  # fmt: skip


def batch_normalization(node: Node) -> Value:
    """y = (x - mean) / sqrt(variance + epsilon) * scale + offset, with the mean and variance that training left."""
    x = with_batch(node, node.real(0))
    if (
        node.attribute("training_mode", 0)
        or (node.opset < 7 and not node.attribute("is_test", 0))
        or any(node.read[1:])
    ):
        raise UnsupportedError("BatchNormalization in training mode", EVAL)
    names = ("scale", "offset", "mean", "variance")
    scale, offset, mean, variance = (node.constant(i, name).astype(np.float64) for i, name in enumerate(names, 1))
    factor = scale / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    trailing = (1,) * (len(x.shape) - factor.ndim)
    arrays = {"factor": factor, "offset": offset - mean * factor}
    return node.call("affine", x, arrays={k: a.reshape(a.shape + trailing) for k, a in arrays.items()})


def layer_normalization(node: Node) -> Value:
    """Normalisation over the last axes, each example's and place's own mean and variance."""
    x = node.real(0)
    node.need_no_output(1, "means", "only the normalised values can be used")
    node.need_no_output(2, "deviations", "only the normalised values can be used")
    axis = axis_of(x, node.attribute("axis", -1), node.op)
    if x.batch is not None and axis < x.batch:
        raise UnsupportedError("LayerNormalization over the batch", "each example must be computed by itself")
    shape = x.shape[axis:]
    scale, bias = node.constant(1, "scale"), node.maybe(2, "bias")
    arrays = {"weight": np.broadcast_to(scale, shape), "bias": None if bias is None else np.broadcast_to(bias, shape)}
    return node.call("layer_norm", x, arrays=arrays, shape=shape, epsilon=float(node.attribute("epsilon", 1e-5)))


def scaler(node: Node) -> Value:
    """ai.onnx.ml: (x - offset) * scale, as scikit-learn's StandardScaler becomes."""
    scale = np.asarray(node.attribute("scale", [1.0]), dtype=np.float64)
    offset = np.asarray(node.attribute("offset", [0.0]), dtype=np.float64)
    return affine(node, node.real(0), scale, -offset * scale)


def linear_regressor(node: Node) -> Value:
    """ai.onnx.ml: x coefficients^T + intercepts, over rows of numbers."""
    node.need("post_transform", b"NONE", "export it without")
    x = with_batch(node, node.real(0))
    targets = node.attribute("targets", 1)
    weight = np.asarray(node.attributes["coefficients"], dtype=np.float32).reshape(targets, -1)
    bias = node.attribute("intercepts")
    return node.call(
        "linear", x, arrays={"weight": weight, "bias": None if bias is None else np.asarray(bias, np.float32)}
    )


SUMS = {
    "Gemm": gemm,
    "MatMul": mat_mul,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "ai.onnx.ml.Scaler": scaler,
    "ai.onnx.ml.LinearRegressor": linear_regressor,
}
