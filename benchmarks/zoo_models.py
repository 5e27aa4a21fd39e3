"""Float models as people write them, none of which knows of levsha: functional calls, blocks that are used again, normalisation inside.

Legend: N examples, C channels, T steps in time, H W rows and columns.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """A million weights on images of 28 x 28 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 850), nn.Linear(850, 400), nn.Linear(400, 10)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = (x.flatten(1) / 255.0 - 0.1307) / 0.3081
        x = self.dropout(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc3(F.relu(self.fc2(x))), dim=1)


class LeNet(nn.Module):
    """LeNet-5: tanh and mean pools (LeCun et al., 1998)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(16, 120, 5), nn.Tanh(),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x / 255.0).view(x.size(0), -1))


class MiniCNN(nn.Module):
    """Two convolutions, a pool, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 7 * 7, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x / 255.0)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(torch.flatten(x, 1))


class Autoencoder(nn.Module):
    """MLPerf Tiny's anomaly detection: 640-128-128-128-128-8-128-128-128-128-640, batch normalisation."""

    def __init__(self, inputs: int = 640) -> None:
        super().__init__()
        sizes = [inputs, 128, 128, 128, 128, 8, 128, 128, 128, 128]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(128, inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the value itself, or a 1 x 1 convolution of it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet8(nn.Module):
    """MLPerf Tiny's ResNet for CIFAR-10's shape, 32 x 32 x 3."""

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.49, 0.48, 0.45]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.25, 0.24, 0.26]).view(3, 1, 1))
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList([Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)])
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = (x / 255.0 - self.mean) / self.std
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def depthwise(inputs: int, outputs: int, stride: int = 1, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A depthwise separable convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), activation(),
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), activation(),
    )  # fmt: skip


class DSCNN(nn.Module):
    """MLPerf Tiny's keyword spotting: 49 x 10 features, 12 words."""

    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.conv = nn.Conv2d(1, 64, (10, 4), stride=2, padding=(5, 1), bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.blocks = nn.Sequential(*[depthwise(64, 64) for _ in range(4)])
        self.dropout, self.fc = nn.Dropout(0.2), nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(self.norm(x))))
        x = self.blocks(x).mean(dim=(2, 3))
        return self.fc(self.dropout(x))


class MobileNet(nn.Module):
    """MobileNetV1 with a quarter of the channels, 96 x 96 x 3, two classes, as MLPerf Tiny's visual wake words."""

    WIDTHS = ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), *[(128, 128, 1)] * 5, (128, 256, 2), (256, 256, 1))  # fmt: skip

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        blocks = [depthwise(a, b, stride, nn.ReLU6) for a, b, stride in self.WIDTHS]
        self.features = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x / 127.5 - 1.0)
        return F.softmax(self.classifier(torch.flatten(x, 1)), dim=-1)


class HAR(nn.Module):
    """Windows of an accelerometer and a gyroscope, (N, 6, 128): conv, batch normalisation, ReLU, pool, mean over time."""

    def __init__(self, channels: int = 6, classes: int = 6) -> None:
        super().__init__()
        widths = [channels, 16, 32, 48]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(a, b, 5, padding="same"), nn.BatchNorm1d(b), nn.ReLU(), nn.MaxPool1d(2))
            for a, b in pairwise(widths)
        )
        self.fc = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean(-1))


class Causal(nn.Module):
    """Two causal dilated convolutions beside the value itself."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.room = (kernel - 1) * dilation
        self.conv1 = nn.utils.parametrizations.weight_norm(nn.Conv1d(inputs, outputs, kernel, dilation=dilation))
        self.conv2 = nn.utils.parametrizations.weight_norm(nn.Conv1d(outputs, outputs, kernel, dilation=dilation))
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None
        self.dropout = nn.Dropout(0.05)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(F.relu(self.conv1(F.pad(x, (self.room, 0)))))
        y = self.dropout(F.relu(self.conv2(F.pad(y, (self.room, 0)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class TCN(nn.Module):
    """A temporal convolutional network (Bai, Kolter, Koltun, 2018) of four levels, that looks at the last step: (N, 2, 64)."""

    def __init__(self, channels: int = 2, outputs: int = 1) -> None:
        super().__init__()
        self.levels = nn.Sequential(*[Causal(channels if k == 0 else 16, 16, 3, 2**k) for k in range(4)])
        self.head = nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.levels(x)[:, :, -1])
