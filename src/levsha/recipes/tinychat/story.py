"""The story of a tinychat run, each stage once, in order: data, train, ship, report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console

from levsha.data.pairs import Pairs, make_samples, read_pairs
from levsha.evidence.plots import draw_accuracy_against_flash, draw_losses
from levsha.evidence.table import LEGEND, markdown_table, notes, replies_table, rich_tables
from levsha.files import write_file
from levsha.ir import Graph
from levsha.jobs import run_jobs
from levsha.recipes.base import Recipe
from levsha.recipes.tinychat import recipe, results
from levsha.recipes.tinychat.settings import TinyChat, preset
from levsha.recipes.tinychat.vectors import check_vectors
from levsha.run import Run
from levsha.targets import Uno, find_target
from levsha.targets.uno import Firmware

PAIRS = "pairs.txt"


class TinyChatRecipe(Recipe):
    """A chat on query|response pairs."""

    name = "tinychat"

    def preset(self, name: str) -> TinyChat:
        """Return the settings of a preset."""
        return preset(name)

    def run(self, settings: TinyChat, console: Console, only_train: bool = False) -> None:
        """Go from pairs to table."""
        run_tinychat(settings, console, only_train)

    def vectors(self, run: Run, count: int, seed: int) -> dict[str, np.ndarray]:
        """Return queries and contexts: half of them the run's own, half any bytes."""
        pairs = read_pairs(run.folder / PAIRS)
        return check_vectors(pairs, make_samples(pairs), count, seed)

    def load_firmware(self, elf: Path, graph: Graph) -> Firmware:
        """Return a chat firmware."""
        return Uno().load(elf, graph)

    def float_weights(self, run: Run, variant: str) -> Path:
        """Return the weights of the split whose nets ship."""
        return run.folder / "splits" / f"queries-{run.results()['seeds'][0]}" / f"{variant}.safetensors"

    def export_float(self, source: Path, path: Path, to: str) -> None:
        """Write float weights for torch or numpy."""
        from levsha.train.files import export_mlp, load_mlp  # imports torch

        export_mlp(load_mlp(source)[0], path, to)


RECIPE = TinyChatRecipe()


def pairs_text(pairs: Pairs) -> bytes:
    """Return pairs as the lines they are read from."""
    lines = [query + b"|" + response for query, response in zip(pairs.queries, pairs.responses, strict=True)]
    return b"\n".join(lines) + b"\n"


def run_tinychat(settings: TinyChat, console: Console, only_train: bool = False) -> None:
    """Run the recipe from its data to its table; what an earlier run of the same settings finished is not made again."""
    settings.check()
    target = find_target(settings.target)
    pairs = recipe.read_data(settings)
    z80ai = recipe.evaluate_z80ai(settings, pairs)
    run = Run(settings.out)
    run.claim("tinychat")
    with run.writing():
        write_file(
            settings.out / PAIRS, pairs_text(pairs)
        )  # so that the run can be checked without the file it came from
        jobs = recipe.training_jobs(settings, pairs)
        trained = dict(zip([job.name for job in jobs], run_jobs(jobs, settings.jobs, console), strict=True))
        if only_train:
            console.print(f"Trained: {settings.out}/splits. levsha run tinychat ships what is there.", highlight=False)
            return
        shipping = recipe.shipping_jobs(settings, pairs)
        if recipe.nets_differ(settings):
            run.forget_results()  # from here on they would describe nets that are being replaced
        rows = run_jobs(shipping, settings.jobs, console) if shipping else []
        found = results.collect(settings, pairs, trained, dict(zip([job.name for job in shipping], rows, strict=True)))
        choice = results.choose(found)
        found |= {"recommended": choice["name"] if choice else None, "z80ai": z80ai, "summary": results.describe(found)}
        write_file(settings.out / "results.json", json.dumps(found, indent=2) + "\n")
        replies = recipe.example_replies(settings, pairs, trained[f"queries-{settings.seed}"]["replies"])
        write_file(settings.out / "replies.json", json.dumps(replies, indent=2, ensure_ascii=False) + "\n")
        draw_losses(recipe.loss_curves(settings), settings.out)
        nearest = {"15 nearest training samples": found["references"]["nearest_15"]["accuracy_queries"]}
        built = [v for v in found["variants"] if v["flash_bytes"]]
        draw_accuracy_against_flash(built, nearest, target.flash_bytes, settings.out)
        write_file(settings.out / "report.md", report(found, replies))
    show(found, replies, settings, console)


def report(found: dict, replies: list[dict]) -> str:
    """Return the run as Markdown: the table, the paragraph, the pictures, examples of replies."""
    data = found["data"]
    lines = [
        f"# tinychat, preset {found['preset']}",
        "",
        f"{data['file']}: {data['pairs']} pairs, {data['unique_queries']} unique queries, {data['replies']} replies, {data['samples']} samples. "
        f"Seeds {', '.join(map(str, found['seeds']))}; target {found['target']}.",
        "",
        markdown_table(found),
        *[f"- {note}" for note in notes(found)],
        "",
        found["summary"],
        "",
        "![loss](loss.png)",
        "![accuracy against flash](accuracy-flash.png)",
        "",
        *reply_lines(replies),
    ]
    return "\n".join(lines) + "\n"


def reply_lines(replies: list[dict]) -> list[str]:
    """Return examples of replies as a Markdown table, a row a query; a listed reply is marked with a tick."""
    names = list(replies[0]["said"]) if replies else []
    lines = ["| | query | listed | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"] if names else []
    for r in replies if names else []:
        said = [f"{text or '(nothing)'}{' ✓' if text in r['listed'] else ''}" for text in r["said"].values()]
        listed = " / ".join(r["listed"][:3]) + (" ..." if len(r["listed"]) > 3 else "")
        lines.append(
            "| " + " | ".join(cell.replace("|", "/") for cell in (r["kind"], r["query"], listed, *said)) + " |"
        )
    return lines


def show(found: dict, replies: list[dict], settings: TinyChat, console: Console) -> None:
    """Print the table, what it leaves open, the paragraph, a few replies and what to do next."""
    for table in rich_tables(found, console.width):
        console.print(table)
    console.print(f"  {LEGEND}", style="dim", highlight=False)
    for note in notes(found):
        console.print(f"  {note}", style="yellow", highlight=False, markup=False)
    if found["z80ai"]:
        z = found["z80ai"]
        console.print(
            f"\nz80ai's net {z['file']} on all of this data: next character {z['accuracy_all']:.1f} %, exact replies {z['exact_all']:.1f} %",
            highlight=False,
        )
    console.print(f"\n{found['summary']}\n", highlight=False)
    name = found["recommended"]
    if replies and replies[0]["said"]:
        console.print(replies_table(replies))
    console.print(
        f"\nEverything is in {settings.out}: results.json, report.md, loss.png, accuracy-flash.png, nets, firmware, certificates.",
        highlight=False,
    )
    if name:
        console.print(
            f"Chat with it: levsha chat {settings.out}{f' --target {settings.target}' if settings.target == 'uno' else ''}",
            highlight=False,
        )
