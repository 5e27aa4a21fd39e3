"""What a weight format is: a grid of integers, its packing into bytes, and the C that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np


class Format(ABC):
    """A grid of integer weights, stored as digits: weight = digit_scale * digit + digit_offset.

    A kernel sums digit * x and corrects once an output with the sum of x, so digits may be unsigned and small. Digits are packed in
    groups: `digits_per_group` of them make one number of `bytes_per_group` bytes, the lowest byte first.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    bits: ClassVar[float]  # per weight, as stored
    lo: ClassVar[int]
    hi: ClassVar[int]
    digit_scale: ClassVar[int] = 1
    digit_offset: ClassVar[int] = 0
    digits_per_group: ClassVar[int] = 1
    bytes_per_group: ClassVar[int] = 1
    expected_loss: ClassVar[tuple[float, float]]
    """What the format is expected to cost a net, in points of accuracy and in R2. Points: what the nets of docs/figures.md lost, rounded up;
    R2: the same for int8, for the others in proportion."""
    block: ClassVar[int]  # outputs a kernel keeps in registers: whole groups, one input at a time

    @property
    def type(self) -> str:
        """The numpy type that holds every weight: int8 or int16."""
        return "int8" if self.lo >= -128 and self.hi <= 127 else "int16"

    @property
    def grid(self) -> np.ndarray:
        """Every weight the format can hold, ascending."""
        return np.arange(self.lo, self.hi + 1, self.digit_scale)

    def to_integers(self, x: Any) -> Any:
        """Return the grid point nearest to x (numpy array or torch tensor, in units of the scale), as floats."""
        return x.round().clip(self.lo, self.hi)

    @abstractmethod
    def scale(self, weight_OI: Any) -> Any:
        """Return the real value of one grid unit per output, shape (O, 1), for numpy or torch weights."""

    def packed_bytes(self, count: int) -> int:
        """Return how many bytes a run of so many weights takes: whole groups."""
        return -(-count // self.digits_per_group) * self.bytes_per_group

    def pack(self, weight: np.ndarray) -> np.ndarray:
        """Return the bytes of a flat run of weights on the grid; the last group is filled with the digit 0."""
        digits = (np.asarray(weight, np.int64) - self.digit_offset) // self.digit_scale
        padded = np.pad(digits, (0, -len(digits) % self.digits_per_group)).reshape(-1, self.digits_per_group)
        return (self.pack_digits(padded)[:, None] >> self._places & 255).astype(np.uint8).reshape(-1)

    def unpack(self, data: np.ndarray, count: int) -> np.ndarray:
        """Return the first `count` weights of packed bytes, as int64."""
        groups = np.asarray(data, np.uint8).astype(np.int64).reshape(-1, self.bytes_per_group) << self._places
        digits = self.unpack_digits(groups.sum(1)).reshape(-1)[:count]
        return digits * self.digit_scale + self.digit_offset

    @property
    def _places(self) -> np.ndarray:
        return 8 * np.arange(self.bytes_per_group)

    @abstractmethod
    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        """Return one number per row of digits, shape (groups, digits_per_group); bits above those of a group do not count."""

    @abstractmethod
    def unpack_digits(self, groups: np.ndarray) -> np.ndarray:
        """Return the digits of each group's number, shape (groups, digits_per_group)."""

    @abstractmethod
    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        """Return C lines that read one block at `w` and add digit * a to s0, s1, ...

        sum_type: unsigned (16 bits or more, of which 16 count) or uint32_t, the type of the sums. narrow: `a` is a uint8_t
        and 16 bits of the sums count, so that a product of two bytes is enough.
        """

    @property
    def c_group(self) -> str:
        """The C type that holds a group's number."""
        return {1: "uint8_t", 2: "uint16_t"}.get(self.bytes_per_group, "uint32_t")

    def c_read(self) -> str:
        """Return the C of the group at `w`, a number of the type `c_group`."""
        if self.bytes_per_group == 1:
            return "$U8(w)"
        parts = [f"({self.c_group})$U8(w{f' + {k}' if k else ''}){f' << {8 * k}' if k else ''}" for k in range(self.bytes_per_group)]  # fmt: skip
        return f"({self.c_group})({' | '.join(parts)})"

    def c_next(self) -> list[str]:
        """Return C lines that take the next weight off `b`, of the type `c_group`, and call it `weight`."""
        width = 8 * self.bytes_per_group // self.digits_per_group
        scale = "" if self.digit_scale == 1 else f" * {self.digit_scale}"
        digit = f"{'' if self.bytes_per_group == 1 else '(uint8_t)'}(b & {(1 << width) - 1})"
        weight = f"{digit}{scale} - {-self.digit_offset}"
        return [f"const int8_t weight = (int8_t)({weight});", f"b = ({self.c_group})(b >> {width});"]


def loss_verdict(
    source: float, variant: float, weights: Format, kind: Literal["accuracy", "r2"], margin: float = 0.0
) -> bool:
    """Say whether a variant lost no more than its format is expected to cost.

    source, variant: the metric of the net it comes from and its own; accuracy in per cent. margin: what chance may add, such as
    two standard errors of the test set, in the same units.

    >>> from levsha.formats import FORMATS
    >>> loss_verdict(0.994, 0.985, FORMATS["int8"], "r2"), loss_verdict(0.994, -0.016, FORMATS["int8"], "r2")
    (True, False)
    """
    points, r2 = weights.expected_loss
    return source - variant <= (points if kind == "accuracy" else r2) + margin


def bit_fields(width: int, bits: int = 8) -> np.ndarray:
    """Return the shifts of the fields of `width` bits in a number of so many bits, lowest first."""
    return np.arange(0, bits, width)


def c_product(digit: str, sum_type: str, narrow: bool) -> str:
    """Return the C product digit * a, free of signed overflow and as narrow as it may be."""
    return f"({sum_type})((uint8_t)({digit}) * a)" if narrow else f"({sum_type})({digit}) * ({sum_type})a"


def c_widened(sum_type: str) -> tuple[list[str], str]:
    """Return the C lines that widen `a` for a sum, and what it is called then; sums of 16 bits need none.

    A name of its own, because gcc warns of a change of sign where a 32-bit sum takes the conversion itself.
    """
    return (["const uint32_t u = (uint32_t)a;"], "u") if sum_type == "uint32_t" else ([], f"({sum_type})a")
