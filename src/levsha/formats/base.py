"""What a weight format is: a grid of integers, its packing into bytes, and the C that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np


class Format(ABC):
    """A grid of integer weights, stored as digits: weight = digit_scale * digit + digit_offset.

    A kernel sums digit * x and corrects once an output with the sum of x, so digits may be unsigned and small.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    bits: ClassVar[float]  # per weight, as stored
    lo: ClassVar[int]
    hi: ClassVar[int]
    digit_scale: ClassVar[int] = 1
    digit_offset: ClassVar[int] = 0
    digits_per_byte: ClassVar[int] = 1
    expected_loss: ClassVar[tuple[float, float]]
    """What the format is expected to cost a net, in points of accuracy and in R2. Points: what the nets of docs/figures.md lost, rounded up;
    R2: the same for int8, for the others in proportion."""
    block: ClassVar[int]  # outputs a kernel keeps in registers: whole bytes, one input at a time

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

    def pack(self, weight: np.ndarray) -> np.ndarray:
        """Return the bytes of a flat run of weights on the grid; the last byte is filled with the lowest digit."""
        digits = (np.asarray(weight, np.int64) - self.digit_offset) // self.digit_scale
        padded = np.pad(digits, (0, -len(digits) % self.digits_per_byte)).reshape(-1, self.digits_per_byte)
        return self.pack_digits(padded).astype(np.uint8)

    def unpack(self, data: np.ndarray, count: int) -> np.ndarray:
        """Return the first `count` weights of packed bytes, as int64."""
        digits = self.unpack_digits(np.asarray(data, np.uint8).astype(np.int64)).reshape(-1)[:count]
        return digits * self.digit_scale + self.digit_offset

    @abstractmethod
    def pack_digits(self, digits: np.ndarray) -> np.ndarray:
        """Return one byte value per row of digits, shape (bytes, digits_per_byte)."""

    @abstractmethod
    def unpack_digits(self, data: np.ndarray) -> np.ndarray:
        """Return the digits of each byte, shape (bytes, digits_per_byte)."""

    @abstractmethod
    def c_accumulate(self, sum_type: str, narrow: bool) -> list[str]:
        """Return C lines that read one block at `w` and add digit * a to s0, s1, ...

        sum_type: unsigned (16 bits or more, of which 16 count) or uint32_t, the type of the sums. narrow: `a` is a uint8_t
        and 16 bits of the sums count, so that a product of two bytes is enough.
        """

    def c_next(self) -> list[str]:
        """Return C lines that take the next weight off the byte `b`, an uint8_t, and call it `weight`."""
        width = 8 // self.digits_per_byte
        scale = "" if self.digit_scale == 1 else f" * {self.digit_scale}"
        weight = f"(b & {(1 << width) - 1}){scale} - {-self.digit_offset}"
        return [f"const int8_t weight = (int8_t)({weight});", f"b = (uint8_t)(b >> {width});"]


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


def bit_fields(width: int) -> np.ndarray:
    """Return the shifts of the fields of `width` bits in a byte, lowest first."""
    return np.arange(0, 8, width)


def c_product(digit: str, sum_type: str, narrow: bool) -> str:
    """Return the C product digit * a, free of signed overflow and as narrow as it may be."""
    return f"({sum_type})((uint8_t)({digit}) * a)" if narrow else f"({sum_type})({digit}) * ({sum_type})a"


def c_widened(sum_type: str) -> tuple[list[str], str]:
    """Return the C lines that widen `a` for a sum, and what it is called then; sums of 16 bits need none.

    A name of its own, because gcc warns of a change of sign where a 32-bit sum takes the conversion itself.
    """
    return (["const uint32_t u = (uint32_t)a;"], "u") if sum_type == "uint32_t" else ([], f"({sum_type})a")
