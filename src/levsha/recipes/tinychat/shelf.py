"""The nets of one split on the disk: float nets with what is known of them, integer nets, checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from levsha.applications.chat import Chat
from levsha.data.pairs import Pairs
from levsha.errors import LevshaError
from levsha.ir import Graph
from levsha.net import Net
from levsha.recipes.tinychat.net import meaning_of
from levsha.recipes.variant import Variant
from levsha.store import graph_hash
from levsha.train.files import load_mlp, save_mlp
from levsha.train.mlp import Mlp


@dataclass(frozen=True)
class Shelf:
    """A folder of nets that learnt from `pairs`; split: its name, such as queries-0."""

    folder: Path
    pairs: Pairs
    split: str

    def kept(self, name: str, key: str) -> tuple[Mlp, dict[str, Any]] | None:
        """Return a float net that was finished with the same key; none if its file is missing or damaged: it is made again."""
        try:
            mlp, about = load_mlp(self.folder / f"{name}.safetensors")
        except LevshaError:
            return None
        return (mlp, about) if about.get("key") == key else None

    def save(self, mlp: Mlp, name: str, about: dict[str, Any]) -> None:
        """Write a finished float net; its checkpoints go, its log stays beside it."""
        about |= {"variant": name, "split": self.split, "charset": list(self.pairs.charset)}
        save_mlp(mlp, self.folder / f"{name}.safetensors", about)
        log = self.checkpoints(name) / "metrics.jsonl"
        if log.exists():
            log.replace(self.folder / f"{name}.metrics.jsonl")  # beside the net it is of, as soon as that is there
        shutil.rmtree(self.checkpoints(name), ignore_errors=True)

    def checkpoints(self, name: str) -> Path:
        """Return where the checkpoints of a training lie."""
        return self.folder / f"{name}.checkpoints"

    def net_path(self, variant: Variant) -> Path:
        """Return where the integer net of a variant lies."""
        return self.folder / f"{variant.name}.net.safetensors"

    def net_hash(self, variant: Variant) -> str | None:
        """Return the hash of an integer net; None where it is missing, damaged, or says nothing of what it means."""
        try:
            return graph_hash(Net.load(self.net_path(variant)).graph)
        except LevshaError:
            return None

    def save_net(self, graph: Graph, variant: Variant) -> str:
        """Write an integer net and return its hash."""
        meaning = meaning_of(self.pairs, graph.values["logits"].step)
        net = Net(graph, meaning, Chat(self.pairs.folds), f"tinychat {variant.name}")
        about = {"recipe": "tinychat", "variant": variant.name, "charset": list(self.pairs.charset)}
        return net.save(self.net_path(variant), about)
