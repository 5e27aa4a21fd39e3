"""How a trained variant does on its split, float or integer."""

from __future__ import annotations

import numpy as np
import torch

from levsha.evidence.metrics import Predict, accuracy, exact_replies, perplexity, sample_logits
from levsha.ir import Graph
from levsha.ops import Dense, Requantize
from levsha.recipes.tinychat.net import CONTEXT_NGRAMS, QUERY_NGRAMS
from levsha.recipes.tinychat.samples import Corpus
from levsha.train.mlp import Mlp, forward


def score(predict: Predict, corpus: Corpus, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Return accuracy and perplexity on the held-out samples; where whole queries are held out, exact replies as well."""
    pairs, samples = corpus.pairs, corpus.samples
    logits, target = sample_logits(predict, pairs, samples, test), samples.target_N[test]
    metrics = {"accuracy": accuracy(logits, target), "perplexity": perplexity(logits, target)}
    seen, unseen = np.unique(samples.query_N[train]), np.unique(samples.query_N[test])
    if not np.isin(unseen, seen).any():
        metrics |= {
            "exact_seen": exact_replies(predict, pairs, seen),
            "exact_unseen": exact_replies(predict, pairs, unseen),
        }
    return metrics


def weight_bytes(mlp: Mlp, graph: Graph | None) -> int:
    """Return the bytes of everything learnt: float32 parameters, or packed weights and int16 multipliers and biases."""
    if graph is None:
        return 4 * mlp.parameters
    return sum(
        c.data.size * (2 if c.c_type == "int16_t" else 1)
        for op in graph.ops
        if isinstance(op, Dense | Requantize)
        for c in op.constants().values()
    )


def float_predictor(mlp: Mlp) -> Predict:
    """Return the float net as a predictor of logits from bytes."""

    def predict(query_NL: np.ndarray, context_NL: np.ndarray) -> np.ndarray:
        counts = [QUERY_NGRAMS.run(query_NL.astype(np.int64)), CONTEXT_NGRAMS.run(context_NL.astype(np.int64))]
        return forward(mlp, torch.from_numpy(np.concatenate(counts, 1)).float())[-1].numpy()

    return predict
