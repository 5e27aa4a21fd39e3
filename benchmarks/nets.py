"""Small convolutional nets with random int8 weights, the same every time, for the benchmarks."""

from collections.abc import Sequence

import numpy as np

from levsha.formats import FORMATS
from levsha.ir import Graph, Op, Value
from levsha.ops import Conv, Dense, MaxPool, Requantize


class Layers:
    """A graph that grows by a layer at a time; what a layer makes is about half zeros, in 0..255."""

    def __init__(self, shape: tuple[int, int, int], weights: str = "int8") -> None:
        self.rng, self.format = np.random.default_rng(0), FORMATS[weights]
        self.x, self.ops, self.last = Value(shape, 0, 255), list[Op](), "x"

    def graph(self) -> Graph:
        return Graph({"x": self.x}, tuple(self.ops))

    def conv(self, outputs: int, kernel: int = 3, pad: int = 0, stride: int = 1, apart: bool = False) -> None:
        """A convolution and its ReLU; apart: each channel on its own."""
        shape = self._image()
        groups = shape[2] if apart else 1
        weight_OI = self.rng.choice(self.format.grid, (outputs, kernel * kernel * shape[2] // groups))
        self._add(
            Conv(
                name=self._name("conv"), inputs=(self.last,), shape=shape, kernel=(kernel, kernel), strides=(stride, stride),
                pads=(pad, pad, pad, pad), groups=groups, weight_OI=weight_OI, format=self.format,
            )
        )  # fmt: skip
        self.requantize(weight_OI.shape[1], 0, 255)

    def dense(self, outputs: int, hi: int = 255) -> None:
        """A linear layer, its ReLU where hi is 255."""
        count = self._value().size
        weight_OI = self.rng.choice(self.format.grid, (outputs, count))
        self._add(Dense(name=self._name("fc"), inputs=(self.last,), weight_OI=weight_OI, format=self.format))
        self.requantize(count, 0 if hi == 255 else -hi - 1, hi)

    def pool(self, size: int = 2) -> None:
        self._add(
            MaxPool(
                name=self._name("pool"),
                inputs=(self.last,),
                shape=self._image(),
                kernel=(size, size),
                strides=(size, size),
            )
        )

    def requantize(self, count: int, lo: int, hi: int) -> None:
        """From sums of `count` products to lo..hi, a typical sum to a half of hi."""
        value, factor = self._value(), hi / 2 / (100 * self.format.hi / 1.7 * np.sqrt(count))
        shift = int(np.log2(min(32_767, 2**30 / max(value.hi, -value.lo)) / factor))
        multiplier_O = (self.rng.uniform(0.5, 1.0, value.shape[-1]) * factor * 2**shift).astype(int)
        self._add(
            Requantize(
                name=self._name("act"), inputs=(self.last,), multiplier_O=multiplier_O,
                bias_O=self.rng.integers(-30, 30, value.shape[-1]), bias_shift=shift, shift=shift, rounding=1 << (shift - 1), lo=lo, hi=hi,
            )
        )  # fmt: skip

    def _add(self, op: Op) -> None:
        self.ops.append(op)
        self.last = op.name

    def _name(self, kind: str) -> str:
        return f"{kind}{sum(op.name.startswith(kind) for op in self.ops) + 1}"

    def _value(self) -> Value:
        return self.graph().values[self.last] if self.ops else self.x

    def _image(self) -> tuple[int, int, int]:
        height, width, channels = self._value().shape
        return height, width, channels


def digits_cnn(weights: str = "int8") -> Graph:
    """8 x 8 pixels to 10 classes: two convolutions, a pool, a linear layer."""
    net = Layers((8, 8, 1), weights)
    net.conv(8, pad=1)
    net.conv(16)
    net.pool()
    net.dense(10, hi=32_767)
    return net.graph()


def mini_cnn(weights: str = "int8", size: int = 28) -> Graph:
    """Size x size pixels to 10 classes: two convolutions, a pool behind each, a linear layer."""
    net = Layers((size, size, 1), weights)
    for outputs in (8, 16):
        net.conv(outputs)
        net.pool()
    net.dense(10, hi=32_767)
    return net.graph()


def depthwise_cnn(weights: str = "int8") -> Graph:
    """16 x 16 pixels: channels mixed, then apart, then mixed, twice."""
    net = Layers((16, 16, 1), weights)
    net.conv(8, pad=1, stride=2)
    for outputs in (16, 16):
        net.conv(net.ops[-2].weight_OI.shape[0], pad=1, apart=True)  # pyright: ignore[reportAttributeAccessIssue]
        net.conv(outputs, kernel=1)
    net.pool(8)
    net.dense(10, hi=32_767)
    return net.graph()


NETS: Sequence[tuple[str, Graph]] = (
    ("digits CNN", digits_cnn()),
    ("MiniCNN", mini_cnn()),
    ("depthwise CNN", depthwise_cnn()),
)
