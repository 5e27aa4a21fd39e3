"""The recipes; this list is the only place that names them all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from levsha.errors import LevshaError

if TYPE_CHECKING:
    from levsha.recipes.base import Recipe

RECIPES = {  # name: one line for the command line's help; the module levsha.recipes.NAME.recipe holds the recipe itself
    "tinychat": "a chat on query|response pairs: text to a chip",
    "images": "pictures into classes: train, quantise, compare sizes, accuracy and speed; a camera-sized net on a chip",
    "convert": "a torch or ONNX model of yours as exact integers; the same as levsha convert",
    "regression": "numbers or classes from a table of readings, or of small images: see training work; a sensor model on a chip",
}


def find_recipe(name: str) -> Recipe[Any, Any]:
    """Return the recipe called `name`; LevshaError lists what there is."""
    if name not in RECIPES:
        raise LevshaError(f"recipe {name!r}: unknown; there are {', '.join(RECIPES)}.")
    return importlib.import_module(f"levsha.recipes.{name}.recipe").RECIPE
