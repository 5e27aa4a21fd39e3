"""Builds and runs any tool's C: flash, SRAM and cycles in the simulator, answers and microseconds on this machine.

The chip is the ATmega328P with as much memory as its instructions reach, so that nets which do not fit it have times as well.
An engine.h declares engine_in, engine_out (arrays) and engine_run().
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from levsha.applications import Bare
from levsha.errors import LevshaError
from levsha.files import cache_folder
from levsha.ir import Graph
from levsha.targets.avr import Uno, simulate, uno
from levsha.targets.avr.sketch import MARK
from levsha.targets.avr.uno import FLAGS, SRAM_START
from levsha.targets.base import call
from levsha.targets.firmware import Outcome
from levsha.targets.texts import mark_header

RAM_END, FLASH_END = 0xFEFF, 0xFFFF
ROOM = (
    "-Wl,--defsym=__TEXT_REGION_LENGTH__=0x400000", "-Wl,--defsym=__DATA_REGION_LENGTH__=0xfe00", f"-Wl,--defsym=__stack={RAM_END:#x}",
)  # fmt: skip
QUIET = ("-Wall", "-Wextra", "-Werror", "-std=c99")
CHIP_MAIN = f"""{MARK}#include "engine.h"
/* The chip's library lacks these. */
extern long lrint(double);
__attribute__((weak)) long long llrint(double x) {{ return lrint(x); }}
__attribute__((weak)) double nearbyint(double x) {{ return (double)lrint(x); }}
int main(void)
{{
    for (;;) {{
        LEVSHA_MARK(MARK_READY);
        LEVSHA_MARK(MARK_STARTS);
        engine_run();
        LEVSHA_MARK(MARK_ENDS);
    }}
}}
"""
HOST_MAIN = """#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "engine.h"
int main(int argc, char **argv)
{
    const long repeats = argc > 1 ? atol(argv[1]) : 0;
    struct timespec start, end;
    while (fread(engine_in, sizeof engine_in, 1, stdin) == 1) {
        engine_run();
        if (!repeats) { fwrite(engine_out, sizeof engine_out, 1, stdout); continue; }
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (long k = 0; k < repeats; ++k) { engine_run(); __asm__ volatile("" ::: "memory"); }
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%.6f\\n", ((double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) / 1e3) / (double)repeats);
    }
    return 0;
}
"""


class Chip(NamedTuple):
    """Bytes of flash and of SRAM, the stack included; milliseconds of a run; integers that came out, (N, bytes)."""

    flash: int
    sram: int
    ms: float
    out: np.ndarray


@cache
def large_runner() -> Path:
    """The simulator with all the memory that 16-bit addresses reach."""
    text = files("levsha.targets.avr").joinpath("simrun.c").read_text()
    before = "    avr_init(avr);\n"
    assert text.count(before) == 1
    folder = cache_folder() / "benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    grown = text.replace(before, f"    avr->ramend = {RAM_END}; avr->flashend = {FLASH_END};\n{before}")
    (folder / "simrun.c").write_text(grown)
    (folder / "mark.h").write_text(mark_header())
    call(["gcc", "-std=gnu99", "-O2", "-o", "simrun", "simrun.c", "-lsimavr", "-lelf"], "simulator", cwd=folder)
    return folder / "simrun"


@contextmanager
def _roomy() -> Iterator[None]:
    with patch.object(uno, "ANY_SIZE", ROOM), patch.object(simulate, "runner", large_runner):
        yield


def chip_levsha(graph: Graph, inputs: dict[str, np.ndarray], folder: Path) -> tuple[Chip, Outcome]:
    """Return what the bare net takes, and every output of it."""
    with _roomy():
        firmware = Uno().firmware(graph, Bare(), "benchmark").built(folder)
        outcome = firmware.vectors(inputs)
    sizes = firmware.sizes
    assert outcome.cycles is not None and outcome.stack_bytes is not None and sizes.flash_bytes and sizes.static_bytes
    out = np.zeros((0, 0))
    return Chip(sizes.flash_bytes, sizes.static_bytes + outcome.stack_bytes, _ms(outcome.cycles.sum(1)), out), outcome


def chip_engine(folder: Path, sources: Sequence[str], rows: np.ndarray, outputs: int) -> Chip:
    """Return what an engine takes on the chip, and what it says to rows (N, bytes)."""
    (folder / "mark.h").write_text(mark_header())
    (folder / "chip.c").write_text(CHIP_MAIN)
    flags = [flag for flag in FLAGS if flag not in QUIET]
    words = ["avr-gcc", "-std=gnu11", "-w", *flags, *ROOM, "-o", "chip.elf", "chip.c", *sources, "-lm"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LevshaError(done.stderr)  # all of it: what matters may stand first
    text, data, bss = map(int, call(["avr-size", str(folder / "chip.elf")], "avr-size").splitlines()[1].split()[:3])
    names = [line.split() for line in call(["avr-nm", str(folder / "chip.elf")], "avr-nm").splitlines()]
    at = {words[2]: int(words[0], 16) - SRAM_START for words in names if len(words) == 3}
    into = [simulate.Area(at["engine_in"], rows.shape[1])]
    with _roomy():
        found = simulate.run_vectors(folder / "chip.elf", into, [simulate.Area(at["engine_out"], outputs)], rows)
    out = np.array([np.frombuffer(step[1], np.int8) for step in found.steps])
    return Chip(text + data, data + bss + found.stack_bytes, _ms(np.array([step[2][0] for step in found.steps])), out)


def _ms(cycles: np.ndarray) -> float:
    assert Uno.clock_hz
    return float(cycles.mean()) * 1000 / Uno.clock_hz


def host_engine(folder: Path, sources: Sequence[str]) -> Path:
    """Build a program that answers rows on its standard input, or times each of them."""
    (folder / "host.c").write_text(HOST_MAIN)
    call(["gcc", "-std=gnu11", "-O2", "-w", "-o", "host", "host.c", *sources, "-lm"], "gcc", cwd=folder)
    return folder / "host"


def answers(program: Path, rows: np.ndarray, outputs: int, dtype: type | np.dtype = np.int8) -> np.ndarray:
    """Return what a program says to rows (N, bytes): (N, outputs)."""
    done = subprocess.run([program], input=np.ascontiguousarray(rows).tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise LevshaError(f"{program}: stopped with status {done.returncode}.")
    return np.frombuffer(done.stdout, dtype).reshape(len(rows), outputs)


def microseconds(programs: dict[str, tuple[Path, np.ndarray]], rounds: int) -> dict[str, float]:
    """Return the median over interleaved rounds of each program's fastest row; rows: (N, bytes)."""
    took: dict[str, list[float]] = {name: [] for name in programs}
    repeats: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, (program, rows) in programs.items():
            words = [program, str(repeats.get(name, 20))]
            done = subprocess.run(
                words, input=np.ascontiguousarray(rows[:20]).tobytes(), capture_output=True, check=True
            )
            best = min(map(float, done.stdout.split()))
            if number:
                took[name].append(best)
            else:
                repeats[name] = max(5, int(2000 / best))  # two milliseconds a row
    return {name: float(np.median(times)) for name, times in took.items()}
