"""Pairs as training batches: clean and noisy queries' counts made once, each epoch's order a pure function of its number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from levsha.data.augment import noisy, recombined
from levsha.data.pairs import QUERY_BYTES, Pairs, Samples, make_samples, text_rows
from levsha.recipes.tinychat.net import BUCKETS, CONTEXT_NGRAMS, QUERY_NGRAMS
from levsha.train.schedule import Schedule


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


class QueryTable:
    """Counts of every query, clean, as people mistype it, and recombined with other training queries; made once a split.

    Row block 0 is clean, then come `copies` noisy blocks and, if asked for, as many recombined ones, but at least 16.
    """

    def __init__(self, corpus: Corpus, train: np.ndarray, copies: int, recombine: bool, seed: int) -> None:
        queries, rng = corpus.pairs.unique_queries, random.Random(seed)
        used = np.unique(corpus.samples.query_N[train])  # nothing of a held-out query may enter
        known = [queries[i] for i in used]
        mixed = max(copies, 16) if recombine else 0
        blocks = np.repeat(corpus.query_counts[None], 1 + copies + mixed, 0)
        for block in blocks[1 : copies + 1]:
            block[used] = count_queries([noisy(query, rng) for query in known])
        for block in blocks[copies + 1 :]:
            block[used] = count_queries([recombined(query, rng.choice(known), rng) for query in known])
        self.counts = torch.from_numpy(blocks).float().view(-1, BUCKETS)
        self.copies, self.mixed, self.queries = copies, mixed, len(queries)


class ChatBatches:
    """Batches of training samples: part of each with a clean query, part with a noisy, part with a recombined one."""

    def __init__(
        self, corpus: Corpus, train: np.ndarray, table: QueryTable, schedule: Schedule, clean: float, seed: int
    ) -> None:
        samples, classes = corpus.samples, len(corpus.pairs.charset)
        self.table, self.schedule, self.clean, self.seed = table, schedule, clean, seed
        self.batch = min(schedule.batch, len(train))
        self.query = torch.from_numpy(samples.query_N[train])
        self.context = torch.from_numpy(corpus.context_counts[train]).float()
        hot = torch.nn.functional.one_hot(torch.from_numpy(samples.target_N[train]), classes).float()
        self.target = hot * (1 - schedule.label_smoothing) + schedule.label_smoothing / classes

    def __len__(self) -> int:
        """Return the number of whole batches an epoch."""
        return len(self.query) // self.batch

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield, from batch number `start` on, inputs (N, 256), target probabilities (N, classes) and, where some are not, which labels are known (N, 1)."""
        generator = torch.Generator().manual_seed((self.seed << 20) + number)
        order = torch.randperm(len(self.query), generator=generator)
        kind = torch.rand(len(order), generator=generator)  # below `clean`: clean; above 1 - `recombined`: recombined
        copy = torch.zeros_like(order)
        if self.table.copies:
            copy = torch.randint(1, self.table.copies + 1, order.shape, generator=generator)
            copy[kind < self.clean] = 0
        known_N1 = None
        if self.schedule.recombined:
            mixed = kind >= 1 - self.schedule.recombined
            other = torch.randint(1, self.table.mixed + 1, order.shape, generator=generator)
            copy[mixed] = other[mixed] + self.table.copies
            known_N1 = (~mixed).float()[:, None]
        rows = copy * self.table.queries + self.query[order]
        for at in range(start * self.batch, len(self) * self.batch, self.batch):
            part = slice(at, at + self.batch)
            index = order[part]
            query = self.table.counts.index_select(0, rows[part])
            x = torch.cat([query, self.context.index_select(0, index)], 1)
            yield x, self.target.index_select(0, index), None if known_N1 is None else known_N1[part]
