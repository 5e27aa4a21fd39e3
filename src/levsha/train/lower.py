"""A trained net -> integers: batch normalisation folds into a multiplier, a bias and a shift for every channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from levsha.arith import FLOAT32_EXACT, INT16_MAX, INT32_MAX, half, rescale
from levsha.errors import LevshaError
from levsha.formats import Format
from levsha.ops import Dense, Requantize
from levsha.train.mlp import Mlp, Quantisation, forward

LARGEST_LOGIT = 16_000  # what the largest logit seen becomes; int16 leaves as much again above it


@dataclass(frozen=True)
class IntegerLayer:
    """y = clip((weight x * multiplier + (bias << bias_shift) + rounding) >> shift, lo, hi), in integers.

    step: real units of one integer of y.
    """

    weight_OI: np.ndarray
    multiplier_O: np.ndarray
    bias_O: np.ndarray
    bias_shift: int
    shift: int
    lo: int
    hi: int
    step: float

    def dense(self, name: str, source: str, weights: Format, sum_bits: int) -> Dense:
        """Return the op that makes this layer's sums."""
        return Dense(name=name, inputs=(source,), weight_OI=self.weight_OI, format=weights, sum_bits=sum_bits)

    def requantize(self, name: str, source: str) -> Requantize:
        """Return the op that turns this layer's sums into its output."""
        return Requantize(
            name=name, inputs=(source,), multiplier_O=self.multiplier_O, bias_O=self.bias_O, bias_shift=self.bias_shift,
            shift=self.shift, rounding=half(self.shift), lo=self.lo, hi=self.hi, step=self.step,
        )  # fmt: skip


@torch.inference_mode()
def lower_mlp(
    mlp: Mlp, quantisation: Quantisation, x_NI: Tensor, input_total: int, sum_bits: int
) -> list[IntegerLayer]:
    """Return the integer layers of a calibrated net.

    x_NI: clean data, to scale the logits. input_total: the largest sum of the integer inputs. Where a layer's 16-bit sums
    could overflow, the layer before is clipped lower: the result is proven by the graph, and it is what gets evaluated.
    """
    logit_step = float(forward(mlp, x_NI, quantisation)[-1].abs().max()) / LARGEST_LOGIT
    layers: list[IntegerLayer] = []
    step_in = 1.0
    for index, weight in enumerate(mlp.weight_OI):
        integers, scale_O1 = quantisation.weights(weight)
        last = index == len(mlp.weight_OI) - 1
        step = logit_step if last else mlp.step[index]
        norm_O = mlp.norm_scale(index).double()
        factor_O = (norm_O * scale_O1[:, 0].double()).numpy() * step_in / step
        offset_O = ((mlp.beta_O[index].double() - mlp.mean_O[index].double() * norm_O) / step).numpy()
        weight_OI = integers.numpy().astype(np.int64)
        lo, hi = (-INT16_MAX - 1, INT16_MAX) if last else (0, _top(quantisation, mlp.weight_OI[index + 1], sum_bits))
        largest_in = layers[-1].hi if layers else None
        layers.append(
            round_layer(weight_OI, factor_O, offset_O, _reach(weight_OI, largest_in, input_total), lo, hi, step)
        )
        step_in = step
    return layers


def _reach(weight_OI: np.ndarray, largest_in: int | None, input_total: int) -> int:
    """The largest magnitude that any channel's sum can have."""
    if largest_in is None:
        return int(np.abs(weight_OI).max()) * input_total
    return int(max(np.maximum(weight_OI, 0).sum(1).max(), np.maximum(-weight_OI, 0).sum(1).max())) * largest_in


def _top(quantisation: Quantisation, next_weight: Tensor, sum_bits: int) -> int:
    integers = quantisation.weights(next_weight)[0].numpy()
    return min(quantisation.top, ((1 << (sum_bits - 1)) - 1) // max(1, _reach(integers, 1, 0)))


def round_layer(
    weight_OI: np.ndarray,
    factor_O: np.ndarray,
    offset_O: np.ndarray,
    reach: int,
    lo: int,
    hi: int,
    step: float,
) -> IntegerLayer:
    """Return a layer whose output is factor * sum + offset: both rounded to int16, with the largest shift for which every product and sum fits 32 bits.

    reach: the largest magnitude of any channel's sum, as the graph will prove it for the layer as a whole.
    """
    shift = min(30, math.floor(math.log2(INT16_MAX / max(1e-9, np.abs(factor_O).max()))))
    if (
        shift >= 8 and shift % 8 <= 2
    ):  # a shift by whole bytes costs an 8-bit chip nothing, and up to 2 bits are to spare
        shift -= shift % 8
    while shift >= 0:
        multiplier_O = np.rint(factor_O * 2.0**shift)
        largest = np.abs(offset_O).max() * 2.0**shift
        bias_shift = max(0, math.ceil(math.log2(max(1.0, largest / INT16_MAX))))
        bias_O = np.clip(np.rint(offset_O * 2.0 ** (shift - bias_shift)), -INT16_MAX, INT16_MAX)
        if (reach * np.abs(multiplier_O) + np.abs(bias_O) * 2.0**bias_shift).max() + half(shift) <= INT32_MAX:
            break
        shift -= 1
    else:
        raise LevshaError(
            f"lower: a channel needs a factor of {np.abs(factor_O).max():g} and an offset of {np.abs(offset_O).max():g} on sums "
            f"up to {reach}: more than 32 bits hold. Train with a lower rate, or clean the data of constant inputs."
        )
    return IntegerLayer(
        weight_OI, multiplier_O.astype(np.int64), bias_O.astype(np.int64), bias_shift, shift, lo, hi, step
    )


@torch.inference_mode()
def fake_quantised_forward(layers: Sequence[IntegerLayer], x_NI: Tensor) -> Tensor:
    """Return the integer logits, computed in torch on integer-valued floats: float32 where every sum is exact, else float64.

    It equals the interpreter of the lowered graph exactly.
    """
    h = x_NI.double()
    for layer in layers:
        bound = float(np.abs(layer.weight_OI).sum(1).max() * h.abs().max().clamp_min(1))
        kind = torch.float32 if bound < FLOAT32_EXACT else torch.float64
        sums = (h.to(kind) @ torch.from_numpy(layer.weight_OI).to(kind).t()).double()
        m, b = (torch.from_numpy(part).double() for part in (layer.multiplier_O, layer.bias_O))
        h = rescale(sums, m, b, layer.bias_shift, layer.shift, half(layer.shift), layer.lo, layer.hi)
    return h
