"""The story of a run, each stage once, in order: data, train, ship, report."""

from __future__ import annotations

import json

from rich.console import Console

from levsha.evidence.plots import draw_accuracy_against_flash, draw_losses
from levsha.evidence.table import LEGEND, markdown_table, notes, replies_table, rich_tables
from levsha.files import write_file
from levsha.jobs import run_jobs
from levsha.recipes.tinychat import recipe, results
from levsha.recipes.tinychat.settings import TinyChat
from levsha.run import Run
from levsha.targets import find_target


def run_tinychat(settings: TinyChat, console: Console) -> None:
    """Run the recipe from its data to its table; what an earlier run of the same settings finished is not made again."""
    settings.check()
    target = find_target(settings.target)
    pairs = recipe.read_data(settings)
    z80ai = recipe.evaluate_z80ai(settings, pairs)
    run = Run(settings.out)
    with run.writing():
        run.keep_data(pairs)
        jobs = recipe.training_jobs(settings, pairs)
        trained = dict(zip([job.name for job in jobs], run_jobs(jobs, settings.jobs, console), strict=True))
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
