"""What rounding a layer's weights does to the mean of its sums, which its offset makes up for at no cost (bias correction: Nagel et al., 2019).

Legend: N examples, O outputs, I inputs of one output, C channels, H W rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from levsha.lower.calibrate import Pins
from levsha.lower.node import Node, Trace
from levsha.lower.weights import Known, Weights, taps_of


@torch.inference_mode()
def mean_shifts(
    nodes: Sequence[Node], known: Mapping[str, Known], x: Mapping[str, Tensor], traces: Mapping[str, Trace],
    weights: Mapping[str, Weights], pins: Pins,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return by how much the offset of each layer is to change, (O,) in real units, by the layer's name.

    x, traces: of the sources and of every value (N, *shape). Weights that are pinned were trained as they are: their offsets stay.
    """
    found = {}
    for node in nodes:
        if node.kind not in ("linear", "conv") or node.name not in weights or node.name in pins.weights:
            continue
        means = [_mean(x[name] if name in x else traces[name].h) for name in node.inputs]
        centre = _conv_centre(node, means[0], known) if node.kind == "conv" else _linear_centre(node, means, known)
        assert node.weight_OI is not None
        off_OI = node.weight_OI.detach().double().numpy() - weights[node.name].real()
        found[node.name] = node.factor_O * (off_OI * centre).sum(1)
    return found


def _mean(x: Tensor) -> np.ndarray:
    return x.double().mean(0).numpy()


def _linear_centre(node: Node, means: Sequence[np.ndarray], known: Mapping[str, Known]) -> np.ndarray:
    """The mean of what each weight is multiplied by, counted from its zero: (I,)."""
    parts = [
        mean.ravel() - known[name].spread(known[name].zero).ravel()
        for mean, name in zip(means, node.inputs, strict=True)
    ]
    return np.concatenate(parts)


def _conv_centre(node: Node, mean: np.ndarray, known: Mapping[str, Known]) -> np.ndarray:
    """The same of a convolution, over all its windows, in which padding is a real 0: (I,), or where it has groups (O, I)."""
    window = node.window
    assert window is not None and node.weight_OI is not None
    image_1CHW = window.image(torch.from_numpy(mean)[None])
    taps, channels = window.kernel[0] * window.kernel[1], window.shape[2]
    unfolded = F.unfold(image_1CHW, window.kernel, window.dilations, 0, window.strides)
    mean_TC = unfolded.mean(2).reshape(channels, taps).T.numpy()
    zero = taps_of(node, np.asarray(known[node.inputs[0]].zero))
    if window.groups == 1:
        return mean_TC.ravel() - zero
    by_group = mean_TC.reshape(taps, window.groups, -1).swapaxes(0, 1).reshape(window.groups, -1)
    return np.repeat(by_group, len(node.weight_OI) // window.groups, 0) - zero
