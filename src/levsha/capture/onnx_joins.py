"""ONNX operations that put values side by side, stretch them or cut them up: Concat, Pad, Resize, Upsample, DepthToSpace, SpaceToDepth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.nn import functional as F

from levsha.capture.onnx_layout import axis_of, with_batch, without_batch
from levsha.capture.onnx_moves import take
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_value import UnsupportedError, Value


def concat(node: Node) -> Value:
    """Values and constants one behind the other along an axis."""
    parts = [node.value(i) if isinstance(x, Value) else x for i, x in enumerate(node.inputs)]
    first = next(x for x in parts if isinstance(x, Value))
    axis = int(node.attribute("axis", 1)) % len(first.view)
    if axis == first.batch and first.rows == 1:
        parts = [without_batch(node, x) if isinstance(x, Value) else x for x in parts]
        first = next(x for x in parts if isinstance(x, Value))
    elif first.batch is not None:
        parts = [with_batch(node, x, first.batch) if isinstance(x, Value) else x for x in parts]
    own = axis_of(first, axis, "Concat")
    y: Value | None = None
    for run in _runs(parts, first):
        if isinstance(run, list):
            joined = [*([y] if y else []), *run]
            y = joined[0] if len(joined) == 1 else node.call("concat", *joined, axis=own, whole=first.whole)
        elif y:
            y = _beside(node, y, run, own, after=True)
    assert y is not None
    for c in reversed(parts[: next(i for i, x in enumerate(parts) if isinstance(x, Value))]):
        assert isinstance(c, np.ndarray)
        y = _beside(node, y, _one_row(c, first), own, after=False)
    return y


def _runs(parts: Sequence[Value | np.ndarray | None], first: Value) -> list[list[Value] | np.ndarray]:
    """Values that follow one another together, constants each by itself."""
    runs: list[list[Value] | np.ndarray] = []
    for part in parts:
        if isinstance(part, Value):
            if runs and isinstance(runs[-1], list):
                runs[-1].append(part)
            else:
                runs.append([part])
        elif part is not None:
            runs.append(_one_row(part, first))
    return runs


def _one_row(c: np.ndarray, like: Value) -> np.ndarray:
    """A constant without the axis of the batch, along which it must not change."""
    if like.batch is None:
        return c
    row = np.take(c, [0], axis=like.batch)
    if not (c == row).all():
        raise UnsupportedError(
            "Concat with a constant that differs between the rows of a batch", "give every row the same"
        )
    return row.squeeze(like.batch)


def _beside(node: Node, y: Value, c: np.ndarray, own: int, after: bool) -> Value:
    """A value with a constant behind or before it: padded with one number, or padded and then added to."""
    count = c.shape[own]
    alike = bool((c == c.flat[0]).all())
    pairs = [0, 0] * (len(y.shape) - 1 - own) + ([0, count] if after else [count, 0])
    fill = float(c.flat[0]) if alike else 0.0
    y = node.move(y, lambda t, fill: F.pad(t, pairs, value=fill), y.batch, fill)
    if alike:
        return y
    offset = np.zeros(y.shape, dtype=c.dtype)
    where = [slice(None)] * len(y.shape)
    where[own] = slice(y.shape[own] - count, None) if after else slice(0, count)
    offset[tuple(where)] = c
    return node.call("affine", y, arrays={"factor": np.array(1.0), "offset": offset})


def pad(node: Node) -> Value:
    """Elements before and after each axis: one number, or the value's own (reflect, edge, wrap); negative pads cut off."""
    x = node.value(0)
    found = node.option("paddings" if "paddings" in node.attributes else "pads", 1)
    if found is None:
        raise UnsupportedError("Pad without pads", "they must be a constant of the file")
    pads = [int(n) for n in found]
    named = node.maybe(3, "axes")
    rank = len(x.view)
    axes = list(range(rank)) if named is None else [int(axis) % rank for axis in named]
    both = {axis: (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes) if pads[i] or pads[len(axes) + i]}
    mode = node.attribute("mode", b"constant").decode()
    if mode != "constant":
        names = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
        if mode not in names:
            raise UnsupportedError(f"Pad with mode = {mode}", "use constant, reflect, edge or wrap")
        picks = {axis: _padded(x.view[axis], pair, mode) for axis, pair in both.items()}
        return take(node, x, picks)
    value = node.option("value", 2)
    fill = 0.0 if value is None or not value.size else float(value.item())
    pairs = [0, 0] * len(x.shape)
    for axis, (before, after) in both.items():
        place = 2 * (len(x.shape) - 1 - axis_of(x, axis, "Pad"))
        pairs[place : place + 2] = [before, after]
    return node.move(x, lambda t, fill: F.pad(t, pairs, value=fill), x.batch, fill) if both else x


