"""What each of torch's operations becomes; OPERATIONS is the only place that names them all.  Legend: N examples, C channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from levsha.capture.arithmetic import add, divide, multiply, negate, power, reverse_subtract, subtract
from levsha.capture.reader import Name, Node
from levsha.capture.recurrent import lstm, plain
from levsha.capture.torch_moves import MOVES, concat, stack
from levsha.capture.torch_windows import adaptive, amax, argmax, axes_of, ints, largest, pool, reduce, short

Handler = Callable[[Node], Any]
WORDS = (  # element by element, of one value
    "abs ceil celu cos elu erf exp expm1 floor gelu hardshrink hardsigmoid hardswish leaky_relu log log1p log_sigmoid logit mish reciprocal "
    "round rsqrt selu sigmoid sign silu sin softplus softshrink sqrt square tan tanh threshold"
)
FUNCTIONS = WORDS.split()
IDENTITIES = [
    "alias",
    "clone",
    "contiguous",
    "detach",
    "detach_",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "identity",
    "lift_fresh_copy",
    "to",
    "type_as",
]


def same_pads(kernel: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """Return the pads by which an output is as large as its input at stride 1; an odd one comes last, as in torch.

    >>> same_pads((4,), (1,))
    (1, 2)
    """
    total = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return (*(n // 2 for n in total), *(n - n // 2 for n in total))


def _conv(n: Node) -> Name:
    x, weight = n["input"], n["weight"]
    if not isinstance(weight, Tensor) or isinstance(x, Tensor):
        return n.refuse("a convolution with computed weights", "use constant weights")
    rank = weight.dim() - 2
    if len(x.shape) != rank + 1 or rank > 2:
        return n.refuse(f"a convolution over {rank} axes of {x.shape}", "use one over 1 or 2 axes, with a batch")
    strides, dilations = ints(n["stride"], rank), ints(n["dilation"], rank)
    padding = n["padding"]
    if isinstance(padding, str):
        pads = same_pads(weight.shape[2:], dilations) if padding == "same" else (0,) * 2 * rank
    else:
        pads = ints(padding, rank) * 2
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "groups": n["groups"]}
    if n.get("transposed"):
        return _transposed(n, rank, attributes)
    return n.emit("conv", [x], attributes, {"weight": weight, "bias": n["bias"]})


def _conv_transpose(n: Node) -> Name:
    rank = n["weight"].dim() - 2
    pads = ints(n["padding"], rank) * 2
    attributes = {"strides": ints(n["stride"], rank), "dilations": ints(n["dilation"], rank), "pads": pads}
    return _transposed(n, rank, attributes | {"groups": n["groups"]})


def _transposed(n: Node, rank: int, attributes: dict[str, Any]) -> Name:
    more = {"output_padding": ints(n["output_padding"], rank)}
    return n.emit("conv_transpose", [n["input"]], attributes | more, {"weight": n["weight"], "bias": n["bias"]})


def _linear(n: Node) -> Name:
    if not isinstance(n["weight"], Tensor) or isinstance(n["input"], Tensor):
        return n.refuse("a product with computed weights", "use constant weights")
    return n.emit("linear", [n["input"]], {}, {"weight": n["weight"], "bias": n["bias"]})


def _matmul(n: Node) -> Name:
    a, b = (n["self"], n.get("other", n.get("mat2")))
    if isinstance(a, Name) and isinstance(b, Tensor) and b.dim() == 2:
        return n.emit("linear", [a], {}, {"weight": b.t()})
    return n.refuse(
        "a matrix product of two computed values", "use nn.Linear, or a product with a constant matrix on the right"
    )


def _addmm(n: Node) -> Name:
    if isinstance(n["mat1"], Name) and isinstance(n["mat2"], Tensor) and isinstance(n["self"], Tensor):
        return n.emit(
            "linear",
            [n["mat1"]],
            {},
            {"weight": n["mat2"].t() * n["alpha"], "bias": n["self"].expand(n.shape[-1]) * n["beta"]},
        )
    return n.refuse("addmm of computed values", "use nn.Linear")


def _batch_norm(n: Node) -> Name:
    x, mean, variance = n["input"], n["running_mean"], n["running_var"]
    if n["training"] or mean is None:
        return n.refuse(
            "batch normalisation in training mode", "call .eval() before exporting, and keep track_running_stats=True"
        )
    factor = (variance.double() + n["eps"]).rsqrt() * (1.0 if n["weight"] is None else n["weight"].double())
    offset = (0.0 if n["bias"] is None else n["bias"].double()) - mean.double() * factor
    ones = [1] * (len(x.shape) - 1)
    return n.emit("affine", [x], {}, {"factor": factor.reshape(-1, *ones), "offset": offset.reshape(-1, *ones)})


def _dropout(n: Node) -> Any:
    if n["train"]:
        return n.refuse("dropout in training mode", "call .eval() before exporting")
    return n["input"]


def _layer_norm(n: Node) -> Name:
    attributes = {"shape": tuple(n["normalized_shape"]), "epsilon": n["eps"]}
    return n.emit("layer_norm", [n["input"]], attributes, {"weight": n["weight"], "bias": n["bias"]})


def _clip(lo: str | float, hi: str | float) -> Handler:
    """A handler of an operation whose bounds are numbers, or arguments of these names."""

    def handle(n: Node) -> Name:
        found = [n[end] if isinstance(end, str) else end for end in (lo, hi)]
        low, high = (-math.inf if found[0] is None else found[0]), (math.inf if found[1] is None else found[1])
        if isinstance(low, Tensor | Name) or isinstance(high, Tensor | Name):
            return n.refuse("clipping at tensors", "clip at numbers")
        return n.emit("clip", [n.get("self", n.get("input"))], {"lo": float(low), "hi": float(high)})

    return handle


def _function(n: Node) -> Name:
    """An element-by-element function: torch's own operation, with its other arguments as they are."""
    (_, x), *others = n.given.items()
    more = dict(others)
    return n.emit(
        "function", [x], {"name": short(n.target), "function": lambda t: n.target(t, **_keywords(n.target, more))}
    )


