"""Part of values that lie one behind the other: taken of each first, so that what nobody reads need not be there, nor be computed."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from levsha.capture.call import Call, Program
from levsha.capture.reader import moved


def part_concats(program: Program) -> Program:
    """Return a program in which no move takes less than all of a concatenation, where its parts can be taken and joined instead.

    What no output depends on is left out.
    """
    shapes = dict(program.inputs) | {call.output: call.shape for call in program.calls}
    makers, calls = {call.output: call for call in program.calls}, []
    for call in program.calls:
        source = makers.get(call.inputs[0]) if call.kind == "rearrange" else None
        apart = None if source is None or source.kind != "concat" else _apart(call, source, shapes)
        calls += apart or [call]
    return replace(program, calls=_needed(calls, set(program.outputs)))


def _needed(calls: list[Call], wanted: set[str]) -> tuple[Call, ...]:
    kept: list[Call] = []
    for call in reversed(calls):
        if call.output in wanted:
            kept.append(call)
            wanted |= set(call.inputs)
    return tuple(kept[::-1])


def _apart(call: Call, concat: Call, shapes: dict[str, tuple[int, ...]]) -> list[Call] | None:
    """A move of each value and one concatenation; None where that is not what the move does."""
    sizes = [math.prod(shapes[name]) for name in concat.inputs]
    if math.prod(call.shape) >= sum(sizes) or not call.shape:
        return None
    starts = torch.tensor([0, *sizes]).cumsum(0)
    parts = torch.arange(sum(sizes)).split(sizes)
    shaped = [part.reshape(shapes[name]) for part, name in zip(parts, concat.inputs, strict=True)]
    whole = torch.cat(shaped, concat.attributes["axis"])
    index = call.attributes["move"](whole.double()[None], -1.0)[0].long()
    if bool((index < 0).any()):
        return None
    which = torch.bucketize(index, starts[1:], right=True)
    for axis in range(index.dim()):
        along = which.movedim(axis, 0).reshape(which.shape[axis], -1)
        if bool((along == along[:, :1]).all()):
            return _joined(call, concat, index, along[:, 0], axis, starts, shapes)
    return None


def _joined(
    call: Call, concat: Call, index: Tensor, which: Tensor, axis: int, starts: Tensor, shapes: dict[str, tuple[int, ...]]
) -> list[Call] | None:  # fmt: skip
    """which: the number of the value that each part along the axis comes from."""
    values, counts = which.unique_consecutive(return_counts=True)
    if len(values) > len(concat.inputs):
        return None
    parts = []
    for k, (number, part) in enumerate(zip(values.tolist(), index.split(counts.tolist(), axis), strict=True)):
        name, own = concat.inputs[number], part - starts[number]
        attributes = {**call.attributes, "move": moved(own, shapes[name])}
        output = call.output if len(values) == 1 else f"{call.output}_part{k}"
        parts.append(replace(call, inputs=(name,), output=output, shape=tuple(own.shape), attributes=attributes))
    if len(parts) == 1:
        return parts
    return [
        *parts,
        replace(call, kind="concat", inputs=tuple(part.output for part in parts), attributes={"axis": axis}),
    ]
