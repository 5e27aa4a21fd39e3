"""How good a chat net is: next-character accuracy, perplexity, exact replies; and what trivial predictors reach."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from levsha.applications.chat import BATCH, Predict, decode
from levsha.data.pairs import QUERY_BYTES, Pairs, Samples, text_rows


def accuracy(logits_NC: np.ndarray, target_N: np.ndarray) -> float:
    """Return the share of samples, in per cent, whose largest logit (the first of equals) is the target's."""
    return 100 * float((logits_NC.argmax(1) == target_N).mean())


def perplexity(logits_NC: np.ndarray, target_N: np.ndarray) -> float:
    """Return exp of the mean cross-entropy in nats: 1 is certainty, the number of classes is a blind guess."""
    shifted = logits_NC - logits_NC.max(1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(1))
    return float(np.exp((log_total - shifted[np.arange(len(target_N)), target_N]).mean()))


def sample_logits(predict: Predict, pairs: Pairs, samples: Samples, index: np.ndarray) -> np.ndarray:
    """Return the logits of the chosen samples."""
    query_rows = text_rows(pairs.unique_queries, QUERY_BYTES)
    parts = [index[start : start + BATCH] for start in range(0, len(index), BATCH)]
    return np.concatenate([predict(query_rows[samples.query_N[part]], samples.context_NL[part]) for part in parts])


def exact_replies(predict: Predict, pairs: Pairs, index: np.ndarray) -> float:
    """Return the share of the chosen unique queries, in per cent, answered with one of their listed responses."""
    queries = [pairs.unique_queries[i] for i in index]
    said = decode(predict, queries, pairs.charset)
    return 100 * float(np.mean([answer in pairs.replies[i] for answer, i in zip(said, index, strict=True)]))


def reference_predictors(
    query_counts_NB: np.ndarray, context_counts_NB: np.ndarray, samples: Samples, train: np.ndarray, test: np.ndarray
) -> dict[str, float]:
    """Return the accuracies, in per cent, of predictors that need no training: what a net must beat.

    query_counts_NB, context_counts_NB: every sample's hashed counts, as the net sees them; legend: B buckets.
    """
    target, prefix = samples.target_N, samples.prefix_N
    end_mark = int(target.max())
    by_prefix: dict[int, Counter[int]] = defaultdict(Counter)
    for p, t in zip(prefix[train], target[train], strict=True):
        by_prefix[p][t] += 1
    guess = np.array([by_prefix[p].most_common(1)[0][0] if p in by_prefix else end_mark for p in prefix[test]])
    features = np.concatenate([_unit(query_counts_NB), 3 * _unit(context_counts_NB)], 1).astype(np.float32)
    return {
        "end_mark": 100 * float((target[test] == end_mark).mean()),
        "prefix_only": 100 * float((guess == target[test]).mean()),
        "nearest_15": 100 * float((_nearest(features, target, train, test, 15) == target[test]).mean()),
    }


def _unit(x_NB: np.ndarray) -> np.ndarray:
    return x_NB / np.sqrt((x_NB**2).sum(1, keepdims=True)).clip(1e-9)


def _nearest(features_NI: np.ndarray, target_N: np.ndarray, train: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """The class with most votes among the k nearest training samples; a vote weighs exp(-4 d^2), the best of those tried."""
    known, known_target = features_NI[train], target_N[train]
    length = (known**2).sum(1)
    k, chosen = min(k, len(train) - 1), []
    for start in range(0, len(test), 512):
        x = features_NI[test[start : start + 512]]
        distance = length - 2 * x @ known.T + (x**2).sum(1)[:, None]
        near = np.argpartition(distance, k, axis=1)[:, :k]
        votes = np.zeros((len(x), int(target_N.max()) + 1))
        np.add.at(
            votes, (np.arange(len(x))[:, None], known_target[near]), np.exp(-4 * np.take_along_axis(distance, near, 1))
        )
        chosen.append(votes.argmax(1))
    return np.concatenate(chosen)
