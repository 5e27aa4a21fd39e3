"""An Mlp as nodes: batch normalisation, on the logits too, becomes a factor and an offset for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from levsha.lower.node import RELU, Node
from levsha.train.mlp import Mlp


def mlp_nodes(mlp: Mlp, inputs: Sequence[str]) -> list[Node]:
    """Return the layers of a net, fc1 over all of `inputs` side by side; the values are act1, act2, ... and logits."""
    outputs = [*(f"act{k + 1}" for k in range(len(mlp.weight_OI) - 1)), "logits"]
    nodes: list[Node] = []
    for k, (source, output) in enumerate(pairwise(["", *outputs])):
        factor_O = mlp.norm_scale(k).double()
        offset_O = mlp.beta_O[k].double() - mlp.mean_O[k].double() * factor_O
        activation = None if output == "logits" else RELU
        read = (source,) if k else tuple(inputs)
        affine = (factor_O.numpy(), offset_O.numpy())
        nodes.append(Node(f"fc{k + 1}", "linear", read, output, *affine, mlp.weight_OI[k], activation))
    return nodes
