"""y[p, o] = sum over taps and channels of weight[o, tap, channel] * x[position of the tap in window p, channel]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from levsha.arith import FLOAT32_EXACT, FLOAT64_EXACT
from levsha.builder import OnnxBuilder
from levsha.errors import LevshaError
from levsha.formats import FORMATS, Format
from levsha.ir import C_TYPES, Code, Constant, Graph, Value
from levsha.ops.conv_code import c_read, conv_window, is_contiguous, map_code, padding
from levsha.ops.dense import check_grid, check_sums
from levsha.ops.depthwise_code import depthwise_window
from levsha.ops.window import WindowCode, Windowed
from levsha.ops.window_onnx import conv_onnx

CHUNK = 1 << 20  # gathered elements that `run` holds at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(Windowed):
    """A convolution without bias, by groups of channels; legend: O outputs, I inputs of one output (tap, then channel of its group).

    weight_OI: integers on the grid of `format`; the outputs of a group lie together. groups: each output reads the
    channels of its group alone. pad_I: what padding is read as, one number a channel, such as the integers that stand for
    zero; 0 where there is none. sum_bits: 16 or 32, the widest type a sum may need.
    """

    learnt: ClassVar[bool] = True
    weight_OI: np.ndarray
    format: Format
    groups: int = 1
    pad_I: np.ndarray | None = None
    sum_bits: int = 32

    @property
    def is_depthwise(self) -> bool:
        """Whether each output reads one channel of several."""
        return self.groups == self.shape[2] > 1

    @property
    def group_shape(self) -> tuple[int, int]:
        """Outputs and channels of one group."""
        return len(self.weight_OI) // self.groups, self.shape[2] // self.groups

    def infer(self, *x: Value) -> Value:
        """Bound every partial sum, in any order, padding included, so that no sum overflows on the way."""
        (x_,) = x
        self.check(x_)
        self._check_weights()
        self._check_pad(x_)
        lo, hi = self._bounds(x_)
        check_sums(lo, hi, self.sum_bits, x_, self.weight_OI)
        return Value((*self.out_size, len(self.weight_OI)), lo, hi)

    def _check_weights(self) -> None:
        outputs, count = self.weight_OI.shape
        channels, taps = self.shape[2], self.kernel[0] * self.kernel[1]
        if self.groups < 1 or channels % self.groups or outputs % self.groups:
            raise LevshaError(f"{self.groups} groups; they must divide {channels} channels and {outputs} outputs.")
        if count != taps * (channels // self.groups):
            raise LevshaError(
                f"the weight reads {count} inputs; {taps} taps of {channels // self.groups} channels (of {self.groups} groups) "
                f"are {taps * (channels // self.groups)}."
            )
        check_grid(self.weight_OI, self.format)

    def _check_pad(self, x: Value) -> None:
        if self.pad_I is None:
            return
        if self.pad_I.shape != self.shape[2:]:
            raise LevshaError(
                f"pad has shape {self.pad_I.shape}; one number for each of {self.shape[2]} channels is needed."
            )
        lo, hi, _ = C_TYPES[x.c_type]
        if self.pad_I.min() < lo or self.pad_I.max() > hi:
            raise LevshaError(
                f"pad holds {self.pad_I.min()}..{self.pad_I.max()}; the input's type, {x.c_type}, allows {lo}..{hi}."
            )

    @property
    def pad_C(self) -> np.ndarray:
        """What padding is read as: int64 (C,)."""
        return np.zeros(self.shape[2], np.int64) if self.pad_I is None else self.pad_I.astype(np.int64)

    def c_filling(self, x: Value) -> tuple[str, dict[str, Constant]]:
        constants = padding(self, x)
        return c_read(x.c_type, f"${self.name}_pad + c") if constants else str(int(self.pad_C[0])), constants

    def _bounds(self, x: Value) -> tuple[int, int]:
        weight_OI, low_C, high_C = self.weight_OI.astype(np.int64), *self.channel_ends(x)
        if any(self.pads):
            low_C, high_C = np.minimum(low_C, self.pad_C), np.maximum(high_C, self.pad_C)
        ends = np.stack([weight_OI * self._spread(end_C) for end_C in (low_C, high_C)])
        hi = int(np.maximum(ends.max(0), 0).sum(1).max())
        lo = int(np.minimum(ends.min(0), 0).sum(1).min())
        if x.total is not None and not (any(self.pads) and self.pad_C.any()):  # a window meets each element once
            reach = int(np.abs(weight_OI).max()) * x.total
            hi, lo = min(hi, reach), max(lo, -reach)
        return lo, hi

    def _spread(self, number_C: np.ndarray) -> np.ndarray:
        """Return one number a channel as one a weight: (O, I)."""
        outputs, channels = self.group_shape
        tap_GI = np.tile(number_C.reshape(self.groups, channels), self.kernel[0] * self.kernel[1])
        return np.repeat(tap_GI, outputs, 0)

    def macs(self, out: Value, *x: Value) -> int:
        return out.size * self.weight_OI.shape[1]

    def run(self, *x: np.ndarray) -> np.ndarray:
        """Gather windows and multiply; of depthwise ones, tap by tap. In floats where these are exact."""
        (x_N,) = x
        most = max(int(x_N.max(initial=0)), -int(x_N.min(initial=0)), int(np.abs(self.pad_C).max()))
        bound = most * int(np.abs(self.weight_OI.astype(np.int64)).sum(1).max())
        kind = np.float32 if bound < FLOAT32_EXACT else np.float64 if bound < FLOAT64_EXACT else np.int64
        y_N = np.empty((len(x_N), *self.out_size, len(self.weight_OI)), np.int64)
        gathered = len(self.weight_OI) if self.is_depthwise else self.weight_OI.shape[1] * self.groups
        step = max(1, CHUNK // (self.out_size[0] * self.out_size[1] * gathered))
        for start in range(0, len(x_N), step):
            part = x_N[start : start + step].astype(kind)
            y_N[start : start + step] = self._by_taps(part) if self.is_depthwise else self._by_windows(part)
        return y_N

    def _by_windows(self, x: np.ndarray) -> np.ndarray:
        outputs, channels = self.group_shape
        size = (len(x), *self.out_size)
        found = np.empty((self.groups, *size, self.kernel[0] * self.kernel[1], channels), x.dtype)
        for k, tap in enumerate(self.taps(x, self.pad_C)):
            found[..., k, :] = np.moveaxis(tap.reshape(*size, self.groups, channels), 3, 0)
        weight_GIM = self.weight_OI.reshape(self.groups, outputs, -1).swapaxes(1, 2).astype(x.dtype)
        sums_GPM = found.reshape(self.groups, int(np.prod(size)), -1) @ weight_GIM
        return np.moveaxis(sums_GPM, 0, 1).reshape(*size, -1)

    def _by_taps(self, x: np.ndarray) -> np.ndarray:
        outputs, weight_KO = self.group_shape[0], self.weight_OI.T.astype(x.dtype)
        y = np.zeros((len(x), *self.out_size, len(self.weight_OI)), x.dtype)
        for tap, weight_O in zip(self.taps(x, self.pad_C), weight_KO, strict=True):
            y += (tap if outputs == 1 else np.repeat(tap, outputs, -1)) * weight_O
        return y

    def stack_bytes(self, x: Value) -> int:
        """Return the bytes of the buffer that the portable C puts on the stack: one window, or one element of padding."""
        if self.is_depthwise:
            return self.shape[2] * x.dtype.itemsize * bool(any(self.pads) and self.pad_C.any())
        return 0 if is_contiguous(self) else self.weight_OI.shape[1] * x.dtype.itemsize

    def code(self, out: Value, *x: Value) -> Code:
        return map_code(self, out, self.window(out, x[0]))

    def window(self, out: Value, x: Value) -> WindowCode:
        return depthwise_window(self, out, x) if self.is_depthwise else conv_window(self, out, x)

    def onnx(self, builder: OnnxBuilder, out: Value, *x: Value) -> str:
        return conv_onnx(self, builder, x[0])

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Graph]:
        around, one = (1, 1, 1, 1), (1, 1)

        def example(
            shape: Sequence[int], x_type: str, weights: str, outputs: int, kernel: Sequence[int], **more: Any
        ) -> Graph:
            """Of an image, or of a signal (W, C)."""
            seen, count = (1, *shape)[-3:], kernel[0] * kernel[1] * (shape[-1] // more.get("groups", 1))
            weight_OI = rng.choice(FORMATS[weights].grid, (outputs, count))
            fields = {"shape": seen, "kernel": kernel, "weight_OI": weight_OI, "format": FORMATS[weights], **more}
            return Graph({"x": Value(tuple(shape), *C_TYPES[x_type][:2])}, (cls(name="y", inputs=("x",), **fields),))

        for weights in FORMATS:
            yield example((4, 3, 2), "uint8_t", weights, 6, (3, 3), pads=around)
            yield example((3, 3, 6), "int8_t", weights, 6, (2, 2), groups=6, pads=(0, 1, 1, 0))
        yield example((5, 6, 3), "uint8_t", "int8", 3, (3, 2), strides=(2, 2), pads=(1, 0, 2, 1))
        far = {"dilations": (2, 2), "pads": (2, 1, 0, 0), "pad_I": np.array([-3, 100])}
        yield example((6, 7, 2), "int8_t", "int4", 5, (3, 3), **far)
        same = {"strides": (1, 2), "pads": (0, 1, 0, 1), "pad_I": np.array([7, 7, 7])}
        yield example((9, 3), "int16_t", "int8", 4, (1, 3), **same)
        yield example((8, 2), "uint8_t", "two_bit", 9, (1, 4))
        yield example((3, 4, 5), "int8_t", "int8", 7, one)
        yield example((3, 5, 2), "uint8_t", "binary", 3, one, strides=(2, 2), sum_bits=16)
        yield example((4, 4, 6), "uint8_t", "int4", 10, (3, 3), groups=2, pads=around)
        own = {"pads": around, "pad_I": np.array([-3, 0, 5, 9])}
        yield example((3, 3, 4), "int8_t", "ternary", 8, (3, 3), groups=4, **own)
        yield example((5, 3), "int16_t", "int8", 3, (1, 3), groups=3, pads=(0, 2, 0, 0), dilations=(1, 2))
        yield example((2, 2, 4), "int8_t", "int8", 4, one, groups=2)
        yield example((1, 3, 2), "int16_t", "int16", 4, one, groups=2)
        yield example((3, 3, 4), "int16_t", "two_bit_z80", 6, (2, 2), groups=2, dilations=(2, 1), **own)
        last = example((2, 3, 2), "int16_t", "int8", 3, (2, 3), pads=around, pad_I=np.array([7, -100]))
        yield replace(last, inputs={"x": Value((2, 3, 2), -128, 255, ranges=((0, 255), (-128, -9)))})
