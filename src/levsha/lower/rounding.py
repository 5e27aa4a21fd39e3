"""Real factors and offsets -> int16 multipliers, biases and shifts, so that nothing is lost that matters; legend: O outputs, I inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from levsha.arith import INT16_MAX, INT32_MAX, half
from levsha.errors import LevshaError
from levsha.ops import Requantize
from levsha.ops.requantize import MOST_SHIFT

ENOUGH = 1 << 10  # a multiplier from here on has 11 bits: it is off by less than 0.05 %
MOST_ERROR = 0.01  # of a multiplier that other layers can live with
MOST_PRE_SHIFT = 16
MOST_PRE_ERROR = 0.25  # of an output's step, by shifting the sums first


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """y = clip((round(sum >> pre_shift) * multiplier + (bias << bias_shift) + rounding) >> shift, lo, hi), in integers.

    weight_OI: of the sums; none where they are the input itself. extra_O: further shifts, as in Requantize. step: real units
    of one integer of y. findings: what rounding lost, a sentence each.
    """

    weight_OI: np.ndarray | None
    multiplier_O: np.ndarray
    bias_O: np.ndarray
    bias_shift: int
    shift: int
    lo: int
    hi: int
    step: float
    pre_shift: int = 0
    extra_O: np.ndarray | None = None
    findings: tuple[str, ...] = ()

    @property
    def factors(self) -> np.ndarray:
        """What the sums are really multiplied by."""
        extra_O = 0 if self.extra_O is None else self.extra_O
        return self.multiplier_O * 2.0 ** -(self.pre_shift + self.shift + extra_O)

    @property
    def offsets(self) -> np.ndarray:
        """What is really added, in units of y."""
        return self.bias_O * 2.0 ** (self.bias_shift - self.shift)

    def requantize(self, name: str, source: str) -> Requantize:
        """Return the op that turns this layer's sums into its output."""
        return Requantize(
            name=name, inputs=(source,), multiplier_O=self.multiplier_O, bias_O=self.bias_O, bias_shift=self.bias_shift,
            shift=self.shift, rounding=half(self.shift), lo=self.lo, hi=self.hi, step=self.step,
            pre_shift=self.pre_shift, extra_O=self.extra_O,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a layer should compute: clip(factor * sum + offset, lo, hi).

    proven: the largest magnitude of the sums that the graph proves, of all or of each. reach_O: that of each channel, known better.
    """

    factor_O: np.ndarray
    offset_O: np.ndarray
    proven: int | np.ndarray
    reach_O: np.ndarray
    lo: int
    hi: int
    most_error: float

    def lost(self, layer: IntegerLayer) -> np.ndarray:
        """Return how far off each multiplier is, relatively; 0 where that moves the output by less than half a step."""
        size_O = np.abs(self.factor_O)
        error_O = np.abs(layer.factors - self.factor_O) / np.where(size_O > 0, size_O, 1.0)
        moved_O = error_O * np.minimum(size_O * self.reach_O, self.hi - self.lo)
        return np.where((error_O > self.most_error) & (moved_O > 0.5), error_O, 0.0)


def round_layer(
    weight_OI: np.ndarray | None, factor_O: np.ndarray, offset_O: np.ndarray, proven: int | np.ndarray,
    lo: int, hi: int, step: float, reach_O: np.ndarray | None = None, most_error: float = MOST_ERROR,
) -> IntegerLayer:  # fmt: skip
    """Return a layer whose output is factor * sum + offset, rounded to int16 with the largest shift for which all fits 32 bits.

    proven: the largest magnitude of the sums, as the graph will prove it, one for all or one a channel. reach_O: of each channel,
    where it is known better. most_error: of a multiplier, relatively. Where that leaves a multiplier too few bits, the sums are shifted first (pre_shift), and if
    channels still differ too much, each has a further shift of its own. LevshaError where 32 bits hold the layer in no way.
    """
    wanted = Wanted(
        factor_O, offset_O, proven, _broad(proven if reach_O is None else reach_O, factor_O), lo, hi, most_error
    )
    plain = _rounded(wanted, IntegerLayer(weight_OI, factor_O, offset_O, 0, 0, lo, hi, step))
    if np.abs(plain.multiplier_O).max() >= ENOUGH and not wanted.lost(plain).any():
        return plain
    limited = _limited(wanted, plain)
    if not limited and not wanted.lost(plain).any():
        return plain
    return _refined(wanted, plain)


def _broad(reach: int | np.ndarray, like_O: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(reach, np.float64), like_O.shape)


def _limited(wanted: Wanted, layer: IntegerLayer) -> bool:
    """Whether 32 bits, not 16, kept the multipliers of a layer that can move its output small."""
    moves = bool((np.abs(wanted.factor_O) * wanted.reach_O >= 0.5).any())
    return moves and int(np.abs(layer.multiplier_O).max()) < ENOUGH


def _rounded(wanted: Wanted, layer: IntegerLayer) -> IntegerLayer:
    """The layer with one shift for all channels, after its pre_shift."""
    factor_O = wanted.factor_O * 2.0**layer.pre_shift
    reach = (np.asarray(wanted.proven, np.int64) + half(layer.pre_shift)) >> layer.pre_shift
    shift = min(MOST_SHIFT, math.floor(math.log2(INT16_MAX / max(1e-9, np.abs(factor_O).max()))))
    if shift >= 8 and shift % 8 <= 2:  # a shift by whole bytes costs an 8-bit chip nothing, and 2 bits are to spare
        shift -= shift % 8
    while shift >= 0:
        multiplier_O = np.rint(factor_O * 2.0**shift)
        largest = np.abs(wanted.offset_O).max() * 2.0**shift
        bias_shift = max(0, math.ceil(math.log2(max(1.0, largest / INT16_MAX))))
        bias_O = np.clip(np.rint(wanted.offset_O * 2.0 ** (shift - bias_shift)), -INT16_MAX, INT16_MAX)
        if (reach * np.abs(multiplier_O) + np.abs(bias_O) * 2.0**bias_shift).max() + half(shift) <= INT32_MAX:
            break
        shift -= 1
    else:
        raise LevshaError(
            f"a channel needs a factor of {np.abs(wanted.factor_O).max():g} and an offset of {np.abs(wanted.offset_O).max():g} "
            f"on sums up to {np.max(wanted.proven)}: more than 32 bits hold. Train with a lower rate, or clean the data of constant inputs."
        )
    multiplier_O, bias_O = multiplier_O.astype(np.int64), bias_O.astype(np.int64)
    return replace(layer, multiplier_O=multiplier_O, bias_O=bias_O, bias_shift=bias_shift, shift=shift)


def _refined(wanted: Wanted, plain: IntegerLayer) -> IntegerLayer:
    """The layer with what it takes: channels that cannot move made constant, a pre_shift, further shifts for some channels."""
    still_O = np.abs(wanted.factor_O) * wanted.reach_O < 0.5
    constant_O = np.clip(np.rint(wanted.offset_O), wanted.lo, wanted.hi)
    wanted = replace(
        wanted,
        factor_O=np.where(still_O, 0.0, wanted.factor_O),
        offset_O=np.where(still_O, constant_O, wanted.offset_O),
    )
    layer = _rounded(wanted, plain)
    for pre_shift in range(1, MOST_PRE_SHIFT + 1):
        coarse = half(pre_shift) * np.abs(wanted.factor_O).max() > MOST_PRE_ERROR
        if coarse or not _limited(wanted, layer):
            break
        layer = _rounded(wanted, replace(layer, pre_shift=pre_shift))
    lost_O = wanted.lost(layer)
    if lost_O.any():
        layer = _spread(wanted, layer, lost_O > 0)
    return replace(layer, findings=_findings(wanted, layer))


def _spread(wanted: Wanted, layer: IntegerLayer, lost_O: np.ndarray) -> IntegerLayer:
    """Give the channels that lost too much the least further shift that makes up for it, as far as 32 bits allow."""
    extra_O, multiplier_O = np.zeros(len(lost_O), np.int64), layer.multiplier_O.copy()
    reach_O = (_broad(wanted.proven, wanted.factor_O).astype(np.int64) + half(layer.pre_shift)) >> layer.pre_shift
    added_O = (np.abs(layer.bias_O) << layer.bias_shift) + half(layer.shift)
    for o in np.flatnonzero(lost_O):
        for extra in range(1, MOST_SHIFT - layer.shift + 1):
            m = int(np.rint(wanted.factor_O[o] * 2.0 ** (layer.pre_shift + layer.shift + extra)))
            if int(reach_O[o]) * abs(m) + (int(added_O[o]) << extra) > INT32_MAX or abs(m) > INT16_MAX:
                break
            extra_O[o], multiplier_O[o] = extra, m
            if abs(m) >= ENOUGH:
                break
    return replace(layer, multiplier_O=multiplier_O, extra_O=extra_O) if extra_O.any() else layer


def _findings(wanted: Wanted, layer: IntegerLayer) -> tuple[str, ...]:
    lost_O = wanted.lost(layer)
    off_O = np.abs(layer.offsets - np.clip(wanted.offset_O, -INT32_MAX, INT32_MAX))
    found = []
    if lost_O.any():
        channels = ", ".join(map(str, np.flatnonzero(lost_O)[:5])) + (", ..." if np.count_nonzero(lost_O) > 5 else "")
        found.append(
            f"multiplier: channel {channels}: the rounded multiplier is off by up to {100 * lost_O.max():.1f} %, since 32 bits must "
            f"hold factors from {np.abs(wanted.factor_O[lost_O > 0]).min():.3g} to {np.abs(wanted.factor_O).max():.3g} and offsets "
            f"up to {np.abs(wanted.offset_O).max():.3g}; normalise the layer, or clip its outliers."
        )
    if off_O.max() > 0.5:
        found.append(
            f"multiplier: channel {off_O.argmax()}: the rounded offset is off by {off_O.max():.2g} steps of the output; normalise the layer."
        )
    return tuple(found)
