"""Inputs for a chat net: what a check compares, and the queries that are typed to measure it."""

from __future__ import annotations

import numpy as np

from levsha.data.pairs import CONTEXT_BYTES, QUERY_BYTES, Pairs, Samples, text_rows


def check_vectors(pairs: Pairs, samples: Samples, count: int, seed: int) -> dict[str, np.ndarray]:
    """Return inputs for a check: half of them real, the rest any bytes at any length, the longest and the emptiest among them."""
    rng = np.random.default_rng([2000, seed])
    real = rng.integers(0, len(samples.target_N), count)
    query = text_rows(pairs.unique_queries, QUERY_BYTES)[samples.query_N[real]].astype(np.int64)
    context = samples.context_NL[real].astype(np.int64)
    odd = np.arange(count) % 2 == 1
    noise = rng.integers(1, 256, (count, QUERY_BYTES))
    noise[np.arange(QUERY_BYTES) >= rng.integers(0, QUERY_BYTES + 1, count)[:, None]] = 0
    query[odd], context[odd] = noise[odd], rng.integers(0, 256, (count, CONTEXT_BYTES))[odd]
    extremes = (np.full(QUERY_BYTES, 255), np.full(QUERY_BYTES, ord("a")), np.zeros(QUERY_BYTES, np.int64))
    for row, extreme in zip(range(1, count, 2), extremes, strict=False):
        query[row] = extreme
    return {"query": query, "context": context}


def prompts(pairs: Pairs, seen: np.ndarray, unseen: np.ndarray, count: int, seed: int) -> list[str]:
    """Return unique queries to type into a chip, half of them from training."""
    rng = np.random.default_rng([3000, seed])
    half = min(len(unseen), count // 2)
    chosen = [*rng.permutation(seen)[: count - half], *rng.permutation(unseen)[:half]]
    return [pairs.unique_queries[i].decode("utf-8", "ignore") for i in chosen]