def _keywords(target: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None or key in ("min", "max", "eps")}


def _prelu(n: Node) -> Name:
    x, weight = n["self"], n["weight"]
    if weight.numel() == 1:
        slope = float(weight)
        return n.emit("function", [x], {"name": "prelu", "function": lambda t: torch.where(t > 0, t, t * slope)})
    high = n.emit("clip", [x], {"lo": 0.0, "hi": math.inf}, shape=x.shape, suffix="_high")
    low = n.emit("clip", [x], {"lo": -math.inf, "hi": 0.0}, shape=x.shape, suffix="_low")
    slope_C = weight.reshape(-1, *[1] * (len(x.shape) - 1))
    steep = n.emit("affine", [low], {}, {"factor": slope_C, "offset": torch.zeros_like(slope_C)}, x.shape, "_steep")
    return n.emit("add", [high, steep], {})


def _softmax(log: bool) -> Handler:
    def handle(n: Node) -> Name:
        axes = axes_of(n, n["self"])
        return Name(n.name, n.shape) if axes is None else n.emit("softmax", [n["self"]], {"axis": axes[0], "log": log})

    return handle


def _embedding(n: Node) -> Name:
    return n.emit("embed", [n["indices"]], {}, {"table": n["weight"]})


OPERATIONS: dict[str, Handler] = {
    **dict.fromkeys(FUNCTIONS, _function), **dict.fromkeys(IDENTITIES, lambda n: next(iter(n.given.values()))), **MOVES,
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), _dropout),
    **dict.fromkeys(("conv1d", "conv2d", "convolution"), _conv),
    "conv_transpose1d": _conv_transpose, "conv_transpose2d": _conv_transpose, "linear": _linear, "addmm": _addmm,
    "matmul": _matmul, "mm": _matmul, "batch_norm": _batch_norm, "layer_norm": _layer_norm, "relu": _clip(0.0, math.inf),
    "relu6": _clip(0.0, 6.0), "hardtanh": _clip("min_val", "max_val"), "clamp": _clip("min", "max"), "clamp_min": _clip("min", math.inf),
    "clamp_max": _clip(-math.inf, "max"), "clip": _clip("min", "max"), "prelu": _prelu, "add": add, "sub": subtract, "rsub": reverse_subtract,
    "mul": multiply, "div": divide, "neg": negate, "pow": power, "max_pool1d": pool("max_pool"), "max_pool2d": pool("max_pool"),
    "avg_pool1d": pool("average_pool"), "avg_pool2d": pool("average_pool"), "adaptive_avg_pool1d": adaptive("average_pool"),
    "adaptive_avg_pool2d": adaptive("average_pool"), "adaptive_max_pool1d": adaptive("max_pool"), "adaptive_max_pool2d": adaptive("max_pool"),
    "mean": reduce("mean"), "sum": reduce("sum"), "amax": amax, "max": largest, "argmax": argmax, "softmax": _softmax(False),
    "log_softmax": _softmax(True), "embedding": _embedding, "cat": concat, "concat": concat, "stack": stack, "lstm": lstm,
    **{cell: plain(cell) for cell in ("gru", "rnn_tanh", "rnn_relu")},
}  # fmt: skip
