"""How a predictor does on one split, beside those that need no training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from levsha.applications.chat import Predict
from levsha.evidence.metrics import accuracy, exact_replies, perplexity, reference_predictors, sample_logits
from levsha.files import read_kept, write_file
from levsha.recipes.tinychat.net import CONTEXT_NGRAMS, QUERY_NGRAMS
from levsha.recipes.tinychat.samples import Corpus
from levsha.train.mlp import Mlp, forward

REFERENCE_VERSION = 1  # raise it when the predictors would say otherwise of the same split


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


def references(
    corpus: Corpus, by: str, seed: int, split: tuple[np.ndarray, np.ndarray], folder: Path
) -> dict[str, float]:
    """Return the accuracies of the predictors that need no training; they are made once and kept in the split's folder."""
    path = folder / "references.json"
    key = hashlib.sha256(f"{REFERENCE_VERSION} {corpus.pairs.digest} {by} {seed}".encode()).hexdigest()
    kept = read_kept(path)
    if kept.get("key") == key:
        return kept["references"]
    queries = corpus.query_counts[corpus.samples.query_N].astype(np.int64)
    found = reference_predictors(queries, corpus.context_counts.astype(np.int64), corpus.samples, *split)
    write_file(path, json.dumps({"key": key, "references": found}))
    return found


def float_predictor(mlp: Mlp) -> Predict:
    """Return the float net as a predictor of logits from bytes."""

    def predict(query_NL: np.ndarray, context_NL: np.ndarray) -> np.ndarray:
        counts = [QUERY_NGRAMS.run(query_NL.astype(np.int64)), CONTEXT_NGRAMS.run(context_NL.astype(np.int64))]
        return forward(mlp, torch.from_numpy(np.concatenate(counts, 1)).float())[-1].numpy()

    return predict
