"""Levsha beside bakenn and emx-onnx-cgen, on nets from a torch module to C: one table in Markdown, also benchmarks/out/convert/table.md.

All start from the same trained weights and the same real rows. Flash, SRAM (stack included) and milliseconds are those of the net alone,
avr-gcc -Os, in the simulator; a † does not fit an Arduino UNO, and its time is that of a chip with more memory. Microseconds are this
machine's, gcc -O2, one thread, the median of interleaved rounds. Exact: every output of the C, on the chip and here, is what the tool's
own Python says. The other tools run in an environment of their own; what cannot be installed, converted or built is said. What was made
in benchmarks/out/convert is used again; remove it to start anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert_chip import Chip, answers, chip_engine, chip_levsha, host_engine, microseconds
from benchmarks.convert_nets import TITLES
from benchmarks.convert_train import MADE, load, prepare, quality
from levsha.conversion.door import convert
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.interpret import interpret
from levsha.net import Net
from levsha.targets.avr.uno import FLASH_BYTES, RAM_BYTES
from levsha.targets.base import pack_inputs
from levsha.targets.host import Host

OUT = Path(__file__).parent / "out" / "convert"
FORMATS = {
    "sensor": ("int8",),
    "chat": ("int8", "int4", "binary"),
    "minicnn": ("int8", "int4"),
    "dscnn": ("int8", "int4"),
}
PEERS = {"bakenn": "bakenn", "emx": "emx-onnx-cgen"}
CHIP_ROWS, ROUNDS, CONVERT_SECONDS = 3, 7, 900
HEAD = "| net | tool | flash B | SRAM B | ms on the UNO | host us | of Levsha's | exact | float -> integer | rms from float |"


@dataclass
class Made:
    """What a tool made of a net. rows: integers that go in, as bytes (N, bytes)."""

    tool: str
    why_not: str = ""
    chip: Chip | None = None
    program: Path | None = None
    rows: np.ndarray | None = None
    exact: str = ""
    quality: str = ""
    far: float = 0.0
    us: float = 0.0


def levsha(name: str, weights: str) -> Made:
    """Convert a net with one format, put it onto the chip and build it here."""
    folder, made = OUT / name, Made(f"Levsha {weights}")
    data = np.load(folder / MADE)
    net = convert(load(name, folder), data["calibration"], weights=weights, test=(data["test"], None))
    (source,), layout = net.graph.inputs, next(iter(net.meaning.layouts.values()))
    integers = net.integers(source, layout.lay(data["test"]))
    made.quality, made.far = quality(name, np.asarray(net(data["test"])), folder)
    place = folder / f"levsha-{weights}"
    place.mkdir(exist_ok=True)
    known = interpret(net.graph, {source: integers})
    want = {key: known[key] for key in net.graph.outputs}
    made.chip, outcome = chip_levsha(net.graph, {source: integers[:CHIP_ROWS]}, place)
    right = all((outcome.outputs[key] == want[key][:CHIP_ROWS]).all() for key in want)
    made.rows, made.program = pack_inputs(net.graph, {source: integers}), _host_levsha(net, source, place)
    (key,) = want
    value = net.graph.values[key]
    right &= bool(
        (answers(made.program, made.rows, value.size, value.dtype) == want[key].reshape(len(integers), -1)).all()
    )
    made.exact = "yes" if right else "NO"
    return made


def _host_levsha(net: Net, source: str, folder: Path) -> Path:
    (out,) = net.graph.outputs
    text = Host().net_text(net.graph, net.title)
    value = net.graph.values[out]
    frame = f"static void engine_run(void) {{ net_run(); }}\n#define engine_in net_instance.{source}\n"
    # sizeof an array is asked for: the pointer to the output is made one.
    frame += f"#define engine_out (*(const {value.c_type} (*)[{value.size}])(const void *)net_{out}())\n"
    (folder / "engine.h").write_text(text + frame)
    return host_engine(folder, [])


def peer(name: str, tool: str, python: Path | None, why_not: str) -> Made:
    """Let another tool convert a net in its own environment, and measure what it made."""
    folder, made = OUT / name, Made(PEERS[tool], why_not)
    if python is None:
        return made
    place = folder / tool
    if not (place / "about.json").exists():
        words = [python, "-m", "benchmarks.convert_peers", tool, folder]
        source = Path(__file__).parents[1]
        surroundings = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                words,
                cwd=source,
                env=surroundings,
                capture_output=True,
                text=True,
                timeout=CONVERT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            made.why_not = f"does not convert it in {CONVERT_SECONDS} s"
            return made
        if done.returncode:
            made.why_not = f"does not convert it: {(done.stderr.strip().splitlines() or ['?'])[-1][:160]}"
            return made
    about = json.loads((place / "about.json").read_text())
    made.rows, own = np.load(place / "x.npy"), np.load(place / "own.npy")
    _measure(made, place, about, own, name)
    return made


def _measure(made: Made, place: Path, about: dict[str, Any], own: np.ndarray, name: str) -> None:
    assert made.rows is not None
    made.program = host_engine(place, about["sources"])
    out = answers(made.program, made.rows, about["outputs"])
    right = bool((out[: len(own)] == own).all())
    made.quality, made.far = quality(name, (out.astype(np.float64) - about["zero"]) * about["step"], OUT / name)
    try:
        made.chip = chip_engine(place, about["sources"], made.rows[:CHIP_ROWS], about["outputs"])
        right &= bool((made.chip.out == out[:CHIP_ROWS]).all())
    except LevshaError as error:
        said = str(error).splitlines()
        lines = [line for mark in ("too large", "undefined reference", "error:") for line in said if mark in line]
        made.why_not = f"does not build: {(lines or said)[0].rpartition(': ')[2][:90]}"
    made.exact = "yes" if right else "NO"


def environment() -> tuple[Path | None, dict[str, str]]:
    """Return the Python in which the other tools are, and of each that is missing why."""
    python = OUT / "venv" / "bin" / "python"
    if not python.exists():
        return None, dict.fromkeys(PEERS, "is not installed: make bench-convert installs it")
    missing = {}
    for tool in PEERS:
        module = {"bakenn": "bakenn", "emx": "emx_onnx_cgen"}[tool]
        done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        if done.returncode:
            missing[tool] = f"cannot be imported: {done.stderr.strip().splitlines()[-1]}"
    return python, missing


def line(name: str, made: Made, first: Made) -> str:
    """Return a row of the table."""
    ratio = f"{made.us / first.us:.2f}" if made.us and first.us else "–"
    chip = ["–"] * 3
    if made.chip:
        over = [made.chip.flash > FLASH_BYTES, made.chip.sram > RAM_BYTES]
        chip = [f"{made.chip.flash:,}{'†' * over[0]}", f"{made.chip.sram:,}{'†' * over[1]}", f"{made.chip.ms:,.2f}"]
        chip = [text.replace(",", " ") for text in chip]
    elif made.why_not:
        chip = [made.why_not.replace("|", "/"), "–", "–"]
    us = f"{made.us:.2f}" if made.us else "–"
    return f"| {TITLES[name]} | {made.tool} | {' | '.join(chip)} | {us} | {ratio} | {made.exact or '–'} | {made.quality or '–'} | {made.far:.3g} |"


def losses(name: str, found: list[Made]) -> list[str]:
    """Return a sentence for everything in which another tool does better than Levsha's int8."""
    ours, said = found[0], []
    for made in (made for made in found if made.tool in PEERS.values()):
        pairs = [("us here", made.us, ours.us, ".3g"), ("rms from float", made.far, ours.far, ".3g")]
        if made.chip and ours.chip:
            kinds = (("B of flash", "flash", "d"), ("B of SRAM", "sram", "d"), ("ms on the chip", "ms", ".4g"))
            pairs += [(what, getattr(made.chip, key), getattr(ours.chip, key), form) for what, key, form in kinds]
        better = [f"{a:{form}} {what} to {b:{form}}" for what, a, b, form in pairs if a and a < b]
        if better:
            said.append(f"- {TITLES[name]}: {made.tool} is better in {', '.join(better)}.")
    return said


