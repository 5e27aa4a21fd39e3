"""One split, one seed: from data to every variant, trained, lowered, evaluated and saved.  A finished variant is not made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from levsha.errors import LevshaError
from levsha.evidence.metrics import (
    Predict,
    decode,
    reference_predictors,
    sample_logits,
)
from levsha.files import read_kept, write_file
from levsha.formats import FORMATS
from levsha.ir import Graph
from levsha.recipes.tinychat.net import INPUT_TOTAL, build_graph
from levsha.recipes.tinychat.predict import graph_predictor
from levsha.recipes.tinychat.samples import ChatBatches, Corpus, QueryTable
from levsha.recipes.tinychat.score import float_predictor, score, weight_bytes
from levsha.recipes.tinychat.settings import TinyChat, parse_variant, quantisation_of
from levsha.store import graph_hash, load_graph, save_graph
from levsha.train.checkpoint import Checkpoints
from levsha.train.files import load_mlp, save_mlp
from levsha.train.log import MetricsLog
from levsha.train.lower import lower_mlp
from levsha.train.mlp import Mlp, Quantisation, calibrate, estimate_norm, forward, init_mlp, prune
from levsha.train.norm_step import teacher_of, train
from levsha.train.schedule import Schedule
from levsha.train.surroundings import Progress

Say = Callable[[str, Progress], None]  # variant, what its training reports after an epoch
RECIPE_VERSION = 1  # raise it when the same settings would train differently
CHECKPOINT_SECONDS = 2.0
BASELINE_SEED = 50  # a baseline that has teachers must not start where the first of them did


@dataclass(frozen=True)
class Stage:
    """One training: the name of the net it makes, the hash of all that decides how it comes out, its settings, its seed."""

    name: str
    key: str
    schedule: Schedule
    seed: int


class Chain:
    """The nets of one split; each is made when it is first asked for, or read from its file if that is up to date."""

    def __init__(
        self,
        settings: TinyChat,
        corpus: Corpus,
        by: str,
        seed: int,
        split: tuple[np.ndarray, np.ndarray],
        folder: Path,
        say: Say,
    ) -> None:
        self.settings, self.corpus, self.by, self.seed, self.folder, self.say = settings, corpus, by, seed, folder, say
        self.train, self.test = split
        self.made: dict[str, Mlp] = {}

    @cached_property
    def clean_inputs(self) -> torch.Tensor:
        """The training samples' inputs without noise."""
        return self.corpus.inputs(self.train)

    @cached_property
    def table(self) -> QueryTable:
        """Every query, clean, noisy and, if any stage wants them, recombined."""
        s = self.settings
        schedules = [s.train, s.prune, *(s.schedule(name) for name in FORMATS)]
        recombine = any(schedule.recombined for schedule in schedules)
        return QueryTable(self.corpus, self.train, s.train.noisy_queries, recombine, self.seed)

    def key(self, name: str) -> str:
        """Return the hash of everything that decides how this variant comes out."""
        base, weights = parse_variant(name)
        s = self.settings
        parts: list[Any] = [asdict(s.train)]
        parts += [asdict(s.prune)] if base == "pruned" else []
        parts += (
            [weights, asdict(s.schedule(weights)), s.quantise.percentile, quantisation_of(weights)[1]]
            if weights
            else []
        )
        return self._hash(parts)

    def _hash(self, parts: list[Any]) -> str:
        every = [RECIPE_VERSION, self.corpus.pairs.digest, self.by, self.seed, self.settings.hidden, *parts]
        return hashlib.sha256(json.dumps(every).encode()).hexdigest()

    def make(self, name: str) -> dict[str, Any]:
        """Make a variant unless it is there; return its metrics."""
        net_path = self.folder / f"{name}.net.safetensors"
        weights = parse_variant(name)[1]
        kept = self._kept(name, self.key(name))
        if kept and (not weights or self._net_hash(net_path) == kept[1].get("net_sha256")):
            self.made[name], about = kept
            return about["metrics"]
        mlp, history = self._train(name)
        graph = self._lower(mlp, weights) if weights else None
        about: dict[str, Any] = {"key": self.key(name), "loss": history}
        if graph:
            charset = list(self.corpus.pairs.charset)
            about["net_sha256"] = save_graph(
                graph, net_path, {"recipe": "tinychat", "variant": name, "charset": charset}
            )
        metrics = score(graph_predictor(graph) if graph else float_predictor(mlp), self.corpus, self.train, self.test)
        metrics |= {"parameters": mlp.parameters, "weight_bytes": weight_bytes(mlp, graph)}
        self._save(mlp, name, about | {"metrics": metrics})
        self.made[name] = mlp
        return metrics

    @staticmethod
    def _net_hash(path: Path) -> str | None:
        try:
            return graph_hash(load_graph(path)[0])
        except LevshaError:
            return None

    def _kept(self, name: str, key: str) -> tuple[Mlp, dict[str, Any]] | None:
        """A net that an earlier run finished with the same key; none if its file is missing or damaged: it is made again."""
        try:
            mlp, about = load_mlp(self.folder / f"{name}.safetensors")
        except LevshaError:
            return None
        return (mlp, about) if about.get("key") == key else None

    def _ready(self, name: str) -> Mlp:
        if name not in self.made:
            self.make(name)
        return self.made[name]

    def _train(self, name: str) -> tuple[Mlp, list[float]]:
        base, weights = parse_variant(name)
        s, key = self.settings, self.key(name)
        if weights:
            quantisation = Quantisation(*quantisation_of(weights)[:2])
            start = calibrate(self._ready(base), self.clean_inputs, quantisation.top, s.quantise.percentile)
            stage = Stage(name, key, s.schedule(weights), self.seed)
            return self._fit(stage, start, self._all_teachers, quantisation)
        if base == "pruned":
            start = prune(self._ready("baseline"), s.prune.keep)
            return self._fit(Stage(name, key, s.prune, self.seed), start, self._all_teachers)
        seed = self.seed + BASELINE_SEED if s.train.teachers > 1 else self.seed
        return self._fit(Stage(name, key, s.train, seed), self._untrained(seed), self._teachers)

    def _untrained(self, seed: int) -> Mlp:
        return init_mlp([self.clean_inputs.shape[1], *self.settings.hidden, len(self.corpus.pairs.charset)], seed)

    def _teachers(self) -> list[Mlp]:
        """The nets that learn from labels alone, where there is more than the baseline itself."""
        s = self.settings.train
        names = [f"teacher-{index}" for index in range(s.teachers)] if s.teachers > 1 else []
        for index, name in enumerate(names):
            if name in self.made:
                continue
            seed, alone = self.seed + 100 * index, replace(s, distil=0.0, recombined=0.0, teachers=1)
            stage = Stage(name, self._hash([seed, asdict(alone)]), alone, seed)
            kept = self._kept(stage.name, stage.key)
            if kept:
                self.made[name] = kept[0]
            else:
                self.made[name], history = self._fit(stage, self._untrained(seed), list)
                self._save(self.made[name], name, {"key": stage.key, "loss": history})
        return [self.made[name] for name in names]

    def _all_teachers(self) -> list[Mlp]:
        return [self._ready("baseline"), *self._teachers()]

    def _fit(
        self, stage: Stage, start: Mlp, teachers: Callable[[], list[Mlp]], quantisation: Quantisation | None = None
    ) -> tuple[Mlp, list[float]]:
        schedule, history = stage.schedule, []
        nets = teachers() if schedule.distil else []
        if schedule.epochs:
            clean = self.settings.train.clean
            batches = ChatBatches(self.corpus, self.train, self.table, schedule, clean, stage.seed)
            say = lambda progress: self.say(stage.name, progress)  # noqa: E731
            log = MetricsLog(self._checkpoints(stage.name) / "metrics.jsonl")
            teacher = teacher_of(nets, schedule.temperature) if nets else None
            checkpoints = Checkpoints(self._checkpoints(stage.name), stage.key, CHECKPOINT_SECONDS)
            start, history = train(start, batches, schedule, quantisation, teacher, stage.seed, say, checkpoints, log)
        return estimate_norm(start, self.clean_inputs, quantisation), history

    def _checkpoints(self, name: str) -> Path:
        return self.folder / f"{name}.checkpoints"

    def _save(self, mlp: Mlp, name: str, about: dict[str, Any]) -> None:
        about |= {"variant": name, "split": f"{self.by}-{self.seed}", "charset": list(self.corpus.pairs.charset)}
        save_mlp(mlp, self.folder / f"{name}.safetensors", about)
        log = self._checkpoints(name) / "metrics.jsonl"
        if log.exists():
            log.replace(self.folder / f"{name}.metrics.jsonl")  # beside the net it is of, as soon as that is there
        shutil.rmtree(self._checkpoints(name), ignore_errors=True)

    def _lower(self, mlp: Mlp, weights: str) -> Graph:
        grid, top, sum_bits = quantisation_of(weights)
        layers = lower_mlp(mlp, Quantisation(grid, top), self.clean_inputs, INPUT_TOTAL, sum_bits)
        return build_graph(layers, grid, self.corpus.pairs.charset, sum_bits)

    def replies(self, name: str, queries: list[bytes]) -> list[str]:
        """Return what a variant that was made answers to queries."""
        answers = decode(self._predictor(name), queries, self.corpus.pairs.charset)
        return [answer.decode("utf-8", "replace") for answer in answers]

    def agreement(self, name: str) -> float | None:
        """Return the share of held-out samples, in per cent, for which the integer net chooses as the net that was trained.

        They may differ where batch normalisation was rounded to integers; what is shipped and reported is the integer net.
        """
        weights = parse_variant(name)[1]
        if not weights:
            return None
        trained = forward(self.made[name], self.corpus.inputs(self.test), Quantisation(*quantisation_of(weights)[:2]))
        logits = sample_logits(self._predictor(name), self.corpus.pairs, self.corpus.samples, self.test)
        return 100 * float((trained[-1].argmax(1).numpy() == logits.argmax(1)).mean())

    def _predictor(self, name: str) -> Predict:
        if parse_variant(name)[1]:
            return graph_predictor(load_graph(self.folder / f"{name}.net.safetensors")[0])
        return float_predictor(self.made[name])

    def references(self) -> dict[str, float]:
        """Return the accuracies of the predictors that need no training, made once."""
        path = self.folder / "references.json"
        key = hashlib.sha256(f"{RECIPE_VERSION} {self.corpus.pairs.digest} {self.by} {self.seed}".encode()).hexdigest()
        kept = read_kept(path)
        if kept.get("key") == key:
            return kept["references"]
        queries = self.corpus.query_counts[self.corpus.samples.query_N].astype(np.int64)
        found = reference_predictors(
            queries, self.corpus.context_counts.astype(np.int64), self.corpus.samples, self.train, self.test
        )
        write_file(path, json.dumps({"key": key, "references": found}))
        return found
