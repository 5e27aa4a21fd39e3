"""levsha run, levsha train: from data to a table, by recipe."""

from __future__ import annotations

import os
from itertools import pairwise

from levsha.commands.parse import console, parse
from levsha.errors import LevshaError
from levsha.recipes import RECIPES, find_recipe


def main(command: str, words: list[str]) -> int:
    """Run a recipe, or its training alone; return the exit status."""
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:<12} {about}" for name, about in RECIPES.items()]
        usage = [
            f"usage: levsha {command} RECIPE [FLAGS]",
            "",
            *lines,
            "",
            f"levsha {command} RECIPE --help explains every flag.",
        ]
        print("\n".join(usage))
        return 0
    recipe = find_recipe(words[0])
    if not recipe.processes and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LevshaError(
            f"{recipe.name}: its many small trainings run side by side already (--jobs); start it without torchrun."
        )
    joined = " ".join(words).replace("--preset=", "--preset ").split()
    wanted = ([b for a, b in pairwise(joined) if a == "--preset"] or ["quick"])[-1]
    default = recipe.preset(wanted)
    settings = parse(type(default), words[1:], f"levsha {command} {recipe.name}", default)
    from levsha.recipes.pipeline import run_recipe

    return run_recipe(recipe, settings, console(), command == "train")