def goals(found: list[Made]) -> str:
    """Return whether the sensor's net takes no more than it should."""
    chip = found[0].chip
    assert chip is not None
    most = (
        ("B of flash", chip.flash, 2900),
        ("B of SRAM", chip.sram, 260),
        ("ms", chip.ms, 2.0),
        ("m rms from float", found[0].far, 0.40),
    )
    return "; ".join(
        f"{value:.4g} {what} of at most {limit:g}{'' if value <= limit else ': MISSED'}" for what, value, limit in most
    )


def main() -> None:
    python, missing = environment()
    lines, lost = [HEAD, "|---|---|---:|---:|---:|---:|---:|---|---|---:|"], []
    for name in sys.argv[1:] or FORMATS:
        prepare(name, OUT / name)
        found = [levsha(name, weights) for weights in FORMATS[name]]
        found += [peer(name, tool, None if tool in missing else python, missing.get(tool, "")) for tool in PEERS]
        programs = {made.tool: (made.program, made.rows) for made in found if made.program and made.rows is not None}
        for tool, us in microseconds(programs, ROUNDS).items():  # pyright: ignore[reportArgumentType]
            next(made for made in found if made.tool == tool).us = us
        lines += [line(name, made, found[0]) for made in found]
        lost += [f"- Goals of {TITLES[name]}: {goals(found)}."] if name == "sensor" else []
        lost += losses(name, found)
        print("\n".join(lines[-len(found) :]), file=sys.stderr)
    text = "\n".join([*lines, "", *lost]) + "\n"
    write_file(OUT / "table.md", text)
    print(text)


if __name__ == "__main__":
    main()
