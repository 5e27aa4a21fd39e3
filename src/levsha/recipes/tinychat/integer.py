"""The trained chat net as an integer graph: its steps are those it was trained with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from levsha.arith import INT16_MAX
from levsha.evidence.metrics import accuracy
from levsha.formats import Format
from levsha.lower import Lowered, Options, Pins, Source, diagnose, lower, run_float
from levsha.lower.calibrate import LARGEST_LOGIT
from levsha.lower.causes import on_grid
from levsha.lower.mlp import mlp_nodes
from levsha.recipes.tinychat.net import BUCKETS, CONTEXT_NGRAMS, INPUTS, OUTPUTS, QUERY_NGRAMS, answer_ops
from levsha.recipes.tinychat.settings import sum_bits_of, top_of
from levsha.train.mlp import Mlp, Quantisation, forward

COUNTS = {op.name: op for op in (QUERY_NGRAMS, CONTEXT_NGRAMS)}  # what the first layer reads, the slow half first


def chat_sources() -> dict[str, Source]:
    """Return the counts that the first layer reads, each made of an input of its own."""
    return {
        name: Source(op.infer(INPUTS[op.inputs[0]]), ops=(op,), inputs={op.inputs[0]: INPUTS[op.inputs[0]]})
        for name, op in COUNTS.items()
    }


@torch.inference_mode()
def lower_chat(mlp: Mlp, weights: Format, x_NI: Tensor, charset: bytes) -> Lowered:
    """Return the integer net of a calibrated Mlp.

    x_NI: clean counts, query and context side by side, to scale the logits. charset: the byte each class is.
    """
    logits = forward(mlp, x_NI, Quantisation(weights, top_of(weights)))[-1]
    steps = dict(zip([f"act{k + 1}" for k in range(len(mlp.step))], mlp.step, strict=True))
    steps["logits"] = float(logits.abs().max()) / LARGEST_LOGIT
    pins = Pins(steps=steps, ranges={"logits": (-INT16_MAX - 1, INT16_MAX)})
    options = Options(weights, top=top_of(weights), sum_bits=sum_bits_of(weights))
    x = dict(zip(COUNTS, x_NI.split(BUCKETS, 1), strict=True))
    return lower(mlp_nodes(mlp, tuple(COUNTS)), chat_sources(), x, options, pins, answer_ops(charset), OUTPUTS)


@torch.inference_mode()
def explain_loss(lowered: Lowered, x_NI: Tensor, target_N: np.ndarray, source: float, weights: Format | None) -> str:
    """Return which layer and what cause cost most of the accuracy, in a sentence; empty where no single one did.

    x_NI: counts of held-out samples. source: what the float net reaches, in per cent. weights: the format it was trained again
    with; None where it was not.
    """
    x = dict(zip(COUNTS, x_NI.split(BUCKETS, 1), strict=True))
    found = diagnose(
        lowered, x, lambda logits: accuracy(logits, target_N), "accuracy", on_grid_already=weights is not None
    )
    if weights:
        reached = accuracy(run_float(on_grid(lowered).nodes, x)["logits"].h.numpy(), target_N)
        if source - reached > (found.drop if found else 0):
            flag = f"--quantise.{weights.name.replace('_', '-')}.epochs"
            return (
                f"all layers: weights: trained again with {weights.name} weights the net reaches {reached:.1f} %, before anything else is "
                f"rounded. Try more epochs ({flag}), or a format with more bits."
            )
    return found.sentence if found else ""


def counts_of(values: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the real inputs of `lower`'s sources from the values of an interpreted chat net."""
    return {name: torch.from_numpy(values[name]).float() for name in COUNTS}
