"""The integer ops of a recurrent layer for one row, written down one after the other; legend: I inputs, H units, G rows of weights, K terms, C channels.

Gates, new states and h are counted in 2**-14, so that products are brought back by a shift alone: a gate that is 1 keeps a state bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from levsha.arith import half
from levsha.formats import Format
from levsha.ir import Op, Value
from levsha.lower.calibrate import STATE_TOP
from levsha.lower.rounding import round_layer
from levsha.lower.rules.linear import bounds
from levsha.lower.rules.several import round_terms
from levsha.lower.weights import Known, Weights
from levsha.ops import Dense, Gather, Lookup, Multiply, Requantize, ScaledAdd

BITS = STATE_TOP.bit_length() - 1
MOST = STATE_TOP - 1  # of a state and of what is new to it: differences of two of them have 16 bits
ENTRIES = 512  # of a table
ROOM = 0.1  # of the range that calibration saw, which a table has beyond both its ends


@dataclass(frozen=True, eq=False)
class Term:
    """An integer value of a body: its largest magnitude, what one integer of each channel stands for, and each channel's magnitude."""

    name: str
    reach: int
    factor_C: np.ndarray
    reach_C: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Grid:
    """The arguments that a table has entries for: real = low + width * index."""

    low: float
    width: float

    @classmethod
    def over(cls, ends: tuple[float, float], most: float) -> Grid:
        """Return a grid over what calibration saw and some room, but not beyond -most..most, where nothing changes any more."""
        low, high = ends
        room = ROOM * (high - low)
        low, high = max(-most, min(low - room, most - 1)), min(most, max(high + room, 1 - most))
        return cls(low, max(high - low, 1e-3) / (ENTRIES - 1))

    def table(self, function: Callable[[np.ndarray], np.ndarray], step: float | np.ndarray, most: int) -> np.ndarray:
        """Return a function of the arguments in steps, rounded and clipped to -most..most."""
        values = function(self.low + self.width * np.arange(ENTRIES)) / step
        return np.rint(values).clip(-most, most).astype(np.int64)


@dataclass(eq=False)
class Body:
    """Ops so far. x: a row; h: what the weights of the state read; x_weights, h_weights: integers and the scale of each row of weights."""

    x: Known
    h: Known
    x_weights: Weights
    h_weights: Weights
    format: Format
    sum_bits: int
    ops: list[Op] = field(default_factory=list)

    def of_x(self, name: str, rows: slice, step: float) -> Term:
        """Add the part of some sums that the row makes; step: real units of a row's elements that have no step of their own."""
        return self._dense(name, self.x, self.x_weights, rows, step)

    def of_h(self, name: str, rows: slice) -> Term:
        """Add the part of some sums that the state makes."""
        return self._dense(name, self.h, self.h_weights, rows, float(self.h.step))

    def _dense(self, name: str, source: Known, weights: Weights, rows: slice, step: float) -> Term:
        op = Dense(
            name=name, inputs=(source.name,), weight_OI=weights.integers_OI[rows], format=self.format, sum_bits=self.sum_bits
        )  # fmt: skip
        self.ops.append(op)
        proven = op.infer(source.value)
        lo_C, hi_C = bounds(op.weight_OI, source.value)
        return Term(name, max(-proven.lo, proven.hi), weights.scale_O[rows] * step, np.maximum(-lo_C, hi_C))

    def add(
        self, name: str, terms: Sequence[Term], offset_C: np.ndarray, step: float | np.ndarray, ends: tuple[int, int]
    ) -> None:
        """Add the sum of terms and real offsets, in steps, clipped."""
        width = max(len(offset_C), *(len(term.factor_C) for term in terms))
        factor_KC = np.stack([np.broadcast_to(term.factor_C / step, (width,)) for term in terms])
        m_KC, b_C, shift = round_terms(
            factor_KC, np.broadcast_to(offset_C / step, (width,)), [term.reach for term in terms]
        )
        self._scaled_add(name, tuple(term.name for term in terms), m_KC, b_C, shift, ends)

    def mix(self, name: str, terms: Sequence[tuple[str, int]], shift: int, most: int) -> None:
        """Add a sum of values times whole numbers, shifted back, clipped to -most..most."""
        m_K1 = np.array([[factor] for _, factor in terms])
        self._scaled_add(name, tuple(source for source, _ in terms), m_K1, np.zeros(1, np.int64), shift, (-most, most))

    def _scaled_add(
        self, name: str, sources: tuple[str, ...], m_KC: np.ndarray, b_C: np.ndarray, shift: int, ends: tuple[int, int]
    ) -> None:
        self.ops.append(
            ScaledAdd(
                name=name, inputs=sources, multiplier_KC=m_KC, bias_C=b_C, shift=shift, rounding=half(shift), lo=ends[0], hi=ends[1]
            )
        )  # fmt: skip

    def index(self, name: str, terms: Sequence[Term], offset_C: np.ndarray, grid: Grid) -> None:
        """Add the sum of terms and real offsets as an index of a table."""
        self.add(name, terms, offset_C - grid.low, grid.width, (0, ENTRIES - 1))

    def look_up(self, name: str, source: str, table: np.ndarray) -> None:
        """Add a table's entries."""
        self.ops.append(Lookup(name=name, inputs=(source,), table=table))

    def part(self, name: str, source: str, number: int, units: int) -> None:
        """Add one of the gates that lie one behind the other."""
        index = np.arange(number * units, (number + 1) * units)
        self.ops.append(Gather(name=name, inputs=(source,), index=index))

    def multiply(self, name: str, a: str, b: str) -> None:
        """Add a product, whose unit is the product of their units."""
        self.ops.append(Multiply(name=name, inputs=(a, b)))

    def scale(
        self, name: str, term: Term, offset_C: np.ndarray, step: float | np.ndarray, ends: tuple[int, int]
    ) -> None:
        """Add a value plus real offsets in other steps, clipped."""
        width = max(len(offset_C), len(term.factor_C))
        factor_C, offset_C = (np.broadcast_to(part / step, (width,)) for part in (term.factor_C, offset_C))
        layer = round_layer(None, factor_C, offset_C, term.reach, *ends, float(step))
        self.ops.append(layer.requantize(name, term.name))

    def shift(self, name: str, source: str, times: int = 1, offset: int = 0, bits: int = 0) -> None:
        """Add (value * times + offset) >> bits, rounded to nearest, in 16 bits."""
        self.ops.append(
            Requantize(
                name=name, inputs=(source,), multiplier_O=np.array([times]), bias_O=np.array([offset]), bias_shift=0, shift=bits,
                rounding=half(bits), lo=-32767, hi=32767,
            )
        )  # fmt: skip


def state_value(units: int, least: int, most: int) -> Value:
    """Return a state's range."""
    return Value((units,), least, most)
