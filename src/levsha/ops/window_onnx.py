"""ONNX of the ops that slide a window: values are (H, W, C) in the net, images with their channels first in ConvInteger alone.

Legend: P windows, K taps of a window, C channels, G groups, M outputs of a group, I inputs of one output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from levsha.builder import OnnxBuilder, combine, reshaped
from levsha.ir import Value
from levsha.ops.dense import sums_bytes

if TYPE_CHECKING:
    from levsha.ops.conv import Conv
    from levsha.ops.window import Windowed


def conv_onnx(op: Conv, builder: OnnxBuilder, x: Value) -> str:
    """Bytes by ConvInteger; of wider ones each window is gathered and multiplied, since ONNX has no Conv of them."""
    y = _conv_bytes(op, builder) if sums_bytes(op.format, x, op.weight_OI.shape[1]) else _conv_gathered(op, builder)
    return reshaped(builder, y, (*op.out_size, len(op.weight_OI)))


def windows_onnx(op: Windowed, builder: OnnxBuilder, image: str, fill_C: np.ndarray) -> str:
    """Return what each tap of each window meets, (N, P, K, C), of the type of `image`; fill_C: what padding is read as."""
    height, width, channels = op.shape
    rows, columns = op.positions(0), op.positions(1)
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None, :]
    index = np.where(inside, (rows * width)[:, None, :, None] + columns[None, :, None, :], height * width)
    index = index.reshape(len(rows) * len(columns), -1)
    if np.array_equal(index.ravel(), np.arange(height * width)):
        return reshaped(builder, image, (*index.shape, channels))
    pixels = reshaped(builder, image, (height * width, channels))
    if not inside.all():
        pixels = _with_pixel(builder, pixels, fill_C)
    return builder.node("Gather", [pixels, builder.constant(index, "int32")], axis=1)


def max_onnx(op: Windowed, builder: OnnxBuilder) -> str:
    """Bytes by MaxPool, which pads less than a kernel; else the largest of what is gathered, where padding is the smallest number of the type."""
    image = builder.read(op.inputs[0])
    if builder.kind(image) != "int32" and all(pad < op.kernel[k % 2] for k, pad in enumerate(op.pads)):
        planes = builder.node("Transpose", [reshaped(builder, image, op.shape)], perm=[0, 3, 1, 2])
        return builder.node("Transpose", [builder.node("MaxPool", [planes], **_geometry(op))], perm=[0, 2, 3, 1])
    lowest = np.full(op.shape[2], np.iinfo(builder.kind(image)).min, np.int64)
    largest = builder.node("ReduceMax", [windows_onnx(op, builder, image, lowest)], axes=[2], keepdims=0)
    return reshaped(builder, largest, (*op.out_size, op.shape[2]))


def sum_onnx(op: Windowed, builder: OnnxBuilder) -> str:
    """The sum of what the taps meet; padding is 0."""
    found = windows_onnx(op, builder, builder.read(op.inputs[0], "int32"), np.zeros(op.shape[2], np.int64))
    sums = builder.node("ReduceSum", [found, builder.constant([2], "int64")], keepdims=0)
    return reshaped(builder, sums, (*op.out_size, op.shape[2]))


def _geometry(op: Windowed) -> dict[str, Any]:
    """The attributes of ConvInteger and MaxPool."""
    return {
        "kernel_shape": list(op.kernel), "strides": list(op.strides), "dilations": list(op.dilations), "pads": list(op.pads)
    }  # fmt: skip


def _with_pixel(builder: OnnxBuilder, pixels: str, fill_C: np.ndarray) -> str:
    """Return pixels (N, H * W, C) with one more behind them."""
    kind = builder.kind(pixels)
    if (fill_C == fill_C[0]).all():
        ends = builder.constant([0, 0, 0, 0, 1, 0], "int64")
        return builder.node("Pad", [pixels, ends, builder.constant(fill_C[0], kind)])
    first = builder.node("Slice", [pixels, *(builder.constant([end], "int64") for end in (0, 1, 1))])  # from, to, axis
    nothing = builder.node("Mul", [first, builder.constant(0, kind)])
    return builder.node("Concat", [pixels, builder.node("Add", [nothing, builder.constant(fill_C, kind)])], axis=1)


def _conv_bytes(op: Conv, builder: OnnxBuilder) -> str:
    """Without a sign on either side: with one, processors without VNNI saturate sums of two products at 16 bits."""
    source, zero = builder.unsigned(op.inputs[0])
    image, geometry = reshaped(builder, source, op.shape), _geometry(op)
    if any(op.pads) and op.pad_C.any():  # ConvInteger pads with what stands for 0
        image, geometry["pads"] = _padded(op, builder, image, op.pad_C + zero), [0, 0, 0, 0]
    planes = builder.node("Transpose", [image], perm=[0, 3, 1, 2])
    weight_OKC = op.weight_OI.astype(np.int64).reshape(len(op.weight_OI), *op.kernel, op.group_shape[1])
    weights = builder.constant(weight_OKC.transpose(0, 3, 1, 2) + 128, "uint8")
    zeros = [builder.constant(z, "uint8") for z in (zero, 128)]
    sums = builder.node("ConvInteger", [planes, weights, *zeros], "int32", group=op.groups, **geometry)
    return builder.node("Transpose", [sums], perm=[0, 2, 3, 1])


def _padded(op: Conv, builder: OnnxBuilder, image: str, fill_C: np.ndarray) -> str:
    """Return an image of bytes with padding around it: where channels differ, with zeros around what lies above the padding."""
    top, left, bottom, right = op.pads
    ends = builder.constant([0, top, left, 0, 0, bottom, right, 0], "int64")
    if (fill_C == fill_C[0]).all():
        return builder.node("Pad", [image, ends, builder.constant(fill_C[0], "uint8")])
    above = combine(builder, "Sub", builder.cast(image, "int32"), fill_C)
    around = builder.node("Pad", [above, ends, builder.constant(0, "int32")])
    return builder.cast(combine(builder, "Add", around, fill_C), "uint8")


def _conv_gathered(op: Conv, builder: OnnxBuilder) -> str:
    found = windows_onnx(op, builder, builder.read(op.inputs[0], "int32"), op.pad_C)
    windows, taps, (outputs, channels) = op.out_size[0] * op.out_size[1], op.kernel[0] * op.kernel[1], op.group_shape
    weight_GMI = op.weight_OI.astype(np.int64).reshape(op.groups, outputs, -1)
    if op.groups == 1:
        weights = builder.cast(builder.constant(weight_GMI[0].T, op.format.type), "int32")
        return builder.node("MatMul", [reshaped(builder, found, (windows, taps * channels)), weights])
    weights = builder.cast(builder.constant(weight_GMI.swapaxes(1, 2), op.format.type), "int32")
    by_group = reshaped(builder, found, (windows, taps, op.groups, channels))
    by_group = builder.node("Transpose", [by_group], perm=[0, 3, 1, 2, 4])
    sums = builder.node("MatMul", [reshaped(builder, by_group, (op.groups, windows, taps * channels)), weights])
    return builder.node("Transpose", [sums], perm=[0, 2, 1, 3])
