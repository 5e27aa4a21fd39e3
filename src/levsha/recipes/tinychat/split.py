"""The job of one split, in a process of its own: every variant made, one after the other, its progress said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.pairs import Pairs, make_samples, split_samples
from levsha.data.z80ai import read_z80ai
from levsha.jobs import News, say
from levsha.recipes.pipeline import folder_of
from levsha.recipes.tinychat.net import BUCKETS
from levsha.recipes.tinychat.settings import GIVEN, TinyChat
from levsha.recipes.variant import Variant
from levsha.store import read_safetensors

SHOWN_QUERIES = 8  # of each kind, in the examples of replies


def stages_of(settings: TinyChat) -> list[Variant]:
    """Return the variants in the order they are made, with those that others start from."""
    baseline = Variant("baseline")
    every = [
        v
        for variant in settings.made
        for v in ((variant,) if variant.base == GIVEN else (baseline, variant.source, variant))
    ]
    return list(dict.fromkeys(every))


def steps_of(settings: TinyChat) -> int:
    """Return how many steps the job of a split says: its epochs, and one more a variant."""
    return sum(_epochs(settings, variant) + 1 for variant in stages_of(settings)) + 1


def _epochs(settings: TinyChat, variant: Variant) -> int:
    if variant.base == GIVEN:
        return 0
    if variant.format:
        return settings.schedule(variant.format.name).epochs
    teaching = settings.train.teachers if settings.train.teachers > 1 else 0
    return settings.train.epochs * (1 + teaching) if variant.base == "baseline" else settings.prune.epochs


def train_split(settings: TinyChat, pairs: Pairs, by: str, seed: int) -> dict[str, Any]:
    """Make every variant of one split; return the metrics by variant and the reference predictors."""
    from levsha.recipes.tinychat.chain import Chain  # torch is imported only where it trains
    from levsha.recipes.tinychat.samples import Corpus
    from levsha.recipes.tinychat.score import references

    corpus, job, finished, trained = Corpus(pairs), f"{by}-{seed}", 0, 0

    def report(name: str, progress: Any) -> None:
        nonlocal trained  # epochs of the nets that this variant needed before it
        epoch = int(progress.line["epoch"])
        loss, speed = progress.line["loss"], progress.samples_a_second / 1000
        text = f"{name}  {epoch}/{progress.epochs}  loss {loss:.3f}  {speed:.0f}k samples/s"
        say(News(job, finished + trained + epoch, text))
        trained += progress.epochs if epoch == progress.epochs else 0

    given = read_z80ai(settings.baseline, 2 * BUCKETS) if settings.baseline and settings.from_baseline else None
    folder = folder_of(settings.out, by, seed, "splits")
    chain = Chain(settings, corpus, by, seed, split_samples(corpus.samples, by, seed), folder, report, given)
    say(News(job, 0, "reference predictors"))
    made = references(corpus, by, seed, (chain.train, chain.test), folder)
    metrics: dict[str, Any] = {"references": {name: {"accuracy": share} for name, share in made.items()}}
    finished += 1
    for variant in stages_of(settings):
        say(News(job, finished, variant.name))
        metrics[variant.name] = chain.make(variant) | {"agreement": chain.agreement(variant)}
        finished, trained = finished + _epochs(settings, variant) + 1, 0
    if (by, seed) == ("queries", settings.seed):
        queries = [corpus.pairs.unique_queries[i] for _, i in shown_queries(settings, pairs)]
        metrics["replies"] = {variant.name: chain.replies(variant, queries) for variant in settings.made}
    say(News(job, finished, "done"))
    return metrics


def shown_queries(settings: TinyChat, pairs: Pairs) -> list[tuple[str, int]]:
    """Return the queries whose answers are shown: ("seen" or "unseen", index), on the split that ships."""
    samples = make_samples(pairs)
    train, test = split_samples(samples, "queries", settings.seed)
    rng = np.random.default_rng([4000, settings.seed])
    return [
        (kind, int(i))
        for kind, index in (("seen", train), ("unseen", test))
        for i in rng.permutation(np.unique(samples.query_N[index]))[:SHOWN_QUERIES]
    ]


def loss_curves(folder: Path, settings: TinyChat) -> dict[str, list[float]]:
    """Return the training loss by epoch of every variant of a split."""
    curves = {}
    for variant in settings.made:
        if variant.base != GIVEN:
            metadata, _ = read_safetensors(folder / f"{variant.name}.safetensors")
            curves[variant.name] = json.loads(metadata["about"])["loss"]
    return curves
