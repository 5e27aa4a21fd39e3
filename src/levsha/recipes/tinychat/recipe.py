"""The recipe tinychat, stage by stage: what the pipeline calls, in this order."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from levsha.data.pairs import Pairs, Samples, make_samples, read_pairs, split_samples
from levsha.errors import LevshaError
from levsha.evidence.check import tool_versions
from levsha.evidence.metrics import accuracy, exact_replies, sample_logits
from levsha.files import read_kept, write_file
from levsha.jobs import Job, News, say
from levsha.recipes.check import certificate_path, digest
from levsha.recipes.tinychat.net import read_z80ai
from levsha.recipes.tinychat.predict import graph_predictor
from levsha.recipes.tinychat.settings import TinyChat, parse_variant
from levsha.recipes.tinychat.ship import SHIP_VERSION, Trial, ship, source_digest
from levsha.recipes.tinychat.vectors import check_vectors, prompts
from levsha.store import load_graph, read_safetensors
from levsha.targets import TARGETS

SPLITS = ("samples", "queries")
SHOWN_QUERIES = 8  # of each kind, in the examples of replies


def read_data(settings: TinyChat) -> Pairs:
    """Return the pairs of --data, or of the corpus that comes with Levsha."""
    if settings.data:
        return read_pairs(settings.data)
    with as_file(files("levsha.recipes.tinychat").joinpath("corpus.txt")) as path:
        return read_pairs(path)


def split_folder(settings: TinyChat, by: str, seed: int) -> Path:
    """Return where the nets of one split lie."""
    return settings.out / "splits" / f"{by}-{seed}"


def shipped_split(settings: TinyChat, pairs: Pairs) -> tuple[Samples, np.ndarray, np.ndarray]:
    """Return the split whose nets go to the chip: by unique query, first seed, so that all it is asked about is honest."""
    samples = make_samples(pairs)
    return (samples, *split_samples(samples, "queries", settings.seed))


def training_jobs(settings: TinyChat, pairs: Pairs) -> list[Job]:
    """Return one job a split."""
    seeds = range(settings.seed, settings.seed + settings.splits)
    steps = sum(_epochs(settings, name) + 1 for name in _stages(settings)) + 1
    return [Job(f"{by}-{seed}", train_split, (settings, pairs, by, seed), steps) for seed in seeds for by in SPLITS]


def _stages(settings: TinyChat) -> list[str]:
    """The variants in the order they are made, with those that others start from."""
    names = [name for variant in settings.variants for name in ("baseline", parse_variant(variant)[0], variant)]
    return list(dict.fromkeys(names))


def _epochs(settings: TinyChat, name: str) -> int:
    base, weights = parse_variant(name)
    if weights:
        return settings.schedule(weights).epochs
    teaching = settings.train.teachers if settings.train.teachers > 1 else 0
    return settings.train.epochs * (1 + teaching) if base == "baseline" else settings.prune.epochs


def train_split(settings: TinyChat, pairs: Pairs, by: str, seed: int) -> dict[str, Any]:
    """Make every variant of one split; return the metrics by variant and the reference predictors. Runs in its own process."""
    from levsha.recipes.tinychat.chain import Chain  # torch is imported only where it trains
    from levsha.recipes.tinychat.samples import Corpus

    corpus, job, finished, trained = Corpus(pairs), f"{by}-{seed}", 0, 0

    def report(name: str, progress: Any) -> None:
        nonlocal trained  # epochs of the nets that this variant needed before it
        epoch = int(progress.line["epoch"])
        loss, speed = progress.line["loss"], progress.samples_a_second / 1000
        say(
            News(
                job,
                finished + trained + epoch,
                f"{name}  {epoch}/{progress.epochs}  loss {loss:.3f}  {speed:.0f}k samples/s",
            )
        )
        trained += progress.epochs if epoch == progress.epochs else 0

    chain = Chain(
        settings, corpus, by, seed, split_samples(corpus.samples, by, seed), split_folder(settings, by, seed), report
    )
    say(News(job, 0, "reference predictors"))
    metrics: dict[str, Any] = {"references": chain.references()}
    finished += 1
    for name in _stages(settings):
        say(News(job, finished, name))
        metrics[name] = chain.make(name) | {"agreement": chain.agreement(name)}
        finished, trained = finished + _epochs(settings, name) + 1, 0
    if (by, seed) == ("queries", settings.seed):
        queries = [corpus.pairs.unique_queries[i] for _, i in shown_queries(settings, pairs)]
        metrics["replies"] = {name: chain.replies(name, queries) for name in settings.variants}
    say(News(job, finished, "done"))
    return metrics


def shipping_jobs(settings: TinyChat, pairs: Pairs) -> list[Job]:
    """Return one job for each integer variant."""
    return [Job(name, ship_variant, (settings, pairs, name), 3) for name in settings.variants if parse_variant(name)[1]]


def nets_differ(settings: TinyChat) -> bool:
    """Say whether any net that is about to ship differs from the one in RUN/nets."""
    for name in settings.variants:
        new = split_folder(settings, "queries", settings.seed) / f"{name}.net.safetensors"
        old = settings.out / "nets" / f"{name}.safetensors"
        if parse_variant(name)[1] and (not old.exists() or old.read_bytes() != new.read_bytes()):
            return True
    return False


def ship_variant(settings: TinyChat, pairs: Pairs, name: str) -> dict[str, Any]:
    """Copy a net to RUN/nets, put it on its chip and return its row; a row that is up to date is read. Runs in its own process."""
    source = split_folder(settings, "queries", settings.seed) / f"{name}.net.safetensors"
    graph = load_graph(source)[0]
    write_file(settings.out / "nets" / f"{name}.safetensors", source.read_bytes())
    steps: list[str] = []

    def report(text: str) -> None:
        steps.append(text)
        say(News(name, len(steps) - 1, text))

    samples, train, test = shipped_split(settings, pairs)
    seen, unseen = np.unique(samples.query_N[train]), np.unique(samples.query_N[test])
    kept = settings.out / "measurements" / f"{name}.json"
    s = settings
    target = TARGETS[s.target]
    decides = [SHIP_VERSION, source_digest(graph, name), pairs.digest, s.target, s.vectors, s.prompts, s.seed]
    decides += [target.missing(), tool_versions(target)]
    row = read_kept(kept)
    if row.get("decides") != decides or not _still_there(settings, name, row):
        trial = Trial(
            prompts(pairs, seen, unseen, settings.prompts, settings.seed),
            check_vectors(pairs, samples, settings.vectors, settings.seed),
        )
        row = ship(settings, trial, graph, name, report) | {"decides": decides}
        write_file(kept, json.dumps(row))
    say(News(name, 3, str(row["note"] or "done")))
    return row


def _still_there(settings: TinyChat, name: str, row: dict[str, Any]) -> bool:
    """Say whether the firmware that was measured, and its certificate, are where they were written."""
    if not row["fits"]:
        return True
    elf = settings.out / "firmware" / name / "firmware.elf"
    certified = certificate_path(settings.out, name, TARGETS[settings.target]).exists()
    return certified and elf.exists() and digest(elf) == row["firmware_sha256"]


def evaluate_z80ai(settings: TinyChat, pairs: Pairs) -> dict[str, Any] | None:
    """Return how z80ai's shipped net does on all of the data, in its own integer semantics."""
    if not settings.baseline:
        return None
    graph, charset = read_z80ai(settings.baseline)
    if charset != pairs.charset:
        raise LevshaError(
            f"{settings.baseline}: has {len(charset)} characters {charset!r}; the data has {len(pairs.charset)}: {pairs.charset!r}. Give the data it was trained on with --data."
        )
    predict, samples = graph_predictor(graph), make_samples(pairs)
    logits = sample_logits(predict, pairs, samples, np.arange(len(samples.target_N)))
    return {
        "file": str(settings.baseline),
        "accuracy_all": accuracy(logits, samples.target_N),
        "exact_all": exact_replies(predict, pairs, np.arange(len(pairs.unique_queries))),
    }


