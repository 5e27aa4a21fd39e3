"""Nets of random layers, as code that uses all that is supported; every step is asked to run before it is taken.  Legend: C channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[[Tensor], Tensor]
MOST = 3000  # elements of a value
ACTIVATIONS = (
    F.relu, F.relu6, torch.tanh, torch.sigmoid, F.leaky_relu, F.silu, F.gelu, F.hardswish, F.elu, F.hardtanh, torch.abs,
    lambda x: x.clamp(-0.5, 1.5), lambda x: x * torch.sigmoid(x),
)  # fmt: skip


class RandomNet(nn.Module):
    """A random net of its number; shape: of the input."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(number)
        torch.manual_seed(number)
        self.shape = SHAPES[int(self.rng.integers(len(SHAPES)))]
        self.steps: list[Step] = []
        self.names: list[str] = []
        x = torch.randn(2, *self.shape)
        for _ in range(int(self.rng.integers(3, 8))):
            x = self._grow(x)
        self.steps.append(self._head(x))
        self._settle()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def part(self, module: nn.Module) -> nn.Module:
        """Keep a module as one's own."""
        self.add_module(f"part{len(self._modules)}", module)
        return module

    def draw(self, lo: int, hi: int) -> int:
        return int(self.rng.integers(lo, hi, endpoint=True))

    def _grow(self, x: Tensor) -> Tensor:
        for _ in range(8):
            make = MAKERS[self.draw(0, len(MAKERS) - 1)]
            kept = len(self._modules)
            try:
                step = make(self, x)
                y = step(x)
            except (RuntimeError, ValueError, IndexError):
                step = None
            if step is not None and y.dim() == x.dim() and 4 <= y[0].numel() <= MOST:
                self.steps.append(step)
                self.names.append(make.__name__)
                return y.detach()
            for name in list(self._modules)[kept:]:
                del self._modules[name]
        return x

    def _head(self, x: Tensor) -> Step:
        if x.dim() > 2 and self.draw(0, 1):
            axes = list(range(2, x.dim()))
            linear = self.part(nn.Linear(x.shape[1], 4))
            return lambda x: linear(x.mean(axes))
        linear = self.part(nn.Linear(x[0].numel(), 4))
        return lambda x: linear(x.flatten(1))

    @torch.no_grad()
    def _settle(self) -> None:
        """Statistics as a training leaves them."""
        x = torch.randn(64, *self.shape)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = None
                nn.init.normal_(module.weight, 1, 0.4)
                nn.init.normal_(module.bias, 0, 0.2)
        self.train()(x)


SHAPES = ((3, 8, 8), (2, 7, 10), (4, 16), (3, 21), (12,), (2, 12, 6))


def _conv(net: RandomNet, x: Tensor) -> Step:
    rank, channels = x.dim() - 2, x.shape[1]
    kind: Any = (nn.Linear, nn.Conv1d, nn.Conv2d)[rank]
    if rank == 0:
        return net.part(nn.Linear(channels, net.draw(4, 24)))
    groups = channels if net.draw(0, 3) == 0 else 1
    outputs = groups * net.draw(1, 2) if groups > 1 else net.draw(2, 10)
    padding: Any = net.draw(0, 2)
    stride = net.draw(1, 2)
    if net.draw(0, 3) == 0:
        padding, stride = "same", 1
    more = {"stride": stride, "padding": padding, "dilation": net.draw(1, 2), "groups": groups}
    layer = net.part(kind(channels, outputs, net.draw(1, 3), bias=bool(net.draw(0, 1)), **more))
    return layer


def _normalised(net: RandomNet, x: Tensor) -> Step:
    kinds: Any = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)
    return net.part(kinds[x.dim() - 2](x.shape[1]))


def _activation(net: RandomNet, x: Tensor) -> Step:
    return ACTIVATIONS[net.draw(0, len(ACTIVATIONS) - 1)]


def _pool(net: RandomNet, x: Tensor) -> Step:
    rank, kernel = x.dim() - 2, net.draw(2, 3)
    more: dict[str, Any] = {"stride": net.draw(1, 3), "padding": net.draw(0, 1), "ceil_mode": bool(net.draw(0, 1))}
    if net.draw(0, 1):
        return lambda x: (F.max_pool1d, F.max_pool2d)[rank - 1](x, kernel, **more)
    counted = bool(net.draw(0, 1))
    return lambda x: (F.avg_pool1d, F.avg_pool2d)[rank - 1](x, kernel, count_include_pad=counted, **more)