def _padded(size: int, pair: tuple[int, int], mode: str) -> list[int]:
    """The places that a padded axis reads from."""
    before, after = (max(n, 0) for n in pair)
    places = np.pad(np.arange(size), (before, after), mode=mode)  # type: ignore[call-overload]
    return [int(n) for n in places[max(-pair[0], 0) : len(places) - max(-pair[1], 0)]]


def resize(node: Node) -> Value:
    """Nearest neighbours at any scale (Resize and Upsample): each element is read from one place."""
    x = node.value(0)
    mode = node.attribute("mode", b"nearest").decode()
    if mode != "nearest":
        raise UnsupportedError(f"{node.op} with mode = {mode}", "use nearest, or a ConvTranspose")
    if node.attribute("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise UnsupportedError(f"{node.op} that keeps the aspect ratio", "give the sizes themselves")
    modern = node.op == "Resize" and node.opset >= 11
    how = node.attribute("coordinate_transformation_mode", b"half_pixel").decode() if modern else "asymmetric"
    nearest = node.attribute("nearest_mode", b"round_prefer_floor").decode() if modern else "floor"
    scales = node.option("scales", 2 if modern else 1)
    sizes = node.maybe(3, "sizes") if modern and (scales is None or not scales.size) else None
    axes = [int(axis) % len(x.view) for axis in node.attribute("axes") or range(len(x.view))]
    picks = {}
    for i, axis in enumerate(axes):
        n = x.view[axis]
        if sizes is not None:
            length, scale = int(sizes[i]), float(sizes[i]) / n
        elif scales is not None and scales.size:
            scale = float(scales.reshape(-1)[i])
            length = int(np.floor(np.float32(n) * np.float32(scale)))
        else:
            raise UnsupportedError(f"{node.op} without scales or sizes", "they must be constants of the file")
        picks[axis] = _nearest(n, length, scale, how, nearest)
    return take(node, x, picks)


def _nearest(size: int, length: int, scale: float, how: str, nearest: str) -> list[int]:
    """The places that a stretched axis reads from (ONNX: Resize)."""
    x = np.arange(length)
    by_mode = {
        "half_pixel": (x + 0.5) / scale - 0.5,
        "pytorch_half_pixel": (x + 0.5) / scale - 0.5 if length > 1 else 0.0 * x,
        "half_pixel_symmetric": size / 2 * (1 - length / (size * scale)) + (x + 0.5) / scale - 0.5,
        "tf_half_pixel_for_nn": (x + 0.5) / scale,
        "asymmetric": x / scale,
        "align_corners": x * ((size - 1) / (length - 1)) if length > 1 else 0.0 * x,
    }
    rounding = {
        "round_prefer_floor": lambda t: np.ceil(t - 0.5),
        "round_prefer_ceil": lambda t: np.floor(t + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if how not in by_mode or nearest not in rounding:
        raise UnsupportedError(
            f"Resize with {how}, {nearest}", "use half_pixel or asymmetric, and round_prefer_floor or floor"
        )
    return [int(n) for n in np.clip(rounding[nearest](by_mode[how]), 0, size - 1)]


def depth_to_space(node: Node) -> Value:
    """Channels become places: blocks of b by b."""
    x, b = node.value(0), int(node.attributes["blocksize"])
    c, h, w = _image(node, x)
    deep_first = node.attribute("mode", b"DCR") == b"DCR"
    split = (b, b, c // (b * b), h, w) if deep_first else (c // (b * b), b, b, h, w)
    order = (0, 3, 4, 1, 5, 2) if deep_first else (0, 1, 4, 2, 5, 3)
    own = (c // (b * b), h * b, w * b)
    return node.move(x, lambda t, fill: t.reshape(len(t), *split).permute(order).reshape(len(t), *own), 0)


def space_to_depth(node: Node) -> Value:
    """Places become channels: blocks of b by b."""
    x, b = node.value(0), int(node.attributes["blocksize"])
    c, h, w = _image(node, x)
    split, own = (c, h // b, b, w // b, b), (c * b * b, h // b, w // b)
    order = (0, 3, 5, 1, 2, 4) if node.attribute("mode", b"DCR") == b"DCR" else (0, 1, 3, 5, 2, 4)
    return node.move(x, lambda t, fill: t.reshape(len(t), *split).permute(order).reshape(len(t), *own), 0)


def _image(node: Node, x: Value) -> tuple[int, int, int]:
    if x.batch != 0 or len(x.shape) != 3:
        raise UnsupportedError(
            f"{node.op} of a value of shape {list(x.view)}", "it must be a batch of images, channels first"
        )
    return x.shape[0], x.shape[1], x.shape[2]


JOINS = {
    "Concat": concat,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
