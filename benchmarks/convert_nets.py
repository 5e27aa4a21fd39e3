"""Nets of the comparison in convert.py: what they are, in torch alone, so that every tool's own environment can make them."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


class Depthwise(nn.Sequential):
    """A 3x3 convolution of each channel on its own, then a 1x1 convolution, each normalised and clipped."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs), nn.BatchNorm2d(inputs), nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU(),
        )  # fmt: skip


def sensor() -> nn.Module:
    """12 readings to a depth in metres."""
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 1))


def chat() -> nn.Module:
    """Counts of a query's and an answer's letters to the next character."""
    widths, layers = (256, 128, 96, 64, 43), []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def minicnn() -> nn.Module:
    """28 x 28 pixels to a digit."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 7 * 7, 10),
    )  # fmt: skip


def dscnn() -> nn.Module:
    """28 x 28 pixels to a digit, by convolutions of each channel on its own."""
    first = [nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Depthwise(16, 16), Depthwise(16, 32), Depthwise(32, 32)]
    return nn.Sequential(*first, *blocks, nn.AvgPool2d(14), nn.Flatten(), nn.Linear(32, 10))


NETS = {"sensor": sensor, "chat": chat, "minicnn": minicnn, "dscnn": dscnn}
TITLES = {
    "sensor": "12-24-12-1 sensor",
    "chat": "256-128-96-64-43 chat",
    "minicnn": "MiniCNN 28x28",
    "dscnn": "DS-CNN 28x28",
}