def _adaptive(net: RandomNet, x: Tensor) -> Step:
    sizes = [next(n for n in (2, 3, 5, 7, 1) if size % n == 0) for size in x.shape[2:]]
    kinds: Any = ((F.adaptive_avg_pool1d, F.adaptive_max_pool1d), (F.adaptive_avg_pool2d, F.adaptive_max_pool2d))
    pool = kinds[x.dim() - 3][net.draw(0, 1)]
    return lambda x: pool(x, sizes if len(sizes) > 1 else sizes[0])


def _residual(net: RandomNet, x: Tensor) -> Step:
    inner, sign = _same(net, x), 1.0 if net.draw(0, 1) else -0.5
    return lambda x: F.relu(x + sign * inner(x))


def _gate(net: RandomNet, x: Tensor) -> Step:
    inner = _same(net, x)
    return lambda x: x * torch.sigmoid(inner(x))


def _same(net: RandomNet, x: Tensor) -> nn.Module:
    """A layer that keeps the shape."""
    kinds: Any = (nn.Linear, nn.Conv1d, nn.Conv2d)
    more: dict[str, Any] = {} if x.dim() == 2 else {"kernel_size": 3, "padding": 1}
    return net.part(kinds[x.dim() - 2](x.shape[1], x.shape[1], **more))


def _joined(net: RandomNet, x: Tensor) -> Step:
    inner = _same(net, x)
    return lambda x: torch.cat([F.relu(inner(x)), x], 1)


def _chunks(net: RandomNet, x: Tensor) -> Step:
    if x.shape[1] < 4 or x.shape[1] % 2:
        raise ValueError
    return lambda x: (p := x.chunk(2, 1))[0] * torch.sigmoid(p[1])


def _padded(net: RandomNet, x: Tensor) -> Step:
    rank = x.dim() - 2
    pads = [net.draw(0, 2) for _ in range(2 * rank)]
    mode = ("constant", "constant", "reflect", "replicate")[net.draw(0, 3)]
    value = 0.5 * net.draw(0, 1) if mode == "constant" else None
    return lambda x: F.pad(x, pads, mode, value)


def _upsampled(net: RandomNet, x: Tensor) -> Step:
    return lambda x: F.interpolate(x, scale_factor=2)


def _transposed_conv(net: RandomNet, x: Tensor) -> Step:
    kinds: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d)
    stride = net.draw(1, 2)
    more = {"stride": stride, "padding": net.draw(0, 1), "output_padding": net.draw(0, stride - 1)}
    return net.part(kinds[x.dim() - 3](x.shape[1], net.draw(2, 5), 3, **more))


def _turned(net: RandomNet, x: Tensor) -> Step:
    return lambda x: x.transpose(1, -1)


def _sliced(net: RandomNet, x: Tensor) -> Step:
    return lambda x: x[..., 1:] if x.shape[-1] > 4 else x.flip(-1)


def _shaped(net: RandomNet, x: Tensor) -> Step:
    if x.dim() < 3 or x.shape[-1] % 2:
        raise ValueError
    return lambda x: x.reshape(len(x), x.shape[1] * 2, *x.shape[2:-1], x.shape[-1] // 2)


def _scaled(net: RandomNet, x: Tensor) -> Step:
    factor, offset = 0.5 + torch.rand(x.shape[1:]), torch.randn(x.shape[1], *[1] * (x.dim() - 2))
    if net.draw(0, 1):
        factor = torch.randn(x.shape[1], *[1] * (x.dim() - 2))
    return lambda x: x * factor + 0.3 * offset


def _rows(net: RandomNet, x: Tensor) -> Step:
    """A linear layer over the last axis, which stays last."""
    return net.part(nn.Linear(x.shape[-1], net.draw(2, 8)))


MAKERS = (
    _conv, _conv, _conv, _normalised, _activation, _activation, _pool, _adaptive, _residual, _gate, _joined, _chunks, _padded, _upsampled,
    _transposed_conv, _turned, _sliced, _shaped, _scaled, _rows,
)  # fmt: skip
