"""One split, one seed: from data to every variant, trained, lowered, evaluated and saved.  A finished variant is not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from levsha.applications.chat import Predict, decode, graph_predictor
from levsha.data.z80ai import Z80aiNet
from levsha.evidence.metrics import sample_logits
from levsha.formats import FORMATS, Format, loss_verdict
from levsha.ir import constant_bytes
from levsha.lower import Lowered
from levsha.recipes.tinychat.integer import explain_loss, lower_chat
from levsha.recipes.tinychat.net import z80ai_graph
from levsha.recipes.tinychat.samples import ChatBatches, Corpus, QueryTable
from levsha.recipes.tinychat.score import float_predictor, score
from levsha.recipes.tinychat.settings import GIVEN, TinyChat, top_of
from levsha.recipes.tinychat.shelf import Shelf
from levsha.recipes.variant import Variant
from levsha.store import load_graph
from levsha.train.checkpoint import Checkpoints
from levsha.train.log import MetricsLog
from levsha.train.mlp import Mlp, Quantisation, calibrate, estimate_norm, forward, init_mlp, prune, with_affine
from levsha.train.norm_step import teacher_of, train
from levsha.train.schedule import Schedule
from levsha.train.surroundings import Progress

Say = Callable[[str, Progress], None]  # variant, what its training reports after an epoch
RECIPE_VERSION = 1  # raise it when the same settings would train differently
CHECKPOINT_SECONDS = 2.0
DIAGNOSED = 2000  # held-out samples on which the cause of a loss is looked for
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
        given: Z80aiNet | None = None,
        trainer: Callable[..., tuple[Mlp, list[float]]] = train,
    ) -> None:
        self.settings, self.corpus, self.by, self.seed, self.say = settings, corpus, by, seed, say
        self.shelf = Shelf(folder, corpus.pairs, f"{by}-{seed}")
        self.given, self.trainer = given, trainer
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

    def key(self, variant: Variant) -> str:
        """Return the hash of everything that decides how this variant comes out."""
        s, weights = self.settings, variant.format
        parts: list[Any] = [asdict(s.train)]
        parts += [asdict(s.prune)] if variant.base == "pruned" else []
        if weights:
            parts += [weights.name, asdict(s.schedule(weights.name)), s.quantise.percentile, top_of(weights)]
        return self._hash(parts)

    def _hash(self, parts: list[Any]) -> str:
        every = [RECIPE_VERSION, self.corpus.pairs.digest, self.by, self.seed, self.settings.hidden, *parts]
        every += [self.given.digest] if self.given else []
        return hashlib.sha256(json.dumps(every).encode()).hexdigest()

    def make(self, variant: Variant) -> dict[str, Any]:
        """Make a variant unless it is there; return its metrics."""
        if variant.base == GIVEN:
            return self._make_given(variant)
        name, shelf = variant.name, self.shelf
        kept = shelf.kept(name, self.key(variant))
        if kept and (not variant.format or shelf.net_hash(variant) == kept[1].get("net_sha256")):
            self.made[name], about = kept
            return about["metrics"] | self._finding(kept[0], variant, about["metrics"])
        mlp, history = (kept[0], kept[1]["loss"]) if kept else self._train(variant)
        about: dict[str, Any] = {"key": self.key(variant), "loss": history}
        lowered = self._lower(mlp, variant.format) if variant.format else None
        graph = lowered.graph if lowered else None
        if graph:
            about["net_sha256"] = shelf.save_net(graph, variant)
        metrics: dict[str, Any] = self._score(graph_predictor(graph) if graph else float_predictor(mlp))
        metrics |= self._finding(mlp, variant, metrics) | ({"rounding": list(lowered.findings)} if lowered else {})
        metrics |= {
            "parameters": mlp.parameters,
            "weight_bytes": constant_bytes(graph) if graph else 4 * mlp.parameters,
        }
        pruned = variant.base == "pruned"
        metrics |= {"keep": mlp.parameters / self._ready(Variant("baseline")).parameters if pruned else 1.0}
        shelf.save(mlp, name, about | {"metrics": metrics})
        self.made[name] = mlp
        return metrics

    def _make_given(self, variant: Variant) -> dict[str, Any]:
        """The net that the chain starts from, as it is."""
        assert self.given is not None
        graph = z80ai_graph(self.given)
        self.shelf.save_net(graph, variant)
        parameters = sum(w.size + b.size for w, b in self.given.layers)
        return self._score(graph_predictor(graph)) | {"parameters": parameters, "weight_bytes": constant_bytes(graph)}

    def _score(self, predict: Predict) -> dict[str, float]:
        return score(predict, self.corpus, self.train, self.test)

    def _ready(self, variant: Variant) -> Mlp:
        if variant.name not in self.made:
            self.make(variant)
        return self.made[variant.name]

    def _train(self, variant: Variant) -> tuple[Mlp, list[float]]:
        s, key, name = self.settings, self.key(variant), variant.name
        if variant.format:
            quantisation = Quantisation(variant.format, top_of(variant.format))
            start = calibrate(self._ready(variant.source), self.clean_inputs, quantisation.top, s.quantise.percentile)
            stage = Stage(name, key, s.schedule(variant.format.name), self.seed)
            return self._fit(stage, start, self._all_teachers, quantisation)
        if variant.base == "pruned":
            start = prune(self._ready(Variant("baseline")), s.prune.keep)
            return self._fit(Stage(name, key, s.prune, self.seed), start, self._all_teachers)
        seed = self.seed + BASELINE_SEED if s.train.teachers > 1 else self.seed
        start = self._from_given(self.given) if self.given else self._untrained(seed)
        return self._fit(Stage(name, key, s.train, seed), start, self._teachers)

    def _untrained(self, seed: int) -> Mlp:
        return init_mlp([self.clean_inputs.shape[1], *self.settings.hidden, len(self.corpus.pairs.charset)], seed)

    def _from_given(self, net: Z80aiNet) -> Mlp:
        """A float net that computes what z80ai's integers do, its rounding apart: (32 x W + b) / 4, then W h + b, each over 4."""
        factors = [8.0, *(0.25 for _ in net.layers[1:])]
        layers = [
            (torch.from_numpy(w).float(), f, torch.from_numpy(b).float() / 4)
            for (w, b), f in zip(net.layers, factors, strict=True)
        ]
        return with_affine(layers, self.clean_inputs)

    def _teachers(self) -> list[Mlp]:
        """The nets that learn from labels alone, where there is more than the baseline itself."""
        s = self.settings.train
        names = [f"teacher-{index}" for index in range(s.teachers)] if s.teachers > 1 else []
        for index, name in enumerate(names):
            if name in self.made:
                continue
            seed, alone = self.seed + 100 * index, replace(s, distil=0.0, recombined=0.0, teachers=1)
            stage = Stage(name, self._hash([seed, asdict(alone)]), alone, seed)
            kept = self.shelf.kept(stage.name, stage.key)
            if kept:
                self.made[name] = kept[0]
            else:
                self.made[name], history = self._fit(stage, self._untrained(seed), list)
                self.shelf.save(self.made[name], name, {"key": stage.key, "loss": history})
        return [self.made[name] for name in names]

    def _all_teachers(self) -> list[Mlp]:
        return [self._ready(Variant("baseline")), *self._teachers()]

    def _fit(
        self, stage: Stage, start: Mlp, teachers: Callable[[], list[Mlp]], quantisation: Quantisation | None = None
    ) -> tuple[Mlp, list[float]]:
        schedule, history = stage.schedule, []
        nets = teachers() if schedule.distil else []
        if schedule.epochs:
            clean = self.settings.train.clean
            batches = ChatBatches(self.corpus, self.train, self.table, schedule, clean, stage.seed)
            say = lambda progress: self.say(stage.name, progress)  # noqa: E731
            log = MetricsLog(self.shelf.checkpoints(stage.name) / "metrics.jsonl")
            teacher = teacher_of(nets, schedule.temperature) if nets else None
            checkpoints = Checkpoints(self.shelf.checkpoints(stage.name), stage.key, CHECKPOINT_SECONDS)
            start, history = self.trainer(
                start, batches, schedule, quantisation, teacher, stage.seed, say, checkpoints, log
            )
        return estimate_norm(start, self.clean_inputs, quantisation), history

    def _lower(self, mlp: Mlp, weights: Format) -> Lowered:
        return lower_chat(mlp, weights, self.clean_inputs, self.corpus.pairs.charset)

    def _finding(self, mlp: Mlp, variant: Variant, metrics: dict[str, Any]) -> dict[str, str]:
        """Which layer and what cause cost most, where the integer net is much worse than its float source by this run's margin."""
        weights, margin = variant.format, self.settings.margin("accuracy")
        source = self.make(variant.source)["accuracy"] if weights else 0.0
        if not weights or loss_verdict(source, metrics["accuracy"], weights, "accuracy", margin):
            return {}
        some = self.test[:DIAGNOSED]
        trained = weights if self.settings.schedule(weights.name).epochs else None
        x_NI, target_N = self.corpus.inputs(some), self.corpus.samples.target_N[some]
        return {"finding": explain_loss(self._lower(mlp, weights), x_NI, target_N, source, trained)}

    def replies(self, variant: Variant, queries: list[bytes]) -> list[str]:
        """Return what a variant that was made answers to queries."""
        answers = decode(self._predictor(variant), queries, self.corpus.pairs.charset)
        return [answer.decode("utf-8", "replace") for answer in answers]

    def agreement(self, variant: Variant) -> float | None:
        """Return the share of held-out samples, in per cent, for which the integer net chooses as the net that was trained.

        They may differ where batch normalisation was rounded to integers; what is shipped and reported is the integer net.
        """
        if not variant.format or variant.base == GIVEN:
            return None
        quantisation = Quantisation(variant.format, top_of(variant.format))
        trained = forward(self.made[variant.name], self.corpus.inputs(self.test), quantisation)
        logits = sample_logits(self._predictor(variant), self.corpus.pairs, self.corpus.samples, self.test)
        return 100 * float((trained[-1].argmax(1).numpy() == logits.argmax(1)).mean())

    def _predictor(self, variant: Variant) -> Predict:
        if variant.format:
            return graph_predictor(load_graph(self.shelf.net_path(variant))[0])
        return float_predictor(self.made[variant.name])
