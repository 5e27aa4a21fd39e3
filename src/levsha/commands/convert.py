"""levsha convert: any torch or ONNX model becomes exact integers, C, ONNX and firmware."""

from __future__ import annotations

from levsha.commands.parse import console, parse
from levsha.recipes.convert.recipe import RECIPE
from levsha.recipes.convert.settings import Convert


def main(command: str, words: list[str]) -> int:
    """Convert a model; return the exit status."""
    settings = parse(Convert, words, "levsha convert", RECIPE.preset("quick"))
    from levsha.recipes.pipeline import run_recipe

    return run_recipe(RECIPE, settings, console())
