"""What is done with a finished run: check it on a chip, chat with it, export its nets."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from tyro.conf import Positional

from levsha.data.pairs import typed_query
from levsha.emit.c import emit_c
from levsha.emit.export import to_binary, to_json
from levsha.errors import LevshaError, check_range
from levsha.evidence.metrics import decode
from levsha.files import write_file
from levsha.ir import Graph
from levsha.recipes.tinychat.predict import graph_predictor
from levsha.recipes.tinychat.ship import check_saved
from levsha.run import Run
from levsha.targets import Uno, find_target
from levsha.targets.uno import CLOCK_HZ
from levsha.targets.uno.chat import Conversation


@dataclass(frozen=True)
class Check:
    """Compare every output of every vector on a target with the interpreter, and write a certificate."""

    run: Positional[Path]
    """The folder of a run."""
    target: str = "uno"
    """The chip; levsha targets lists them."""
    vectors: int = 1000
    """How many vectors: half real, half random."""
    seed: int = 1
    """Seed of the vectors."""
    variant: str | None = None
    """One integer variant; without it, every one that fits the target."""


def check_run(asked: Check, console: Console) -> int:
    """Check a run's nets; return 1 where anything differs."""
    check_range("vectors", asked.vectors, 1, 1_000_000)
    check_range("seed", asked.seed, 0, 1 << 30)
    run, target = Run(asked.run), find_target(asked.target)
    fits = {v["name"]: v["fits"] is not False for v in run.results()["variants"]}
    names = (
        [run.pick(asked.variant)]
        if asked.variant
        else [name for name in run.variants() if fits[name] or target.name == "host"]
    )
    if not names:
        raise LevshaError(f"{run.folder}: has no integer net that fits {target.name}; nothing was checked.")
    target.require()
    status = 0
    for name in names:
        with console.status(f"{name} on {target.name}"):
            row = check_saved(run.folder, name, run.graph(name), run.pairs(), target, asked.vectors, asked.seed)
        console.print(
            f"{name} on {target.name}: {row['mismatches']} mismatches in {row['vectors']} vectors  ({row['certificate']})",
            highlight=False,
        )
        if row["mismatches"]:
            console.print(f"  first op that differs: {row['first_difference']}; {row['example']}", highlight=False)
            status = 1
    return status


@dataclass(frozen=True)
class Chat:
    """Talk with a net of a run: its integers through the interpreter, or its firmware in the simulator."""

    run: Positional[Path]
    """The folder of a run."""
    say: str | None = None
    """One line to say; without it, the chat goes on until an empty line, Ctrl-D or Ctrl-C."""
    variant: str | None = None
    """Which integer variant; without it, the one the run recommends."""
    target: str | None = None
    """uno: talk with the firmware in the simulator and show the milliseconds of each character."""


def chat_run(asked: Chat) -> int:
    """Hold the chat."""
    run = Run(asked.run)
    name = run.pick(asked.variant)
    if asked.target is None:
        graph = run.graph(name)
        _converse(asked.say, name, lambda line: _answer(graph, line))
        return 0
    if not isinstance(find_target(asked.target), Uno):
        raise LevshaError(f"--target {asked.target}: has no chat firmware; leave --target out, or use uno.")
    Uno().require()
    with Conversation(run.firmware(name)) as firmware:
        _converse(asked.say, f"{name} on a simulated Arduino UNO", lambda line: _timed(*firmware.say(line)))
    return 0


def _converse(say: str | None, who: str, answer: Callable[[str], str]) -> None:
    if say is not None:
        print(answer(say))
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no UTF-8 is bytes all the same
    if sys.stdin.isatty():
        print(f"{who}; an empty line ends the chat.")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not line.strip():
            return
        print(answer(line))


def _answer(graph: Graph, line: str) -> str:
    charset = bytes(int(byte) for byte in graph.ops[-1].table)  # type: ignore[attr-defined]
    query = typed_query(line)
    return decode(graph_predictor(graph), [query], charset)[0].decode("utf-8", "replace") if query else ""


def _timed(answer: str, cycles: list[int]) -> str:
    ms = [1000 * count / CLOCK_HZ for count in cycles]
    return (
        f"{answer}\n  [{len(ms)} characters with the end mark: {' '.join(f'{m:.1f}' for m in ms)} ms; {sum(ms):.0f} ms in all]"
        if ms
        else answer
    )


@dataclass(frozen=True)
class Export:
    """Write a net of a run in another form; docs/formats.md describes each."""

    run: Positional[Path]
    """The folder of a run."""
    to: Literal["json", "bin", "c", "pt", "npz", "safetensors"] = "json"
    """json, bin, c: an integer net, whole. pt, npz, safetensors: the float weights it was trained as."""
    variant: str | None = None
    """Which variant; without it, the one the run recommends."""
    file: Path | None = None
    """Where to write; without it, VARIANT.TO in the current folder."""


def export_run(asked: Export) -> int:
    """Write the file and say where it is."""
    run = Run(asked.run)
    suffix = {"c": "h"}.get(asked.to, asked.to)
    if asked.to in ("json", "bin", "c"):
        name = run.pick(asked.variant)
        graph = run.graph(name)
        path = asked.file or Path(f"{name}.{suffix}")
        write_file(
            path, {"json": to_json, "bin": to_binary, "c": lambda g: emit_c(g, f"tinychat {name}")}[asked.to](graph)
        )
    else:
        path = _export_float(run, asked, suffix)
    print(f"{path}: {path.stat().st_size} bytes")
    return 0


def _export_float(run: Run, asked: Export, suffix: str) -> Path:
    from levsha.train.files import export_mlp, load_mlp  # imports torch

    name = asked.variant or run.pick(None)
    seed = run.results()["seeds"][0]
    source = run.folder / "splits" / f"queries-{seed}" / f"{name}.safetensors"
    if not source.exists():
        raise LevshaError(
            f"{run.folder}: has no variant {name!r}; it has {', '.join(v['name'] for v in run.results()['variants'])}."
        )
    path = asked.file or Path(f"{name}.{suffix}")
    if asked.to == "safetensors":
        write_file(path, source.read_bytes())
    else:
        export_mlp(load_mlp(source)[0], path, asked.to)
    return path
