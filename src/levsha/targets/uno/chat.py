"""A chat net on the UNO: build its firmware, check it, measure it, write the files a user takes away."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from levsha.emit.chat import ChatLimits
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.ir import Graph
from levsha.targets.base import Outcome
from levsha.targets.uno.firmware import arduino_sketch, chat_firmware, save_files, sketch_name
from levsha.targets.uno.simulate import Area, Transcript, command
from levsha.targets.uno.target import Firmware, Uno


def build_chat(graph: Graph, limits: ChatLimits, title: str, folder: Path) -> Firmware:
    """Write the chat firmware's sources into `folder` and build it there."""
    for name, text in chat_firmware(graph, limits, title).items():
        write_file(folder / name, text)
    return Uno().build(graph, folder / "firmware.c")


def character_cycles(outcome: Outcome) -> np.ndarray:
    """Return the cycles of each character: its own step, and for the first of an answer the query's as well."""
    assert outcome.cycles is not None
    return outcome.cycles.sum(1)


def save_chat(firmware: Firmware, limits: ChatLimits, title: str, folder: Path) -> None:
    """Write firmware (ELF, Intel HEX, sources) and the Arduino sketch folder."""
    sources = chat_firmware(firmware.graph, limits, title)
    sketch = arduino_sketch(firmware.graph, limits, title, sketch_name(folder))
    save_files(firmware.elf, sources, sketch, folder)


class Conversation:
    """A chat with a firmware in the simulator, line by line; use it as a context manager."""

    def __init__(self, elf: Path) -> None:
        words = command(elf, [Area(0x100, 0, stage=1)], [])  # an empty area: only to say that there are two stages
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="surrogateescape",
        )
        self._until_ready()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def say(self, line: str) -> tuple[str, list[int]]:
        """Type a line; return the answer and the cycles of each of its characters, the end mark's last.

        Control characters are left out, as they are in a chat on this machine.
        """
        line = "".join(c for c in line if c >= " " and c != "\x7f")
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        transcript = self._until_ready()
        shown = transcript.text.decode("utf-8", "replace").split("\r\n")  # the echo, the answer, the next prompt
        return shown[1] if transcript.steps else "", [sum(step[2]) for step in transcript.steps]

    def _until_ready(self) -> Transcript:
        transcript = Transcript()
        assert self._process.stdout
        for line in self._process.stdout:
            if transcript.read(line) in ("R", "E"):
                break
        if transcript.reason or self._process.poll() is not None:
            raise LevshaError(f"uno simulator: the firmware stopped ({transcript.reason or 'no answer'}).")
        return transcript
