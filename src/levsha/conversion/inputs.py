"""What a model's input is as integers: bytes go in as they are, real readings get a step and a zero a channel.

Legend: N examples, C channels, the last axis in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from levsha.arith import INT16_MAX
from levsha.capture.fold import INPUT, Folded
from levsha.ir import Value
from levsha.lower import Node, Source
from levsha.lower.calibrate import mean_square_steps
from levsha.lower.reads import stays_apart
from levsha.meaning import Layout, Quantity

BYTE = 255
ON_GRID = 1e-4  # of a step: as far from k / 255 a pixel may lie, by rounding to float32
ROWS = 1 << 18  # of one channel, at most, that its step is chosen from


@dataclass(frozen=True)
class Inputs:
    """The integer source, what its integers mean, and in what axes the model has it."""

    source: Source
    quantities: tuple[Quantity, ...]
    layout: Layout
    note: str

    def clipped(self, x: np.ndarray) -> str:
        """Return a sentence on how many of real inputs (N, *shape) lie more than a step outside what the net takes; empty where none does."""
        value = self.source.value
        steps = (self.layout.lay(x).astype(np.float64) - self.source.zero) / self.source.step
        outside = (steps < value.lows - 1) | (steps > value.highs + 1)
        if not outside.any():
            return ""
        rows = int(outside.reshape(len(x), -1).any(1).sum())
        return (
            f"{int(outside.sum())} of {outside.size} input values that measure, in {rows} of {len(x)} rows, lie outside what the rows that "
            f"calibrate reach, and are taken as its end: calibrate with rows like those that it meets."
        )

    def integers(self, x: np.ndarray) -> np.ndarray:
        """Return real inputs (N, *shape) as the nearest integers (N, *stored), clipped to what the net takes."""
        laid, value = self.layout.lay(x), self.source.value
        integers = np.rint((laid.astype(np.float64) - self.source.zero) / self.source.step)
        return integers.clip(value.lows, value.highs).astype(np.int64)


def inputs_of(x: np.ndarray, folded: Folded, names: Sequence[str] = (), units: Sequence[str] = ()) -> Inputs:
    """Return how real inputs (N, *shape) become integers: as they are where they are bytes or small whole numbers, as k / 255 where they
    are pixels that were divided by 255, else by a step and a zero for each channel with the least mean square error in 256 steps."""
    layout = Layout(folded.shape, folded.order)
    tokens = tokens_of(folded)
    if tokens:
        whole = Value(layout.stored, 0, tokens - 1)
        return Inputs(Source(whole), _plain(names, units, 1.0), layout, f"numbers 0..{tokens - 1}, as they are")
    if x.dtype == np.uint8 or _is_whole(x, BYTE):
        top = 1 if x.max() <= 1 and x.dtype != np.uint8 else BYTE
        return Inputs(
            Source(Value(layout.stored, 0, top)),
            _plain(names, units, 1.0),
            layout,
            f"whole numbers 0..{top}, as they are",
        )
    if x.dtype.kind == "f" and _is_whole(x * BYTE, BYTE):
        return Inputs(
            Source(Value(layout.stored, 0, BYTE), 1 / BYTE),
            _plain(names, units, 1 / BYTE),
            layout,
            "bytes: 255 stands for 1",
        )
    return _readings(x, folded, layout, names, units)


def tokens_of(folded: Folded) -> int:
    """Return how many rows an embedding of the input has, the smallest of several; 0 where there is none."""
    found = [
        len(n.weight_OI) for n in folded.nodes if n.kind == "embed" and n.weight_OI is not None and INPUT in n.inputs
    ]
    return min(found, default=0)


def _is_whole(x: np.ndarray, top: int) -> bool:
    some = x[:: max(1, x.size >> 22)]
    if x.min() < 0 or x.max() > top * (1 + ON_GRID) or x.max() <= 0:
        return False
    return bool((np.abs(some - np.rint(some)) < ON_GRID * max(1, top / BYTE)).all())


def _plain(names: Sequence[str], units: Sequence[str], step: float) -> tuple[Quantity, ...]:
    if not names:
        return (Quantity(INPUT, "", step),)
    return tuple(Quantity(name, unit, step) for name, unit in zip(names, units or [""] * len(names), strict=True))


def _readings(x: np.ndarray, folded: Folded, layout: Layout, names: Sequence[str], units: Sequence[str]) -> Inputs:
    laid = layout.lay(x)
    channels = laid.shape[-1] if stays_apart(INPUT, laid.shape[-1], folded.nodes) else 1
    rows_NC = laid.reshape(-1, channels).astype(np.float64)
    rows_NC = rows_NC[:: -(-len(rows_NC) // ROWS)]
    nothing_C = _nothing(folded.nodes, channels)
    if nothing_C is not None:  # padding stands for 0 behind the normalisation: it needs an integer too
        nothing_C = (
            np.broadcast_to(nothing_C, (channels,))
            if np.ptp(nothing_C) == 0 or channels > 1
            else nothing_C.mean(keepdims=True)
        )
        rows_NC = np.concatenate([rows_NC, nothing_C[None]])
    step_C, zero_C = mean_square_steps(rows_NC, BYTE)
    if nothing_C is not None:
        zero_C = nothing_C - step_C * np.rint((nothing_C - zero_C) / step_C)
    step_C, zero_C = _tidy(step_C), _tidy(zero_C)
    source = Source(Value(layout.stored, 0, BYTE), _one(step_C), _one(zero_C))
    labels = names if len(names) == channels else [f"{INPUT} {k}" for k in range(channels)] if channels > 1 else [INPUT]
    kinds = units if len(units) == channels else [""] * channels
    quantities = tuple(Quantity(*row) for row in zip(labels, kinds, step_C.tolist(), zero_C.tolist(), strict=True))
    return Inputs(source, quantities, layout, "real numbers, each channel by a step and a zero of its own")


def _tidy(numbers_C: np.ndarray) -> np.ndarray:
    """Numbers of 8 digits: what stands in a header is what was reckoned with."""
    return np.array([float(f"{number:.8g}") for number in numbers_C])


def _one(numbers_C: np.ndarray) -> float | np.ndarray:
    return float(numbers_C[0]) if (numbers_C == numbers_C[0]).all() else numbers_C


def _nothing(nodes: Sequence[Node], channels: int) -> np.ndarray | None:
    """The real input that padding stands for, where a padded convolution reads the input: 0, or what its normalisation makes 0."""
    factor, offset, name = np.ones(channels), np.zeros(channels), INPUT
    for node in nodes:
        if name not in node.inputs:
            continue
        if node.kind == "alias":
            factor, offset, name = factor * node.factor_O, offset * node.factor_O + node.offset_O, node.output
        elif node.kind == "conv" and node.window is not None and any(node.window.pads):
            return -offset / factor
        elif node.kind == "gather" and node.index is not None and (node.index < 0).any():
            return (node.fill - offset) / factor
    return None


assert BYTE < INT16_MAX
