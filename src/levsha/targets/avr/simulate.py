"""The simulator: builds simrun.c once, drives it, reads its lines."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from levsha.applications import Message
from levsha.errors import LevshaError
from levsha.files import cache_folder
from levsha.targets.base import call
from levsha.targets.firmware import Answer, Conversation
from levsha.targets.texts import framed, mark_header

MOST_CYCLES = 500_000_000  # a line or a vector that takes longer (half a simulated minute) hangs


@dataclass
class Transcript:
    """What one run of the simulator said, line by line.

    sent: bytes sent over the UART, apart for each message that was typed, those before the first one first. steps: (input bytes, output bytes, cycles per stage) of each finished vector.
    """

    sent: list[bytearray] = field(default_factory=lambda: [bytearray()])
    steps: list[tuple[bytes, bytes, tuple[int, ...]]] = field(default_factory=list)
    cycles: int = 0
    stack_bytes: int = 0
    reason: str = ""

    def read(self, line: str) -> str:
        """Take in one line and return its kind: R, T, V, E, or '' for what libsimavr itself prints."""
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "T":
            self.sent[-1].append(int(rest, 16))
        elif kind == "R":
            self.sent.append(bytearray())
        elif kind == "V":
            inputs, outputs, *cycles = rest.split(" ")
            self.steps.append((bytes.fromhex(inputs), bytes.fromhex(outputs), tuple(map(int, cycles))))
        elif kind == "E":
            self.reason, cycles, stack = rest.split(" ")
            self.cycles, self.stack_bytes = int(cycles), int(stack)
        return kind if kind in ("R", "T", "V", "E") else ""

    @property
    def texts(self) -> list[str]:
        """What was sent before each readiness for a message, and after the last one."""
        return [part.decode("utf-8", "replace") for part in self.sent]


@dataclass(frozen=True)
class Area:
    """A run of bytes in SRAM that the runner reads or writes."""

    address: int
    length: int
    stage: int = 0


@cache
def runner() -> Path:
    """Return the path of the compiled runner, compiling it into the user's cache folder at first.

    Where that folder cannot be written, it is compiled anew for this process.
    """
    source = files("levsha.targets.avr").joinpath("simrun.c").read_text()
    path = cache_folder() / f"simrun-{hashlib.sha256((source + mark_header()).encode()).hexdigest()[:12]}"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = tempfile.mkdtemp(prefix="levsha-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder, path.name)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        Path(folder, "simrun.c").write_text(source)
        Path(folder, "mark.h").write_text(mark_header())
        call(["gcc", "-std=gnu99", "-O2", "-o", "simrun", "simrun.c", "-lsimavr", "-lelf"], "uno simulator", cwd=folder)
        os.replace(Path(folder, "simrun"), path)
    return path


def command(
    elf: Path,
    inputs: Iterable[Area],
    outputs: Iterable[Area],
    vectors: Path | None = None,
    count: int = 0,
    wake: str = "go",
) -> list[str]:
    """Return the runner's command line; count: how many messages or vectors come, 0 for an open end; wake: see run_vectors."""
    words = [str(runner()), str(elf)]
    for area in inputs:
        words += ["-i", f"{area.stage}:{area.address}:{area.length}"]
    for area in outputs:
        words += ["-o", f"{area.address}:{area.length}"]
    words += ["-l", wake, "-v", str(vectors), str(count)] if vectors else []
    return words + (["-c", str(MOST_CYCLES * (count + 1))] if count else [])


def run_vectors(
    elf: Path, inputs: Sequence[Area], outputs: Sequence[Area], rows: np.ndarray, wake: str = "go"
) -> Transcript:
    """Run a firmware over rows of input bytes, one vector a row; wake: the line that makes it run its net."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vectors.bin")
        path.write_bytes(rows.tobytes())
        return _transcript(command(elf, inputs, outputs, path, len(rows), wake), b"")


def run_messages(elf: Path, inputs: Sequence[Area], outputs: Sequence[Area], messages: Sequence[Message]) -> Transcript:
    """Type messages into a firmware's serial line, each when it is ready for one."""
    return _transcript(command(elf, inputs, outputs, count=len(messages)), b"".join(map(framed, messages)))


def _transcript(words: list[str], typed: bytes) -> Transcript:
    done = subprocess.run(words, input=typed, capture_output=True, check=False)
    transcript = Transcript()
    for line in done.stdout.decode("ascii", "replace").splitlines():
        transcript.read(line)
    if done.returncode or transcript.reason != "done":
        why = done.stderr.decode(errors="replace").strip() or transcript.reason
        raise LevshaError(f"uno simulator: the firmware did not finish ({why}).")
    return transcript


class SimulatedTalk(Conversation):
    """A conversation with a firmware in the simulator; stages: of its net; answer: see Application.answer."""

    def __init__(self, elf: Path, stages: int, answer: Callable[[str], str]) -> None:
        areas = [Area(0x100, 0, stages - 1)]  # an empty one: only to say how many stages there are
        self._answer = answer
        self._process = subprocess.Popen(
            command(elf, areas, []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._until_ready()

    def say(self, message: Message) -> Answer:
        """Type a message; the cycles are those of each run of the last stage, with the stages before it."""
        if isinstance(message, str):
            message = "".join(c for c in message if c >= " " and c != "\x7f")
        assert self._process.stdin
        self._process.stdin.write(framed(message))
        self._process.stdin.flush()
        transcript = self._until_ready()
        return Answer(self._answer(transcript.texts[0]), [sum(step[2]) for step in transcript.steps])

    def close(self) -> None:
        """End the simulator."""
        self._process.kill()
        self._process.wait()

    def _until_ready(self) -> Transcript:
        transcript = Transcript()
        assert self._process.stdout
        for line in self._process.stdout:
            if transcript.read(line.decode("ascii", "replace")) in ("R", "E"):
                break
        if transcript.reason or self._process.poll() is not None:
            raise LevshaError(f"uno simulator: the firmware stopped ({transcript.reason or 'no answer'}).")
        return transcript
