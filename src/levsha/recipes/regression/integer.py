"""The trained net as an integer graph: readings in round units in, the target in round units out, int8 in between.

Legend: N examples, I inputs, O outputs.  A reading is an integer count of a step that is a power of ten of the input's unit, so that
a person can type it and a sensor's driver can make it: 10 ^ -2 m, 1 mmHg.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from levsha.arith import INT16_MAX
from levsha.formats import FORMATS
from levsha.ir import Graph, Op, Value
from levsha.ops import Argmax, Lookup
from levsha.recipes.regression.net import Prepared
from levsha.recipes.regression.units import Units
from levsha.train.chain import Link, chain_of
from levsha.train.lower import IntegerLayer, round_layer
from levsha.train.mlp import Quantisation

INT8 = FORMATS["int8"]
SUM_BITS, TOP, TABLE = 32, 255, 256
INPUT_TOP, SIGNED_TOP = 127, 127
FINE = 100  # at least so many steps to a standard deviation of an input, ten times as many of the target
MARGIN = 0.25  # of the span seen in training, on both sides, is still a valid reading
LARGEST_LOGIT = 16_000
INPUT_PERCENTILE, PERCENTILE = 99.9, 99.95  # what lies beyond is clipped: the steps of all the rest get finer


def old_lower_net(model: nn.Sequential, prepared: Prepared) -> tuple[Graph, Units]:
    """Return the integer graph of a trained net and the meaning of its integers; steps are calibrated on the training inputs."""
    links = chain_of(model)
    assert links, "the recipe's nets are chains"
    x = prepared.inputs(prepared.train)
    units = _units(prepared)
    layer, step = _standardise(prepared, units, x)
    ops: list[Op] = [layer.requantize("x", "readings")]
    h, largest = x, INPUT_TOP
    for k, link in enumerate(links):
        name, source, last = f"fc{k + 1}", ops[-1].name, k == len(links) - 1
        with torch.inference_mode():
            z = link.linear(h)
        if last:
            ops += _last(link, name, source, step, largest, z, prepared, units)
        else:
            made, step, largest, h = _hidden(link, name, source, step, largest, z, model)
            ops += made
    outputs = ("class", "logits") if prepared.table.is_classes else ("result",)
    return Graph({"readings": Value((x.shape[1],), units.lo, units.hi)}, tuple(ops), outputs), units


def _units(prepared: Prepared) -> Units:
    x = prepared.table.x_NI[prepared.train]
    whole = (x == np.rint(x)).all(0) & (np.abs(x).max(0) < INT16_MAX)
    std = prepared.scale.x_std_I
    step = np.where(whole, 1.0, 10.0 ** np.floor(np.log10(std / FINE)))
    mean = np.rint(x.mean(0) / (FINE * step)) * FINE * step
    far = np.minimum(30_000 * step, 300 * std)  # beyond, offsets would coarsen the layer, whose inputs share one shift
    zero = np.where(np.abs(x).max(0) > far, mean, 0.0)
    counts = (x - zero) / step
    room = MARGIN * (counts.max() - counts.min())
    floor = 0 if counts.min() >= 0 else -INT16_MAX
    lo, hi = max(floor, math.floor(counts.min() - room)), min(INT16_MAX, math.ceil(counts.max() + room))
    return Units(zero.tolist(), [_tidy(s) for s in step], lo, hi, *_result_units(prepared))


def _result_units(prepared: Prepared) -> tuple[float, float]:
    """The step of the result and what is to be added to it: nothing, unless the target is far from zero for its spread."""
    if prepared.table.is_classes:
        return 1.0, 0.0
    y, std_O = prepared.table.y_NO[prepared.train], prepared.scale.y_std_O
    step = 10.0 ** math.floor(math.log10(float(std_O.min()) / FINE / 10))
    zero, spread = 0.0, 3 * float(std_O.max())
    if np.abs(y).max() + spread > 100 * step * INT16_MAX / 10:
        zero = float(np.rint(y.mean() / (1000 * step)) * 1000 * step)
    while np.abs(y - zero).max() + spread > step * INT16_MAX:
        step *= 10
    return _tidy(step), zero


def _tidy(step: float) -> float:
    return float(f"{step:.6g}")


def _standardise(prepared: Prepared, units: Units, x: Tensor) -> tuple[IntegerLayer, float]:
    """Readings -> int8: what the net was trained on, a reading's mean and spread taken out."""
    step = max(1e-6, float(np.percentile(np.abs(x.numpy()), INPUT_PERCENTILE)) / INPUT_TOP)
    scale = prepared.scale
    factor = np.array(units.step) / (scale.x_std_I * step)
    offset = (np.array(units.zero) - scale.x_mean_I) / (scale.x_std_I * step)
    nothing = np.zeros((len(factor), 1), np.int64)
    reach = max(abs(units.lo), abs(units.hi))
    return round_layer(nothing, factor, offset, reach, -INPUT_TOP, INPUT_TOP, step), step


