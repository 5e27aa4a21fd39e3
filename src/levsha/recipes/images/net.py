"""The recipe's nets, and what standardising pixels means for them.  Legend: N images, C channels, O outputs."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from levsha.recipes.images.shape import POOL, TAP, Shape


class Pixels(NamedTuple):
    """Mean and deviation of raw pixels, one each a channel."""

    mean_C: np.ndarray
    deviation_C: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Pixels:
        """Return those of images (N, C, rows, columns); a channel that never changes has a deviation of 1."""
        deviation_C = x.std((0, 2, 3), dtype=np.float64)
        return cls(x.mean((0, 2, 3), dtype=np.float64), np.where(deviation_C > 0, deviation_C, 1.0))

    def standard(self, x: np.ndarray | Tensor) -> Tensor:
        """Return images as the net is trained on them: float32, mean 0 and deviation 1."""
        shift, scale = (torch.from_numpy(part).float().reshape(-1, 1, 1) for part in self)
        return (torch.as_tensor(x).float() - shift) / scale


def build_net(shape: Shape, seed: int) -> nn.Sequential:
    """Return an untrained net: convolutions with ReLU and pools, then linear layers; the last one's outputs are logits.

    >>> from levsha.recipes.images.shape import shape_of
    >>> sum(p.numel() for p in build_net(shape_of("cnn", (1, 28, 28), 10, (8, 16), (), ()), 0).parameters())
    5258
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = shape.image[0]
        for k, stage in enumerate(shape.stages, 1):
            if stage.split:
                layers[stage.names[0]] = nn.Conv2d(channels, channels, TAP, groups=channels)
                layers[stage.names[1]] = nn.Conv2d(channels, stage.channels, 1)
            else:
                layers[stage.names[0]] = nn.Conv2d(channels, stage.channels, TAP)
            layers[f"relu{k}"] = nn.ReLU()
            if stage.pool:
                layers[f"pool{k}"] = nn.MaxPool2d(POOL)
            channels = stage.channels
        layers["flatten"] = nn.Flatten()
        widths = (shape.features, *shape.widths)
        for k in range(len(shape.widths)):
            last = k == len(shape.widths) - 1
            layers["fc" if last else f"fc{k + 1}"] = nn.Linear(widths[k], widths[k + 1])
            if not last:
                layers[f"act{k + 1}"] = nn.ReLU()
    return nn.Sequential(layers)


@torch.no_grad()
def on_raw_pixels(net: nn.Sequential, shape: Shape, pixels: Pixels, seed: int) -> nn.Sequential:
    """Return a copy of a net that was trained on standardised pixels, which reads raw ones: its first layer standardises.

    Exact up to rounding, since no convolution is padded: weight (x - mean) / deviation = (weight / deviation) x - weight mean / deviation.
    """
    raw = build_net(shape, seed)
    raw.load_state_dict(net.state_dict())
    first = next(layer for layer in raw if isinstance(layer, nn.Conv2d | nn.Linear))
    weight = first.weight.double()
    places = (weight[0].numel() // len(pixels.mean_C)) if isinstance(first, nn.Linear) else 1
    mean, deviation = (torch.from_numpy(part).repeat_interleave(places) for part in pixels)
    wide = [1, -1] if isinstance(first, nn.Linear) else [1, -1, 1, 1]
    scaled = weight / deviation.reshape(wide)
    assert first.bias is not None
    first.bias.copy_(first.bias.double() - (scaled * mean.reshape(wide)).flatten(1).sum(1))
    first.weight.copy_(scaled)
    return raw.eval()
