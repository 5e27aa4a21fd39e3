"""What the table of torch operations is given: one node of an exported graph, its arguments by name, and where to put calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from levsha.capture.call import Call
from levsha.capture.problems import Problem

BATCH = 2  # of the exported graph: an axis that is 1 would vanish in a squeeze


@dataclass(frozen=True)
class Name:
    """A value of the program, in the place of a tensor; shape: without the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Reader:
    """Collects the calls, and what cannot become one."""

    calls: list[Call] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Node:
    """One operation.  name: of its output. shape: of the output, without the batch. target: torch's own operation. given: its arguments by name:
    a Name for a value, a tensor for a constant."""

    name: str
    shape: tuple[int, ...]
    target: Callable[..., Any]
    given: Mapping[str, Any]
    place: str
    reader: Reader

    def __getitem__(self, key: str) -> Any:
        return self.given[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return an argument that some overloads lack."""
        return self.given.get(key, default)

    def emit(
        self, kind: str, inputs: Sequence[Name], attributes: Mapping[str, Any] | None = None, arrays: Mapping[str, Any] | None = None,
        shape: tuple[int, ...] | None = None, suffix: str = "",
    ) -> Name:  # fmt: skip
        """Add a call and return its value; suffix: of the name, for a step on the way to the node's own value."""
        found = {key: array.detach() for key, array in (arrays or {}).items() if array is not None}
        made = Name(f"{self.name}{suffix}", self.shape if shape is None else shape)
        inputs_ = tuple(x.name for x in inputs)
        self.reader.calls.append(Call(kind, inputs_, made.name, made.shape, attributes or {}, found, self.place))
        return made

    def refuse(self, what: str, advice: str) -> Name:
        """Note that this cannot be converted, and go on, to find everything."""
        self.reader.problems.append(Problem(what, self.place, advice))
        return Name(self.name, self.shape)

    def move(self, x: Name, index: Tensor, fill: float = 0.0, suffix: str = "") -> Name:
        """Add a rearrangement: index, of the output's shape without the batch, into the flat input; -1 is the fill."""
        return self.emit(
            "rearrange", [x], {"move": moved(index, x.shape), "fill": fill}, shape=tuple(index.shape), suffix=suffix
        )


def moved(index: Tensor, shape: tuple[int, ...]) -> Callable[[Tensor, float], Tensor]:
    """Return the function that puts elements of each example where `index` says; shape: of the input."""
    index, out = index.long(), tuple(index.shape)
    count = torch.Size(shape).numel()
    if index.numel() == count and torch.equal(index.flatten(), torch.arange(count)):
        return lambda t, fill: t.reshape(len(t), *out)
    has_fill = bool((index < 0).any())

    def move(t: Tensor, fill: float) -> Tensor:
        y = t.flatten(1)[:, index.clamp_min(0)]
        return torch.where(index < 0, torch.as_tensor(fill, dtype=t.dtype), y) if has_fill else y

    return move


def index_of(operation: Callable[[Tensor], Any], shape: tuple[int, ...]) -> Tensor | None:
    """Return where an operation that only moves elements takes each of its output from, -1 where from nowhere; None where it mixes examples.

    It is done to a tensor that holds each element's own number: whatever the operation is, this is what it does.
    """
    count = torch.Size(shape).numel()
    numbers = torch.arange(1, BATCH * count + 1, dtype=torch.float64).reshape(BATCH, *shape)
    try:
        found = operation(numbers)
    except RuntimeError:
        return None
    if found.dim() == 0 or len(found) != BATCH:
        return None
    first, second = found[0] - 1, found[1] - 1
    if bool((first >= count).any()) or not torch.equal(torch.where(first < 0, first, first + count), second):
        return None
    return first.long()
