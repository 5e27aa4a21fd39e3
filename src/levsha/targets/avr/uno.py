"""Builds firmware for the ATmega328P and runs it in the simulator."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from levsha.applications import Application, Message
from levsha.emit.memory import plan_memory
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.ir import Graph
from levsha.meaning import Meaning
from levsha.targets.avr.dialect import AVR
from levsha.targets.avr.kernels import KERNELS
from levsha.targets.avr.simulate import Area, SimulatedTalk, Transcript, run_messages, run_vectors
from levsha.targets.avr.sketch import sketch, sketch_name, sources
from levsha.targets.base import Target, call, pack_inputs, unpack_values
from levsha.targets.firmware import Conversation, Firmware, Outcome, Sizes, Tool, Typed

FLAGS = (
    "-std=c99", "-mmcu=atmega328p", "-DF_CPU=16000000UL", "-Os", "-Wall", "-Wextra", "-Werror",
    "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-mcall-prologues",
)  # fmt: skip
ANY_SIZE = ("-Wl,--defsym=__TEXT_REGION_LENGTH__=0x400000", "-Wl,--defsym=__DATA_REGION_LENGTH__=0x8000")
FLASH_BYTES, RAM_BYTES = 32_256, 2_048
LARGEST_ARRAY = 32_767
SRAM_START = 0x800000  # where avr-ld puts data addresses


@dataclass(frozen=True)
class UnoFirmware(Firmware):
    """An ELF image for the ATmega328P, and the Arduino sketch of the same C.  frame_bytes: the least that its stack takes, 0 where unknown."""

    meaning: Meaning = field(default_factory=Meaning)
    frame_bytes: int = 0

    def built(self, folder: Path) -> Self:
        for what, size in _largest(self.graph).items():
            if size > LARGEST_ARRAY:
                raise LevshaError(
                    f"uno: {what} is {size} bytes; the compiler of this chip, which has {RAM_BYTES} bytes of SRAM and {FLASH_BYTES} of flash, "
                    f"allows {LARGEST_ARRAY} in one piece. Use a smaller net, or another target."
                )
        for name, text in self.sources.items():
            write_file(folder / name, text)
        call(["avr-gcc", *FLAGS, *ANY_SIZE, "-fstack-usage", "-o", "firmware.elf", "firmware.c"], "uno", cwd=folder)
        return replace(self.at(folder / "firmware.elf"), frame_bytes=_largest_frame(folder))

    def at(self, image: Path) -> Self:
        sizes = call(["avr-size", str(image)], "uno").splitlines()[1].split()
        text, data, bss = map(int, sizes[:3])
        return replace(self, image=image, sizes=Sizes(text + data, data + bss))

    @property
    def excess(self) -> str:
        assert self.sizes.flash_bytes is not None and self.sizes.static_bytes is not None, "the firmware was not built"
        flash, static = self.sizes.flash_bytes - FLASH_BYTES, self.sizes.static_bytes + self.frame_bytes - RAM_BYTES
        over = [f"flash {flash} B over {FLASH_BYTES}"] if flash > 0 else []
        return ", ".join(over + ([f"SRAM {static} B over {RAM_BYTES}"] if static >= 0 else []))

    def vectors(self, inputs: Mapping[str, np.ndarray]) -> Outcome:
        """Run a batch, each vector's inputs put into SRAM as the firmware reaches the stage that reads them."""
        rows, wake = pack_inputs(self.graph, inputs), self.application.wake(self.graph)
        return self._outcome(run_vectors(self.built_image, *self._areas(), rows, wake))

    def type(self, messages: Sequence[Message]) -> Typed:
        transcript = run_messages(self.built_image, *self._areas(), messages)
        answers = [self.application.answer(text) for text in transcript.texts[1 : len(messages) + 1]]
        return Typed(answers, self._outcome(transcript))

    def talk(self) -> Conversation:
        return SimulatedTalk(self.built_image, len(self.graph.inputs), self.application.answer)

    def files(self, name: str) -> dict[str, str | bytes]:
        with tempfile.TemporaryDirectory() as scratch:
            hex_path = Path(scratch, "firmware.hex")
            call(["avr-objcopy", "-O", "ihex", "-R", ".eeprom", str(self.built_image), str(hex_path)], "uno")
            found: dict[str, str | bytes] = {**super().files(name), "firmware.hex": hex_path.read_bytes()}
        shared = {f: text for f, text in self.sources.items() if f.endswith(".h")}
        plain = sketch_name(name)
        ino = sketch(self.graph, self.application, shared, self.title, self.meaning)
        return found | {f"{plain}/{f}": text for f, text in (shared | {f"{plain}.ino": ino}).items()}

    def _outcome(self, transcript: Transcript) -> Outcome:
        cycles = np.array([step[2] for step in transcript.steps], np.int64).reshape(-1, len(self.graph.inputs))
        inputs = self._values(list(self.graph.inputs), [step[0] for step in transcript.steps])
        outputs = self._values(self.graph.outputs, [step[1] for step in transcript.steps])
        return Outcome(inputs, outputs, cycles, transcript.stack_bytes)

    def _values(self, names: Sequence[str], rows: list[bytes]) -> dict[str, np.ndarray]:
        """Split rows of bytes, of which there may be none, into the named values."""
        width = sum(self.graph.values[name].size * self.graph.values[name].dtype.itemsize for name in names)
        return unpack_values(self.graph, names, np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width))

    def _areas(self) -> tuple[list[Area], list[Area]]:
        """Where inputs and outputs lie in SRAM: the state's members follow each other without gaps on this chip."""
        at = next(
            int(words[0], 16) - SRAM_START
            for words in map(str.split, call(["avr-nm", str(self.built_image)], "uno").splitlines())
            if len(words) == 3 and words[2] == "net_instance"
        )
        inputs, plan = [], plan_memory(self.graph)
        for stage, value in enumerate(self.graph.inputs.values()):
            inputs.append(Area(at, value.size * value.dtype.itemsize, stage))
            at += inputs[-1].length
        places = {name: at + offset for name, offset in plan.offset.items()}
        places |= {name: area.address for name, area in zip(self.graph.inputs, inputs, strict=True)}
        sized = ((places[name], self.graph.values[name]) for name in self.graph.outputs)
        return inputs, [Area(start, value.size * value.dtype.itemsize) for start, value in sized]


