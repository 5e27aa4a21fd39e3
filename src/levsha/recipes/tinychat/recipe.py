"""The recipe tinychat: a chat on query|response pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from levsha.data.pairs import (
    CONTEXT_BYTES,
    QUERY_BYTES,
    Pairs,
    Samples,
    make_samples,
    read_pairs,
    split_samples,
    text_rows,
)
from levsha.data.z80ai import read_z80ai
from levsha.errors import LevshaError
from levsha.evidence.metrics import accuracy, exact_replies, sample_logits
from levsha.evidence.plots import draw_accuracy_against_flash, draw_losses
from levsha.evidence.table import NAME, Column, chip_columns, number
from levsha.files import write_file
from levsha.jobs import Job
from levsha.net import Net
from levsha.recipes.base import Figure, Recipe
from levsha.recipes.pipeline import folder_of
from levsha.recipes.tinychat import words
from levsha.recipes.tinychat.net import BUCKETS, z80ai_graph
from levsha.recipes.tinychat.settings import TinyChat, preset
from levsha.recipes.tinychat.split import loss_curves, shown_queries, steps_of, train_split
from levsha.recipes.variant import Variant
from levsha.run import Run
from levsha.targets import find_target

PAIRS = "pairs.txt"


class TinyChatRecipe(Recipe[TinyChat, Pairs]):
    """Text in, an answer character by character out."""

    name = "tinychat"
    split_kinds = ("samples", "queries")
    shipped = "queries"  # whole queries are held out, so that all it is asked about is honest
    pictures = ("loss", "accuracy-flash")

    def preset(self, name: str) -> TinyChat:
        return preset(name)

    def read(self, settings: TinyChat) -> Pairs:
        if settings.data:
            return read_pairs(settings.data)
        with as_file(files("levsha.recipes.tinychat").joinpath("corpus.txt")) as path:
            return read_pairs(path)

    def check(self, settings: TinyChat, data: Pairs) -> None:
        if not settings.baseline:
            return
        given = read_z80ai(settings.baseline, 2 * BUCKETS)
        if given.charset != data.charset:
            raise LevshaError(
                f"{settings.baseline}: has {len(given.charset)} characters {given.charset!r}; the data has {len(data.charset)}: {data.charset!r}. Give the data it was trained on with --data."
            )
        if settings.from_baseline and tuple(given.widths[1:-1]) != settings.hidden:
            wanted = " ".join(map(str, given.widths[1:-1]))
            raise LevshaError(
                f"{settings.baseline}: has hidden layers of {wanted}; give --hidden {wanted} with --from-baseline."
            )

    def notices(self, data: Pairs) -> list[str]:
        return data.sentences()

    def about_data(self, settings: TinyChat, data: Pairs) -> dict[str, Any]:
        name, samples = str(settings.data or "the corpus that comes with Levsha"), len(make_samples(data).target_N)
        counts = {
            "pairs": len(data.queries),
            "unique_queries": len(data.unique_queries),
            "replies": len(set(data.responses)),
        }
        about = f"{name}: {counts['pairs']} pairs, {counts['unique_queries']} unique queries, {counts['replies']} replies, {samples} samples."
        known = {
            "file": name,
            "sha256": data.digest,
            "samples": samples,
            "characters": len(data.charset),
            "about": about,
        }
        return known | counts | {"reading": asdict(data.reading)}

    def keep(self, data: Pairs, folder: Path) -> None:
        lines = [query + b"|" + response for query, response in zip(data.queries, data.responses, strict=True)]
        write_file(folder / PAIRS, b"\n".join(lines) + b"\n")

    def kept(self, run: Run) -> Pairs:
        return read_pairs(run.folder / PAIRS)

    def variants(self, settings: TinyChat) -> list[Variant]:
        return settings.made

    def training_key(self, settings: TinyChat, data: Pairs) -> str:
        training = [asdict(part) for part in (settings.train, settings.prune, settings.quantise)]
        given = (
            read_z80ai(settings.baseline, 2 * BUCKETS).digest if settings.baseline and settings.from_baseline else ""
        )
        names = [variant.name for variant in settings.made]
        parts = [data.digest, settings.hidden, settings.seed, settings.splits, names, training, given]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def job(self, settings: TinyChat, data: Pairs, kind: str, seed: int) -> Job:
        return Job(f"{kind}-{seed}", train_split, (settings, data, kind, seed), steps_of(settings))

    def folder(self, out: Path, kind: str, seed: int) -> Path:
        return folder_of(out, kind, seed, "splits")

    def float_weights(self, run: Run, variant: str) -> Path:
        return self.folder(run.folder, self.shipped, run.results()["seeds"][0]) / f"{variant}.safetensors"

    def float_about(self, run: Run, data: Pairs, variant: str) -> dict[str, Any]:
        return words.float_about(variant, data.charset, data.folds)

    def vectors(self, data: Pairs, net: Net, count: int, seed: int) -> dict[str, np.ndarray]:
        return check_vectors(data, make_samples(data), count, seed)

    def lines(self, settings: TinyChat, data: Pairs, net: Net) -> list[str]:
        samples = make_samples(data)
        train, test = split_samples(samples, self.shipped, settings.seed)
        seen, unseen = np.unique(samples.query_N[train]), np.unique(samples.query_N[test])
        rng, half = np.random.default_rng([3000, settings.seed]), min(len(unseen), settings.prompts // 2)
        chosen = [*rng.permutation(seen)[: settings.prompts - half], *rng.permutation(unseen)[:half]]
        return [data.unique_queries[i].decode("utf-8", "ignore") for i in chosen]

    def figures(self, data: Pairs) -> tuple[Figure, ...]:
        return (
            Figure("accuracy_samples", "samples", "accuracy"), Figure("accuracy_queries", "queries", "accuracy"),
            Figure("perplexity", "samples", "perplexity"), Figure("exact_seen", "queries", "exact_seen"),
            Figure("exact_unseen", "queries", "exact_unseen"), Figure("agreement", "queries", "agreement"),
        )  # fmt: skip

    def columns(self, results: Mapping[str, Any]) -> tuple[Column, ...]:
        return (
            NAME, number("char %\nsamples", "accuracy_samples", ".1f"), number("char %\nunseen", "accuracy_queries", ".1f"),
            number("reply %\nseen", "exact_seen", ".1f"), number("reply %\nunseen", "exact_unseen", ".1f"),
            number("perp-\nlexity", "perplexity", ".2f"), *chip_columns("a character"),
        )  # fmt: skip

    def judged_by(self, data: Pairs) -> tuple[tuple[str, ...], Literal["accuracy", "r2"]]:
        return ("accuracy_queries", "accuracy_samples"), "accuracy"

    def choose(self, results: Mapping[str, Any]) -> str | None:
        return words.choose(results)

    def sentences(self, results: Mapping[str, Any]) -> list[str]:
        return words.sentences(results)

    def more(self, settings: TinyChat, data: Pairs, trained: Mapping[str, Any]) -> dict[str, Any]:
        said = trained[f"{self.shipped}-{settings.seed}"]["replies"]
        replies = []
        for at, (kind, i) in enumerate(shown_queries(settings, data)):
            query = data.unique_queries[i].decode("utf-8", "replace")
            listed = sorted(reply.decode("utf-8", "replace") for reply in data.replies[i])
            replies.append(
                {
                    "kind": kind,
                    "query": query,
                    "listed": listed,
                    "said": {name: texts[at] for name, texts in said.items()},
                }
            )
        return {"replies": replies, "z80ai": evaluate_z80ai(settings, data)}

    def examples(self, results: Mapping[str, Any]) -> str:
        return words.replies_table(results["replies"])

    def draw(self, settings: TinyChat, data: Pairs, results: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
        draw_losses(loss_curves(self.folder(settings.out, self.shipped, settings.seed), settings), settings.out)
        nearest = {"15 nearest training samples": results["references"]["nearest_15"]["accuracy_queries"]}
        built = [v for v in results["variants"] if v["flash_bytes"]]
        draw_accuracy_against_flash(built, nearest, find_target(settings.target).flash_bytes, settings.out)

    def next_steps(self, settings: TinyChat, results: Mapping[str, Any]) -> list[str]:
        if not results["recommended"]:
            return []
        return [f"Chat with it: levsha chat {settings.out} --target {settings.target}"]


RECIPE = TinyChatRecipe()


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


def evaluate_z80ai(settings: TinyChat, pairs: Pairs) -> dict[str, Any] | None:
    """Return how z80ai's shipped net does on all of the data, in its own integer semantics."""
    if not settings.baseline:
        return None
    from levsha.applications.chat import graph_predictor

    predict = graph_predictor(z80ai_graph(read_z80ai(settings.baseline, 2 * BUCKETS)))
    samples = make_samples(pairs)
    logits = sample_logits(predict, pairs, samples, np.arange(len(samples.target_N)))
    return {
        "file": str(settings.baseline),
        "accuracy_all": accuracy(logits, samples.target_N),
        "exact_all": exact_replies(predict, pairs, np.arange(len(pairs.unique_queries))),
    }
