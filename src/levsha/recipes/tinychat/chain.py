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

from levsha.applications.chat import Chat, Predict, decode, graph_predictor
from levsha.data.z80ai import Z80aiNet
from levsha.errors import LevshaError, warn
from levsha.evidence.metrics import accuracy, exact_replies, perplexity, reference_predictors, sample_logits
from levsha.files import read_kept, write_file
from levsha.formats import FORMATS, Format, loss_verdict
from levsha.ir import Graph, constant_bytes
from levsha.lower import Lowered
from levsha.recipes.tinychat.integer import explain_loss, lower_chat
from levsha.recipes.tinychat.net import CONTEXT_NGRAMS, QUERY_NGRAMS, meaning_of, z80ai_graph
from levsha.recipes.tinychat.samples import ChatBatches, Corpus, QueryTable
from levsha.recipes.tinychat.settings import GIVEN, TinyChat, top_of
from levsha.recipes.variant import Variant
from levsha.run import Net
from levsha.store import graph_hash, load_graph
from levsha.train.checkpoint import Checkpoints
from levsha.train.files import load_mlp, save_mlp
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
    ) -> None:
        self.settings, self.corpus, self.by, self.seed, self.folder, self.say = settings, corpus, by, seed, folder, say
        self.given = given
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
        name, path = variant.name, self.net_path(variant)
        kept = self._kept(name, self.key(variant))
        if kept and (not variant.format or self._net_hash(path) == kept[1].get("net_sha256")):
            self.made[name], about = kept
            return about["metrics"]
        mlp, history = self._train(variant)
        about: dict[str, Any] = {"key": self.key(variant), "loss": history}
        lowered = self._lower(mlp, variant.format) if variant.format else None
        graph = lowered.graph if lowered else None
        if graph:
            about["net_sha256"] = self._save_net(graph, variant)
        metrics: dict[str, Any] = self._score(graph_predictor(graph) if graph else float_predictor(mlp))
        metrics |= self._finding(lowered, variant, metrics) if lowered else {}
        metrics |= {
            "parameters": mlp.parameters,
            "weight_bytes": constant_bytes(graph) if graph else 4 * mlp.parameters,
        }
        pruned = variant.base == "pruned"
        metrics |= {"keep": mlp.parameters / self._ready(Variant("baseline")).parameters if pruned else 1.0}
        self._save(mlp, name, about | {"metrics": metrics})
        self.made[name] = mlp
        return metrics

    def _make_given(self, variant: Variant) -> dict[str, Any]:
        """The net that the chain starts from, as it is."""
        assert self.given is not None
        graph = z80ai_graph(self.given)
        self._save_net(graph, variant)
        parameters = sum(w.size + b.size for w, b in self.given.layers)
        return self._score(graph_predictor(graph)) | {"parameters": parameters, "weight_bytes": constant_bytes(graph)}

    def _save_net(self, graph: Graph, variant: Variant) -> str:
        pairs = self.corpus.pairs
        net = Net(graph, meaning_of(pairs, graph.values["logits"].step), Chat(pairs.folds), f"tinychat {variant.name}")
        return net.save(
            self.net_path(variant), {"recipe": "tinychat", "variant": variant.name, "charset": list(pairs.charset)}
        )

    def net_path(self, variant: Variant) -> Path:
        """Return where the integer net of a variant lies."""
        return self.folder / f"{variant.name}.net.safetensors"

    def _score(self, predict: Predict) -> dict[str, float]:
        """Accuracy and perplexity on the held-out samples; where whole queries are held out, exact replies as well."""
        pairs, samples = self.corpus.pairs, self.corpus.samples
        logits, target = sample_logits(predict, pairs, samples, self.test), samples.target_N[self.test]
        metrics = {"accuracy": accuracy(logits, target), "perplexity": perplexity(logits, target)}
        seen, unseen = np.unique(samples.query_N[self.train]), np.unique(samples.query_N[self.test])
        if not np.isin(unseen, seen).any():
            metrics |= {
                "exact_seen": exact_replies(predict, pairs, seen),
                "exact_unseen": exact_replies(predict, pairs, unseen),
            }
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
            kept = self._kept(stage.name, stage.key)
            if kept:
                self.made[name] = kept[0]
            else:
                self.made[name], history = self._fit(stage, self._untrained(seed), list)
                self._save(self.made[name], name, {"key": stage.key, "loss": history})
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

    def _lower(self, mlp: Mlp, weights: Format) -> Lowered:
        lowered = lower_chat(mlp, weights, self.clean_inputs, self.corpus.pairs.charset)
        for finding in lowered.findings:
            warn(f"{self.by}-{self.seed} {weights.name}: {finding}")
        return lowered

    def _finding(self, lowered: Lowered, variant: Variant, metrics: dict[str, Any]) -> dict[str, str]:
        """Which layer and what cause cost most, where the integer net is much worse than its float source."""
        weights, source = variant.format, self.make(variant.source)["accuracy"]
        assert weights
        if loss_verdict(source, metrics["accuracy"], weights, "accuracy", self.settings.margin("accuracy")):
            return {}
        some = self.test[:DIAGNOSED]
        trained = self.settings.schedule(weights.name).epochs > 0
        return {"finding": explain_loss(lowered, self.corpus.inputs(some), self.corpus.samples.target_N[some], trained)}

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
            return graph_predictor(load_graph(self.net_path(variant))[0])
        return float_predictor(self.made[variant.name])

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


def float_predictor(mlp: Mlp) -> Predict:
    """Return the float net as a predictor of logits from bytes."""

    def predict(query_NL: np.ndarray, context_NL: np.ndarray) -> np.ndarray:
        counts = [QUERY_NGRAMS.run(query_NL.astype(np.int64)), CONTEXT_NGRAMS.run(context_NL.astype(np.int64))]
        return forward(mlp, torch.from_numpy(np.concatenate(counts, 1)).float())[-1].numpy()

    return predict
