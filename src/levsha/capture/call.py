"""What a user's model does, in floats, as it stands there: a list of calls.  Legend: N examples, O outputs, I inputs.

Both front ends, torch's and ONNX's, make the same calls; `MEANINGS` says what each computes, so that an import can be proved. Values
have the axes they have in the source, a batch first, which shapes and axes leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Move = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, eq=False)
class Call:
    """One step of a model.

    kind: a key of MEANINGS, whose docstring names attributes and arrays. inputs, output: names of values. shape: of the output,
    without the batch. arrays: float32 or float64 constants by name. place: where it stands in the user's source, as a sentence part:
    `net.py, line 7: x = self.conv(x) (in stage.0.conv)`, or the name of an ONNX node.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    place: str = ""

    def array(self, name: str) -> Tensor | None:
        """Return a constant, None where the call has none of that name."""
        return self.arrays.get(name)


@dataclass(frozen=True, eq=False)
class Program:
    """A whole model: calls in order over named inputs.

    inputs: shape of each, without the batch. outputs: names of the values that the model returns. about: what it is, such as the name
    of its class or file.
    """

    inputs: Mapping[str, tuple[int, ...]]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...]
    about: str = ""


def _linear(call: Call, x: Tensor) -> Tensor:
    """y = x weight_OI^T + bias_O over the last axis.  arrays: weight (O, I), bias (O,) or none."""
    return F.linear(x, *_typed(call, x, "weight", "bias"))


def _conv(call: Call, x: Tensor) -> Tensor:
    """Cross-correlation over 1 or 2 axes.  arrays: weight (O, I / groups, *kernel), bias or none; strides, dilations: one an axis; pads:
    zeros before each axis, then after each (as in ONNX); groups."""
    weight, bias = _typed(call, x, "weight", "bias")
    a = call.attributes
    options = {"stride": a["strides"], "dilation": a["dilations"], "groups": a["groups"]}
    return _by_rank(F.conv1d, F.conv2d, weight.dim() - 2)(_padded(x, a["pads"], 0.0), weight, bias, **options)


def _conv_transpose(call: Call, x: Tensor) -> Tensor:
    """The transpose of a convolution.  arrays: weight (I, O / groups, *kernel), bias or none; strides, dilations, groups; pads: cut off
    before each axis, then after each; output_padding: zeros added after each axis."""
    weight, bias = _typed(call, x, "weight", "bias")
    a = call.attributes
    rank = weight.dim() - 2
    options = {"stride": a["strides"], "dilation": a["dilations"], "groups": a["groups"]}
    y = _by_rank(F.conv_transpose1d, F.conv_transpose2d, rank)(x, weight, None, **options)
    y = F.pad(y, [n for more in reversed(a["output_padding"]) for n in (0, more)])
    for axis, (before, after) in enumerate(zip(a["pads"][:rank], a["pads"][rank:], strict=True), 2):
        y = y.narrow(axis, before, y.shape[axis] - before - after)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _affine(call: Call, x: Tensor) -> Tensor:
    """y = x * factor + offset: batch normalisation, and any arithmetic with constants.  arrays: factor, offset, which broadcast against the
    value without its batch."""
    factor, offset = _typed(call, x, "factor", "offset")
    return x * factor + offset


def _clip(call: Call, x: Tensor) -> Tensor:
    """Clipping: ReLU is lo = 0, hi = inf; ReLU6 hi = 6.  lo, hi: floats, infinite where there is none."""
    return x.clamp(call.attributes["lo"], call.attributes["hi"])


def _function(call: Call, x: Tensor) -> Tensor:
    """Any other activation, element by element.  name: for reports; function: of a tensor."""
    return call.attributes["function"](x)


def _max_pool(call: Call, x: Tensor) -> Tensor:
    """The largest element of each window over 1 or 2 axes.  kernel, strides, dilations: one an axis; pads: as in conv, and never the
    largest. A rounding up of the size is in the pads."""
    a = call.attributes
    padded = _padded(x, a["pads"], -torch.inf)
    rank = len(a["kernel"])
    return _by_rank(F.max_pool1d, F.max_pool2d, rank)(padded, a["kernel"], a["strides"], 0, a["dilations"])


def _average_pool(call: Call, x: Tensor) -> Tensor:
    """The mean of each window over 1 or 2 axes.  kernel, strides, pads: as in max_pool; counted: pads (as in conv) that count as elements,
    zeros; the others do not."""
    a = call.attributes
    rank = len(a["kernel"])
    area = 1
    for n in a["kernel"]:
        area *= n
    pool = _by_rank(F.avg_pool1d, F.avg_pool2d, rank)
    sums = pool(_padded(x, a["pads"], 0.0), a["kernel"], a["strides"]) * area
    inside = _padded(torch.ones_like(x), a["counted"], 1.0)
    more = [whole - some for whole, some in zip(a["pads"], a["counted"], strict=True)]
    return sums / (pool(_padded(inside, more, 0.0), a["kernel"], a["strides"]) * area)