def _largest_frame(folder: Path) -> int:
    """The most bytes that one function has on the stack, as the compiler says."""
    lines = [line.split("\t") for path in folder.glob("*.su") for line in path.read_text().splitlines()]
    return max((int(words[1]) for words in lines if len(words) > 1), default=0)


def _largest(graph: Graph) -> dict[str, int]:
    """The bytes of every array of a net, in words."""
    found = {f"input {name}": value.size * value.dtype.itemsize for name, value in graph.inputs.items()}
    return found | {"the memory between inputs and outputs": plan_memory(graph).size}


class Uno(Target):
    """Arduino UNO; flash is what the boot loader leaves free."""

    name = "uno"
    chip = "ATmega328P, 16 MHz"
    tools = (
        Tool("avr-gcc", "gcc-avr"),
        Tool("/usr/lib/avr/include/avr/io.h", "avr-libc"),
        Tool("avr-nm", "binutils-avr"),
        Tool("gcc", "gcc"),
        Tool("/usr/include/simavr/sim_avr.h", "libsimavr-dev"),
        Tool("/usr/include/libelf.h", "libelf-dev"),
    )
    flash_bytes = FLASH_BYTES
    ram_bytes = RAM_BYTES
    clock_hz = 16_000_000
    dialect = AVR
    kernels = KERNELS

    def firmware(
        self, graph: Graph, application: Application, title: str, meaning: Meaning | None = None
    ) -> UnoFirmware:
        net = self.net_text(graph, title, meaning)
        texts = sources(graph, application, net, title)
        return UnoFirmware(graph, application, title, texts, meaning=meaning or Meaning())