def shown_queries(settings: TinyChat, pairs: Pairs) -> list[tuple[str, int]]:
    """Return the queries whose answers are shown: ("seen" or "unseen", index), on the shipped split."""
    samples, train, test = shipped_split(settings, pairs)
    rng = np.random.default_rng([4000, settings.seed])
    return [
        (kind, int(i))
        for kind, index in (("seen", train), ("unseen", test))
        for i in rng.permutation(np.unique(samples.query_N[index]))[:SHOWN_QUERIES]
    ]


def example_replies(settings: TinyChat, pairs: Pairs, said: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Return each shown query with its listed responses and what each variant said."""
    shown = []
    for at, (kind, i) in enumerate(shown_queries(settings, pairs)):
        query = pairs.unique_queries[i].decode("utf-8", "replace")
        listed = sorted(reply.decode("utf-8", "replace") for reply in pairs.replies[i])
        answers = {name: replies[at] for name, replies in said.items()}
        shown.append({"kind": kind, "query": query, "listed": listed, "said": answers})
    return shown


def loss_curves(settings: TinyChat) -> dict[str, list[float]]:
    """Return the training loss by epoch of every variant on the shipped split."""
    curves = {}
    for name in settings.variants:
        metadata, _ = read_safetensors(split_folder(settings, "queries", settings.seed) / f"{name}.safetensors")
        curves[name] = json.loads(metadata["about"])["loss"]
    return curves