def _mean(call: Call, x: Tensor) -> Tensor:
    """The mean over whole axes.  axes: counted without the batch; keepdim."""
    return x.mean([axis + 1 for axis in call.attributes["axes"]], keepdim=call.attributes["keepdim"])


def _sum(call: Call, x: Tensor) -> Tensor:
    """The sum over whole axes; as mean."""
    return x.sum([axis + 1 for axis in call.attributes["axes"]], keepdim=call.attributes["keepdim"])


def _add(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """The sum of two values, which broadcast.  factors: of each, 1 and -1 for a difference."""
    fa, fb = call.attributes.get("factors", (1.0, 1.0))
    return fa * a + fb * b


def _multiply(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """The product of two values, which broadcast."""
    return a * b


def _concat(call: Call, *x: Tensor) -> Tensor:
    """Values one behind the other.  axis: without the batch."""
    return torch.cat(x, call.attributes["axis"] + 1)


def _rearrange(call: Call, x: Tensor) -> Tensor:
    """Elements in other places: reshape, transpose, slice, pad with a constant, repeat.  move(t, fill): does it to a tensor with a batch, of
    any type and any batch size; fill: what a padding element is, 0 where there is none."""
    return call.attributes["move"](x, call.attributes.get("fill", 0.0))


def _argmax(call: Call, x: Tensor) -> Tensor:
    """The place of the largest element.  axis: without the batch, keepdim."""
    return x.argmax(call.attributes["axis"] + 1, keepdim=call.attributes["keepdim"])


def _softmax(call: Call, x: Tensor) -> Tensor:
    """Softmax, or its logarithm.  axis: without the batch; log."""
    return (F.log_softmax if call.attributes["log"] else F.softmax)(x, call.attributes["axis"] + 1)


def _embed(call: Call, x: Tensor) -> Tensor:
    """Rows of a table by number.  arrays: table (V, E)."""
    return call.arrays["table"][x.long()]


def _layer_norm(call: Call, x: Tensor) -> Tensor:
    """Normalisation over the last axes.  shape: of these axes; epsilon; arrays: weight, bias of that shape, or none."""
    weight, bias = _typed(call, x, "weight", "bias")
    return F.layer_norm(x, call.attributes["shape"], weight, bias, call.attributes["epsilon"])


def _recurrent(call: Call, x: Tensor) -> Tensor:
    """A recurrent layer over x (N, T, I), from zero states; y (N, T, H), or the last h (N, H).  cell: gru, lstm, rnn_tanh or rnn_relu; last;
    reverse: from the last row to the first; arrays: weight_ih (G H, I), weight_hh (G H, H), bias_ih, bias_hh (G H,), gates as in torch (r z n; i f g o)."""
    a, (w_ih, w_hh, b_ih, b_hh) = call.attributes, _typed(call, x, "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    assert w_ih is not None and w_hh is not None
    h = x.new_zeros(len(x), w_hh.shape[1])
    c, rows = h, []
    for t in reversed(range(x.shape[1])) if a["reverse"] else range(x.shape[1]):
        if a["cell"] == "lstm":
            h, c = torch.lstm_cell(x[:, t], (h, c), w_ih, w_hh, b_ih, b_hh)
        else:
            h = getattr(torch, f"{a['cell']}_cell")(x[:, t], h, w_ih, w_hh, b_ih, b_hh)
        rows.append(h)
    if a["last"]:
        return h
    return torch.stack(rows[::-1] if a["reverse"] else rows, 1)


MEANINGS: dict[str, Callable[..., Tensor]] = {
    "linear": _linear,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "affine": _affine,
    "clip": _clip,
    "function": _function,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "mean": _mean,
    "sum": _sum,
    "add": _add,
    "multiply": _multiply,
    "concat": _concat,
    "rearrange": _rearrange,
    "argmax": _argmax,
    "softmax": _softmax,
    "embed": _embed,
    "layer_norm": _layer_norm,
    "recurrent": _recurrent,
}


@torch.inference_mode()
def run_calls(program: Program, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return every value of a program for a batch, inputs (N, ...) included: its meaning in floats."""
    known = dict(inputs)
    for call in program.calls:
        known[call.output] = MEANINGS[call.kind](call, *(known[name] for name in call.inputs))
    return known


def _typed(call: Call, like: Tensor, *names: str) -> Any:
    """The named constants in the precision of a value."""
    return [None if (array := call.array(name)) is None else array.to(like.dtype) for name in names]


def _by_rank(one: Callable[..., Tensor], two: Callable[..., Tensor], rank: int) -> Callable[..., Tensor]:
    return one if rank == 1 else two


def _padded(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    """x with pads before and after each of its last axes, given as in ONNX: all befores, then all afters."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    pairs = [n for axis in reversed(range(rank)) for n in (pads[axis], pads[rank + axis])]
    return F.pad(x, pairs, value=value)
