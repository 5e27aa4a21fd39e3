"""The trained net as an integer graph: readings in round units in, the target in round units out, int8 in between.

Legend: N examples, I inputs, O outputs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from levsha.ir import Op
from levsha.lower import RELU, Clip, Function, Lowered, Node, Options, Pins, Source, lower
from levsha.lower.readings import readings_of, results_of
from levsha.meaning import Meaning, Quantity
from levsha.ops import Argmax
from levsha.recipes.regression.net import Prepared
from levsha.train.chain import Link, chain_of

CALIBRATION_ROWS = 50_000  # at most, spread evenly over the training samples


def lower_net(model: nn.Sequential, prepared: Prepared) -> tuple[Lowered, Meaning]:
    """Return the integer net of a trained one and the meaning of its integers; steps are calibrated on the training inputs."""
    table, classes = prepared.table, prepared.table.is_classes
    quantities, value = readings_of(table.x_NI[prepared.train], prepared.x, table.features, table.units)
    step_I, zero_I = np.array([q.step for q in quantities]), np.array([q.zero for q in quantities])
    targets = table.y_NO[prepared.train]
    result = None if classes else results_of(targets, prepared.y, table.outputs, table.output_unit)
    pins = Pins({"result": result[0].step}, {"result": result[0].zero}) if result else Pins()
    chosen = prepared.train[:: -(-len(prepared.train) // CALIBRATION_ROWS)]
    then: list[Op] = [Argmax(name="class", inputs=("logits",))] if classes else []
    lowered = lower(
        nodes_of(model, prepared),
        {"readings": Source(value, step_I, zero_I)},
        {"readings": torch.from_numpy(table.x_NI[chosen])},
        Options(), pins, then, ("class", "logits") if classes else ("result",),
    )  # fmt: skip
    meant = {"readings": quantities}
    if result:
        return lowered, Meaning(table.about, meant | {"result": result})
    step = float(lowered.known["logits"].step)
    logits = tuple(Quantity(name, "", step) for name in table.outputs)
    return lowered, Meaning(table.about, meant | {"logits": logits}, {"class": tuple(table.outputs)})


def nodes_of(model: nn.Sequential, prepared: Prepared) -> list[Node]:
    """Return the layers of a trained net from readings in their units to results in theirs: standardising is folded in."""
    links, x, y = chain_of(model), prepared.x, prepared.y
    assert links, "the recipe's nets are chains"
    factor_I = np.where(x.constant_C, 0.0, 1 / x.std_C)
    nodes = [Node("x", "affine", ("readings",), "x", factor_I, -x.mean_C * factor_I)]
    for k, link in enumerate(links):
        last = k == len(links) - 1
        output = ("logits" if prepared.table.is_classes else "result") if last else f"act{k + 1}"
        factor_O, bias_O = np.ones(link.linear.out_features), _bias(link)
        if last and output == "result":
            factor_O, bias_O = y.std_C, bias_O * y.std_C + y.mean_C
        weight_OI, activation = link.linear.weight.detach(), None if last else _activation(model, link)
        nodes.append(Node(f"fc{k + 1}", "linear", (nodes[-1].output,), output, factor_O, bias_O, weight_OI, activation))
    return nodes


def _bias(link: Link) -> np.ndarray:
    bias = link.linear.bias
    return np.zeros(link.linear.out_features) if bias is None else bias.detach().double().numpy()


def _activation(model: nn.Sequential, link: Link) -> Clip | Function:
    """What follows a link: clipping where it is a ReLU, a table where it is any other."""
    modules = list(model)
    found = modules[modules.index(link.linear) + 1]
    return RELU if isinstance(found, nn.ReLU) else Function(type(found).__name__.lower(), found)
