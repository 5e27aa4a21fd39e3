"""Builds firmware for the ATmega328P and runs it in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from levsha.emit.memory import plan_memory
from levsha.ir import Graph, c_name
from levsha.targets.base import Outcome, Target, Tool, call, pack_inputs, unpack_values
from levsha.targets.uno.firmware import bare_main
from levsha.targets.uno.simulate import Area, Transcript, run_lines, run_vectors

FLASH_BYTES = 32_256  # beside the boot loader
RAM_BYTES = 2_048
CLOCK_HZ = 16_000_000
FLAGS = (
    "-std=c99", "-mmcu=atmega328p", "-DF_CPU=16000000UL", "-Os", "-Wall", "-Wextra", "-Werror",
    "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-mcall-prologues",
)  # fmt: skip
ANY_SIZE = ("-Wl,--defsym=__TEXT_REGION_LENGTH__=0x400000", "-Wl,--defsym=__DATA_REGION_LENGTH__=0x8000")
SRAM_START = 0x800000  # where avr-ld puts data addresses


@dataclass(frozen=True)
class Firmware:
    """A linked image: its file, its graph, flash (code and constants) and static SRAM from the ELF.

    wake: the line that makes it run its net, for a simulator to type before it puts a vector in.
    """

    elf: Path
    graph: Graph
    flash_bytes: int
    static_bytes: int
    wake: str = "go"

    @property
    def excess(self) -> str:
        """Return '' where flash and static SRAM fit the chip, else by how much they do not."""
        flash, static = self.flash_bytes - FLASH_BYTES, self.static_bytes - RAM_BYTES
        over = [f"flash {flash} B over {FLASH_BYTES}"] if flash > 0 else []
        return ", ".join(over + ([f"SRAM {static} B over {RAM_BYTES}"] if static >= 0 else []))

    def vectors(self, inputs: Mapping[str, np.ndarray]) -> Outcome:
        """Run a batch, each vector's inputs put into SRAM as the firmware reaches the stage that reads them."""
        return self._outcome(run_vectors(self.elf, *self._areas(), pack_inputs(self.graph, inputs), self.wake))

    def lines(self, lines: list[str]) -> tuple[Outcome, str]:
        """Type lines over the serial line; return every step of the net and the text that came back."""
        transcript = run_lines(self.elf, *self._areas(), lines)
        return self._outcome(transcript), transcript.text.decode("utf-8", "replace")

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
        address = {}
        for line in call(["avr-nm", str(self.elf)], "uno").splitlines():
            words = line.split()
            address[words[-1]] = int(words[0], 16) - SRAM_START if len(words) == 3 else 0
        plan, values = plan_memory(self.graph), self.graph.values
        inputs = [
            Area(address[c_name(name)], value.size * value.dtype.itemsize, stage)
            for stage, (name, value) in enumerate(self.graph.inputs.items())
        ]
        outputs = []
        for name in self.graph.outputs:
            value = values[name]
            start = address[c_name(value.c_type[:-2])] + plan.offset[name] * value.dtype.itemsize
            outputs.append(Area(start, value.size * value.dtype.itemsize))
        return inputs, outputs


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
    clock_hz = CLOCK_HZ

    def build(self, graph: Graph, main: Path) -> Firmware:
        """Compile and link `main` (a C file that includes the net's header) beside it, whatever its size."""
        self.require()
        elf = main.with_suffix(".elf")
        call(["avr-gcc", *FLAGS, *ANY_SIZE, "-o", elf.name, main.name], "uno", cwd=main.parent)
        return self.load(elf, graph)

    def load(self, elf: Path, graph: Graph) -> Firmware:
        """Return a firmware that was built before."""
        sizes = call(["avr-size", str(elf)], "uno").splitlines()[1].split()
        text, data, bss = map(int, sizes[:3])
        return Firmware(elf, graph, text + data, data + bss)

    def _run_vectors(self, graph: Graph, inputs: Mapping[str, np.ndarray], folder: Path) -> Outcome:
        main = folder / "main.c"
        main.write_text(bare_main(graph))
        return self.build(graph, main).vectors(inputs)
