"""Pairs as training batches: clean and noisy queries' counts made once, each epoch's order a pure function of its number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from levsha.data.augment import noisy
from levsha.data.pairs import QUERY_BYTES, Pairs, Samples, make_samples, text_rows
from levsha.recipes.tinychat.net import BUCKETS, CONTEXT_NGRAMS, QUERY_NGRAMS


class Corpus:
    """Pairs, their samples, and the samples' hashed counts."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs: Pairs = pairs
        self.samples: Samples = make_samples(pairs)

    @cached_property
    def query_counts(self) -> np.ndarray:
        """Hashed counts of every unique query."""
        return count_queries(list(self.pairs.unique_queries))

    @cached_property
    def context_counts(self) -> np.ndarray:
        """Hashed counts of every sample's context."""
        return CONTEXT_NGRAMS.run(self.samples.context_NL.astype(np.int64)).astype(np.uint8)

    def inputs(self, index: np.ndarray) -> Tensor:
        """Return the clean inputs (N, 256) of the chosen samples."""
        query = self.query_counts[self.samples.query_N[index]]
        return torch.from_numpy(np.concatenate([query, self.context_counts[index]], 1)).float()


def count_queries(queries: list[bytes]) -> np.ndarray:
    """Return hashed counts (N, buckets) of queries, as the graph's own encoder makes them."""
    return QUERY_NGRAMS.run(text_rows(queries, QUERY_BYTES).astype(np.int64)).astype(np.uint8)


class ChatBatches:
    """Batches of training samples; part of each has a noisy query."""

    def __init__(
        self,
        corpus: Corpus,
        train: np.ndarray,
        batch: int,
        noisy_queries: int,
        clean: float,
        label_smoothing: float,
        seed: int,
    ) -> None:
        samples, classes = corpus.samples, len(corpus.pairs.charset)
        self.batch, self.clean, self.seed = min(batch, len(train)), clean, seed
        self.query = torch.from_numpy(samples.query_N[train])
        self.context = torch.from_numpy(corpus.context_counts[train]).float()
        hot = torch.nn.functional.one_hot(torch.from_numpy(samples.target_N[train]), classes).float()
        self.target = hot * (1 - label_smoothing) + label_smoothing / classes
        used = np.unique(samples.query_N[train])
        rng = random.Random(seed)
        table = np.repeat(corpus.query_counts[None], noisy_queries + 1, 0)  # the first copy stays clean
        for row in table[1:]:
            row[used] = count_queries([noisy(corpus.pairs.unique_queries[i], rng) for i in used])
        self.table = torch.from_numpy(table).float().view(-1, BUCKETS)
        self.copies, self.queries = noisy_queries, len(corpus.pairs.unique_queries)

    def __len__(self) -> int:
        """Return the number of whole batches an epoch."""
        return len(self.query) // self.batch

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (N, 256) and target probabilities (N, classes)."""
        generator = torch.Generator().manual_seed((self.seed << 20) + number)
        order = torch.randperm(len(self.query), generator=generator)
        copy = torch.zeros_like(order)
        if self.copies:
            copy = torch.randint(1, self.copies + 1, order.shape, generator=generator)
            copy[torch.rand(len(copy), generator=generator) < self.clean] = 0
        rows = copy * self.queries + self.query[order]
        for start in range(0, len(self) * self.batch, self.batch):
            index = order[start : start + self.batch]
            query = self.table.index_select(0, rows[start : start + self.batch])
            yield torch.cat([query, self.context.index_select(0, index)], 1), self.target.index_select(0, index)
