"""What is done with a finished run of any recipe: check it on a chip, export its nets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from tyro.conf import Positional

from levsha.emit.c import emit_c
from levsha.emit.export import to_binary, to_json
from levsha.errors import LevshaError, check_range
from levsha.files import write_file
from levsha.recipes import find_recipe
from levsha.recipes.check import check_saved
from levsha.run import Run
from levsha.targets import find_target


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
    recipe = find_recipe(run.results()["recipe"])
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
            row = check_saved(recipe, run, name, target, asked.vectors, asked.seed)
        console.print(
            f"{name} on {target.name}: {row['mismatches']} mismatches in {row['vectors']} vectors  ({row['certificate']})",
            highlight=False,
        )
        if row["mismatches"]:
            console.print(f"  first op that differs: {row['first_difference']}; {row['example']}", highlight=False)
            status = 1
    return status


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
            path,
            {"json": to_json, "bin": to_binary, "c": lambda g: emit_c(g, f"{run.results()['recipe']} {name}")}[
                asked.to
            ](graph),
        )
    else:
        path = _export_float(run, asked, suffix)
    print(f"{path}: {path.stat().st_size} bytes")
    return 0


def _export_float(run: Run, asked: Export, suffix: str) -> Path:
    name, results = asked.variant or run.pick(None), run.results()
    recipe = find_recipe(results["recipe"])
    source = recipe.float_weights(run, name)
    if not source.exists():
        raise LevshaError(
            f"{run.folder}: has no variant {name!r}; it has {', '.join(v['name'] for v in results['variants'])}."
        )
    path = asked.file or Path(f"{name}.{suffix}")
    if asked.to == "safetensors":
        write_file(path, source.read_bytes())
    else:
        recipe.export_float(source, path, asked.to)
    return path
