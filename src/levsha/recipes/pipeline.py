"""The story of a run, the same for every recipe, each stage once, in order: data, train, ship, judge, draw, report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from levsha.errors import LevshaError
from levsha.evidence.ship import Row, ship
from levsha.evidence.table import collapses, markdown_table, notes, rich_tables
from levsha.files import read_kept, write_file
from levsha.jobs import Job, News, run_here, run_jobs, say
from levsha.net import Net
from levsha.recipes.base import Recipe, RunSettings
from levsha.recipes.collect import collect
from levsha.run import FORMAT, Run
from levsha.targets import find_target

MISMATCHED = 1  # the exit status where a chip computed anything else than the interpreter
COLLAPSED = 3  # the exit status where a variant is much worse than its source and nobody accepted that
RESULTS = "results.json"


def run_recipe(recipe: Recipe, settings: RunSettings, console: Console, only_train: bool = False) -> int:
    """Go from data to table; what an earlier run of the same settings finished is not made again. Returns the exit status."""
    settings.check()
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    instead = recipe.instead(settings)
    if together and instead:
        raise LevshaError(
            "--compare: trains with one optimizer after the other in one process; start it without torchrun."
        )
    data = recipe.read(settings)
    recipe.check(settings, data)
    run = Run(settings.out)
    run.claim(recipe.name)
    if instead:
        instead(settings, data, console)
        return 0
    return (
        _together(recipe, settings, data, console, only_train)
        if together
        else _run(recipe, settings, data, console, only_train)
    )


def _together(recipe: Recipe, settings: RunSettings, data: Any, console: Console, only_train: bool) -> int:
    """Run as one of torchrun's processes; number 0 writes and speaks."""
    from levsha.train.parallel import join_world, leave_world  # imports torch

    world = join_world()
    console.quiet = world.rank > 0
    try:
        return _run(recipe, settings, data, console, only_train, world.rank, world.size)
    finally:
        leave_world()


def _run(
    recipe: Recipe, settings: RunSettings, data: Any, console: Console, only_train: bool, rank: int = 0, size: int = 1
) -> int:
    jobs = [recipe.job(settings, data, kind, seed) for kind, seed in recipe.splits(settings)]
    if rank:
        run_here(jobs, console)
        return 0
    for notice in recipe.notices(data):
        console.print(notice, style="yellow", highlight=False, markup=False, soft_wrap=True)
    run = Run(settings.out)
    with run.writing():
        made = run_here(jobs, console) if size > 1 else run_jobs(jobs, settings.jobs, console)
        _forget_others(recipe, run, recipe.training_key(settings, data), console)
        recipe.keep(data, settings.out)
        trained = {job.name: metrics for job, metrics in zip(jobs, made, strict=True)}
        if only_train:
            console.print(f"Trained: {settings.out}. levsha run {recipe.name} ships what is there.", highlight=False)
            return 0
        rows = _ship_all(recipe, settings, data, run, console)
        found = collect(recipe, settings, data, trained, rows)
        found |= recipe.deliver(settings, data, run, found)
        write_file(settings.out / RESULTS, json.dumps(found, indent=2) + "\n")
        recipe.draw(settings, data, found, trained)
        write_file(settings.out / "report.md", report(recipe, found))
    show(recipe, settings, found, console)
    if any(variant["mismatches"] for variant in found["variants"]):
        return MISMATCHED
    return COLLAPSED if collapses(found) and not settings.accept_loss else 0


def _forget_others(recipe: Recipe, run: Run, key: str, console: Console) -> None:
    """Remove the results of a finished run that was made from other data or settings: they would describe nets that are being replaced."""
    found = read_kept(run.folder / RESULTS)
    if (run.folder / RESULTS).exists() and found.get("training_key") != key:
        run.forget_results()
        how = "with other settings or data" if found.get("format") == FORMAT else "by an older Levsha"
        text = f"{run.folder}: the former results here were made {how}; they are replaced."
        console.print(text, highlight=False, soft_wrap=True)


def _ship_all(recipe: Recipe, settings: RunSettings, data: Any, run: Run, console: Console) -> dict[str, Row]:
    """Put every integer net of the first split onto the chip; return the rows by variant."""
    names = [variant.name for variant in recipe.variants(settings) if variant.format]
    for name in names:
        new, old = recipe.net_path(settings, name), run.folder / "nets" / f"{name}.safetensors"
        if not old.exists() or old.read_bytes() != new.read_bytes():
            run.forget_results()  # from here on they would describe nets that are being replaced
    jobs = [Job(name, ship_variant, (recipe.name, settings, name), 3) for name in names]
    return dict(zip(names, run_jobs(jobs, settings.jobs, console), strict=True)) if jobs else {}


def ship_variant(recipe_name: str, settings: RunSettings, name: str) -> Row:
    """Copy a net to RUN/nets and put it onto its chip; return its row. Runs in a process of its own."""
    from levsha.recipes import find_recipe

    recipe, run = find_recipe(recipe_name), Run(settings.out)
    source = recipe.net_path(settings, name)
    write_file(run.folder / "nets" / f"{name}.safetensors", source.read_bytes())
    net, steps = Net.load(source), 0

    def report_step(text: str) -> None:
        nonlocal steps
        say(News(name, steps, text))
        steps += 1

    trial = recipe.trial(settings, recipe.kept(run), net)
    row = ship(net, find_target(settings.target), trial, run, name, settings.seed, report_step)
    say(News(name, 3, row.note or "done"))
    return row


def report(recipe: Recipe, found: Mapping[str, Any]) -> str:
    """Return the run as Markdown: the data and what was left of it, the table, what it says, the pictures, examples."""
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"# {recipe.name}, preset {found['preset']}", "", f"{found['data']['about']} Seeds {seeds}; target {found['target']}.", "",
        *(f"- {_escaped(notice)}" for notice in found["notices"]), "",
        markdown_table(found, recipe.columns(found)),
        *(f"- {_escaped(line)}" for line in (*notes(found), *collapses(found))), "", found["summary"], "",
        *(f"![{name}]({name}.png)" for name in recipe.pictures), "", recipe.examples(found),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _escaped(text: str) -> str:
    """A sentence that may quote data, safe in Markdown."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def show(recipe: Recipe, settings: RunSettings, found: Mapping[str, Any], console: Console) -> None:
    """Print the table, what it leaves open, what it says, and what to do next."""
    for table in rich_tables(found, recipe.columns(found), console.width):
        console.print(table)
    for line in notes(found):
        console.print(f"  {line}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for line in collapses(found):
        console.print(f"  {line}", style="red", highlight=False, markup=False, soft_wrap=True)
    console.print(f"\n{found['summary']}\n", highlight=False, markup=False)
    pictures = ", ".join(f"{name}.png" for name in recipe.pictures)
    console.print(
        f"Everything is in {settings.out}: results.json, report.md, {pictures}, {', '.join((*recipe.also, 'nets', 'firmware', 'certificates'))}.",
        highlight=False,
    )
    for line in recipe.next_steps(settings, found):
        console.print(line, highlight=False, markup=False)


def folder_of(out: Path, kind: str, seed: int, room: str) -> Path:
    """Return where the nets of a split lie."""
    return out / room / f"{kind}-{seed}"
