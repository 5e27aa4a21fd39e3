"""What a target makes of a net and an application: sources, an image, and ways to run and to talk with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from levsha.applications import Application, Message
from levsha.errors import LevshaError
from levsha.files import read_kept, write_file
from levsha.ir import Graph
from levsha.store import graph_hash

MANIFEST = "firmware.json"


@dataclass(frozen=True)
class Tool:
    """A program (or, with a slash, a file) that a target needs, and the Debian package that holds it."""

    name: str
    package: str

    def found(self) -> bool:
        """Say whether the tool is on this machine."""
        return Path(self.name).exists() if "/" in self.name else shutil.which(self.name) is not None


@dataclass(frozen=True)
class Outcome:
    """What a target computed: every input as it saw it, every output, and, where the target counts them, cycles.

    inputs, outputs: name -> (N, *shape); cycles: (N, stages), 0 where a stage was not run for that vector.
    """

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    cycles: np.ndarray | None = None
    stack_bytes: int | None = None


@dataclass(frozen=True)
class Typed:
    """What came of typing messages: an answer each, and every run of the net where the target shows them."""

    answers: list[str]
    outcome: Outcome | None


@dataclass(frozen=True)
class Answer:
    """What a firmware answered to a message, and the cycles of each run of the net's last stage, where the target counts them."""

    text: str
    cycles: list[int]


class Conversation(ABC):
    """A talk with a firmware, message by message; use it as a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def say(self, message: Message) -> Answer:
        """Send a message and return the answer; control characters are left out of a line, bytes go as they are."""

    @abstractmethod
    def close(self) -> None:
        """End the talk."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of program memory and of static RAM, from the linked image; None where the target has no such limits."""

    flash_bytes: int | None = None
    static_bytes: int | None = None


@dataclass(frozen=True)
class Firmware(ABC):
    """A net with a conversation around it for one target.  sources: every file it is built from, by name."""

    graph: Graph
    application: Application
    title: str
    sources: Mapping[str, str]
    image: Path | None = None
    sizes: Sizes = field(default_factory=Sizes)

    @abstractmethod
    def built(self, folder: Path) -> Self:
        """Write the sources into `folder`, build them there, whatever their size, and return the firmware with its image."""

    @abstractmethod
    def vectors(self, inputs: Mapping[str, np.ndarray]) -> Outcome:
        """Run a batch of vectors through the image."""

    @abstractmethod
    def type(self, messages: Sequence[Message]) -> Typed:
        """Send messages, each when the firmware is ready for one."""

    @abstractmethod
    def talk(self) -> Conversation:
        """Start the image for a conversation."""

    @property
    def excess(self) -> str:
        """Return '' where flash and static RAM fit the chip, else by how much they do not."""
        return ""

    def at(self, image: Path) -> Self:
        """Return the firmware with an image that was built before."""
        return replace(self, image=image)

    @property
    def built_image(self) -> Path:
        """The image; it must have been built."""
        assert self.image is not None, "the firmware was not built"
        return self.image

    @property
    def sources_digest(self) -> str:
        """SHA-256 of every source file: it changes with the net, the application and the emitter."""
        return hashlib.sha256(json.dumps(dict(self.sources), sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> str:
        """Write what a user takes away, and a manifest that says of which net it is; return the image's SHA-256."""
        for name, content in self.files(folder.name).items():
            write_file(folder / name, content)
        digest = hashlib.sha256(self.built_image.read_bytes()).hexdigest()
        about = {"net_sha256": graph_hash(self.graph), "image": self.built_image.name, "image_sha256": digest}
        write_file(folder / MANIFEST, json.dumps(about | {"application": self.application.name}, indent=2) + "\n")
        return digest

    def files(self, name: str) -> dict[str, str | bytes]:
        """Return what a user takes away: sources and image; name: of the variant."""
        return {**self.sources, self.built_image.name: self.built_image.read_bytes()}


def find_image(folder: Path, graph: Graph, again: str) -> Path:
    """Return the image in a firmware folder; LevshaError where there is none, it was altered, or it is of another net.

    again: the command that makes it anew.
    """
    about: dict[str, Any] = read_kept(folder / MANIFEST)
    path = folder / str(about.get("image", "firmware"))
    if not about or not path.is_file():
        raise LevshaError(f"{folder}: there is no firmware with a manifest ({MANIFEST}) in it; make it with {again}.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != about.get("image_sha256"):
        raise LevshaError(
            f"{path}: is not the image that was built (its hash differs from {MANIFEST}); make it anew with {again}."
        )
    if about.get("net_sha256") != graph_hash(graph):
        raise LevshaError(
            f"{path}: is the firmware of another net than the one in this run; make it anew with {again}."
        )
    return path
