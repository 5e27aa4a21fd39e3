"""levsha check: compare a run's nets on a target with the interpreter, and write certificates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from levsha.commands.parse import console, parse
from levsha.errors import LevshaError, check_range
from levsha.evidence.ship import check_again
from levsha.recipes import find_recipe
from levsha.run import Run
from levsha.targets import DEFAULT_TARGET, find_target


@dataclass(frozen=True)
class Check:
    """Compare every output of every vector on a target with the interpreter, and write a certificate."""

    run: Positional[Path]
    """The folder of a run."""
    target: str = DEFAULT_TARGET
    """The chip; levsha targets lists them."""
    vectors: int = 1000
    """How many vectors: half real, half random."""
    seed: int = 1
    """Seed of the vectors."""
    variant: str | None = None
    """One integer variant; without it, every one that fits the target."""


def main(command: str, words: list[str]) -> int:
    """Check a run's nets; return 1 where anything differs."""
    asked = parse(Check, words, "levsha check")
    check_range("vectors", asked.vectors, 1, 1_000_000)
    check_range("seed", asked.seed, 0, 1 << 30)
    run, target = Run(asked.run), find_target(asked.target)
    results = run.results()
    recipe, data = find_recipe(results["recipe"]), None
    fits = {v["name"]: v["fits"] is not False or target.flash_bytes is None for v in results["variants"]}
    names = [run.pick(asked.variant)] if asked.variant else [name for name in run.variants() if fits[name]]
    if not names:
        raise LevshaError(f"{run.folder}: has no integer net that fits {target.name}; nothing was checked.")
    target.require()
    screen, status, data = console(), 0, recipe.kept(run)
    for name in names:
        with screen.status(f"{name} on {target.name}"):
            net = run.net(name)
            vectors = recipe.vectors(data, net, asked.vectors, asked.seed)
            row, path = check_again(net, target, vectors, run, name, asked.seed)
        screen.print(
            f"{name} on {target.name}: {row.mismatches} mismatches in {row.vectors} vectors  ({path})", highlight=False
        )
        if row.mismatches:
            screen.print(f"  first op that differs: {row.first_difference}; {row.example}", highlight=False)
            status = 1
    return status