def _integers(link: Link) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights on the int8 grid, their scales (O,) and the bias (O,)."""
    weight = link.linear.weight.detach()
    integers, scale_O1 = Quantisation(INT8, TOP).weights(weight)
    bias = link.linear.bias
    bias_O = np.zeros(len(weight)) if bias is None else bias.detach().double().numpy()
    return integers.numpy().astype(np.int64), scale_O1[:, 0].double().numpy(), bias_O


def _hidden(
    link: Link, name: str, source: str, step_in: float, largest: int, z: Tensor, model: nn.Sequential
) -> tuple[list[Op], float, int, Tensor]:
    """Sums, requantised, and the activation: clipping where it is a ReLU, a table of 256 entries where it is any other."""
    weight_OI, scale_O, bias_O = _integers(link)
    reach = int(np.abs(weight_OI).sum(1).max()) * largest
    activation = list(model)[list(model).index(link.linear) + 1]
    with torch.inference_mode():
        h = activation(z)
    if isinstance(activation, nn.ReLU):
        step = max(1e-9, float(np.percentile(h.numpy(), PERCENTILE))) / TOP
        layer = round_layer(weight_OI, scale_O * step_in / step, bias_O / step, reach, 0, TOP, step)
        return [layer.dense(name, source, INT8, SUM_BITS), layer.requantize(f"act{name[2:]}", name)], step, TOP, h
    low, high = np.percentile(z.numpy(), (100 - PERCENTILE, PERCENTILE)).tolist()
    width = max(1e-9, high - low) / (TABLE - 1)
    layer = round_layer(weight_OI, scale_O * step_in / width, (bias_O - low) / width, reach, 0, TABLE - 1, width)
    with torch.inference_mode():
        values = activation(low + width * torch.arange(TABLE, dtype=torch.float64)).numpy()
    step = float(np.abs(values).max()) / SIGNED_TOP
    table = np.rint(values / step).astype(np.int64)
    ops: list[Op] = [layer.dense(name, source, INT8, SUM_BITS), layer.requantize(f"index{name[2:]}", name)]
    return [*ops, Lookup(name=f"act{name[2:]}", inputs=(f"index{name[2:]}",), table=table)], step, SIGNED_TOP, h


def _last(
    link: Link, name: str, source: str, step_in: float, largest: int, z: Tensor, prepared: Prepared, units: Units
) -> list[Op]:
    weight_OI, scale_O, bias_O = _integers(link)
    reach = int(np.abs(weight_OI).sum(1).max()) * largest
    classes = prepared.table.is_classes
    step = float(z.abs().max()) / LARGEST_LOGIT if classes else units.result_step
    std, mean = prepared.scale.y_std_O, prepared.scale.y_mean_O
    layer = round_layer(
        weight_OI,
        scale_O * step_in * std / step,
        (bias_O * std + mean - units.result_zero) / step,
        reach,
        -INT16_MAX,
        INT16_MAX,
        step,
    )
    out = "logits" if classes else "result"
    ops: list[Op] = [layer.dense(name, source, INT8, SUM_BITS), layer.requantize(out, name)]
    return [*ops, Argmax(name="class", inputs=("logits",))] if classes else ops


def lower_net(model, prepared):
    """Adapter."""
    from types import SimpleNamespace
    from levsha.meaning import Meaning, Quantity
    graph, u = old_lower_net(model, prepared)
    t = prepared.table
    q = {"readings": tuple(Quantity(n, un, s, z) for n, un, s, z in zip(t.features, t.units, u.step, u.zero))}
    if not t.is_classes:
        q["result"] = tuple(Quantity(n, t.output_unit, u.result_step, u.result_zero) for n in t.outputs)
    return SimpleNamespace(graph=graph, findings=[]), Meaning(t.about, q, {"class": t.outputs} if t.is_classes else {})
