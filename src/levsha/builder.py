"""What an op is handed to say itself in ONNX.  No onnx is imported here: export/onnx.py builds the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from levsha.arith import INT32_MAX

if TYPE_CHECKING:
    from levsha.ir import Graph, Value

MOST_BYTES_SUMMED = INT32_MAX // 255**2  # products of two bytes without a sign, in a sum of 32 bits with one


class OnnxBuilder(Protocol):
    """Takes nodes one by one and knows the type of every tensor; tensors go by name, types by numpy's names ("int32").

    A value of the graph is held as uint8 or int8 where it fits, else as int32; its first axis is the batch, of any size.
    """

    def read(self, value: str, kind: str = "") -> str:
        """Return the tensor that holds a value of the graph, as it is or cast to `kind`."""
        ...

    def unsigned(self, value: str) -> tuple[str, int]:
        """Return a value of eight bits as uint8, and the zero point that stands for 0: 0, or 128 where it was int8."""
        ...

    def kind(self, tensor: str) -> str:
        """Return the type of a tensor."""
        ...

    def cast(self, tensor: str, kind: str) -> str:
        """Return the tensor in another type, itself where it has that type; what does not fit is nobody's business here."""
        ...

    def constant(self, array: Any, kind: str) -> str:
        """Return a tensor of these integers, which must fit; equal ones are kept once."""
        ...

    def node(
        self, operator: str, inputs: Sequence[str], kind: str = "", **attributes: int | str | Sequence[int]
    ) -> str:
        """Add a node and return its output, of the type of its first input unless `kind` says another."""
        ...

    def inline(self, graph: Graph, tensors: Mapping[str, str]) -> dict[str, str]:
        """Add the ops of a graph whose inputs these tensors are, by name, and return the tensor of every value."""
        ...

    def scan(self, body: Graph, starts: Mapping[str, str], rows: str, last: bool) -> str:
        """Add a loop over the rows (N, T, ...), and return the first state after the last row or, stacked, after each.

        body: as in the op Scan. starts: the tensors of the states before the first row, by the input of the body.
        """
        ...


def held(value: Value) -> str:
    """Return the type in which a model holds a value: its own where that has 8 bits, else int32."""
    return value.dtype.name if value.dtype.itemsize == 1 else "int32"


def fits_int32(*ends: Any) -> bool:
    """Say whether int32 holds all of these int64 integers or arrays.

    >>> fits_int32(0, 2**31 - 1), fits_int32(np.array([-(2**31) - 1, 0]))
    (True, False)
    """
    bounds = np.iinfo(np.int32)
    return all(bounds.min <= np.min(end) and np.max(end) <= bounds.max for end in ends)


def combine(builder: OnnxBuilder, operator: str, x: str, array: np.ndarray) -> str:
    """Return x combined (Add, Sub, Mul, Div) with numbers that broadcast against it: one where they are equal, no node where nothing would change."""
    if (array == (0 if operator in ("Add", "Sub") else 1)).all():
        return x
    numbers = array.ravel()[:1] if (array == array.ravel()[0]).all() else array
    return builder.node(operator, [x, builder.constant(numbers, builder.kind(x))])


def shift_right(
    builder: OnnxBuilder, x: str, ends: tuple[np.ndarray, np.ndarray], added: np.ndarray, depth: np.ndarray,
    lo: int = -INT32_MAX - 1, hi: int = INT32_MAX,
) -> str:  # fmt: skip
    """Return clip((x + added) >> depth, lo, hi), rounding down: int32, or int64 where the way there needs it.

    x: int32 within ends, smallest and largest. These, added and depth are int64 and broadcast against x. ONNX shifts no numbers
    with a sign, so it is a division; what is not clipped anyway is moved above 0 before, because a division rounds towards it.
    """
    low, high = ends
    first, last = (low + added) >> depth, (high + added) >> depth
    least = np.maximum(first, lo)
    moved = added - (least << depth)
    kind = "int32" if fits_int32(moved, low + moved, high + moved) else "int64"
    y = builder.cast(x, kind)
    for operator, array in (("Add", moved), ("Div", np.int64(1) << depth), ("Add", least)):
        y = combine(builder, operator, y, array)
    if (first >= lo).all() and (last <= hi).all():
        return y
    return builder.node(
        "Clip", [y, *(builder.constant(end, kind) for end in (max(lo, -INT32_MAX - 1), min(hi, INT32_MAX)))]
    )


def flat(builder: OnnxBuilder, tensor: str, value: Value) -> str:
    """Return the tensor of a value with all its elements in one axis behind the batch."""
    return tensor if len(value.shape) == 1 else reshaped(builder, tensor, (value.size,))


def reshaped(builder: OnnxBuilder, tensor: str, shape: Sequence[int]) -> str:
    """Return the tensor with another shape behind the batch."""
    return builder.node("Reshape", [tensor, builder.constant([0, *shape], "int64")])
