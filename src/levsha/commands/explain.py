"""levsha explain: what the outputs of a net depend on."""

from __future__ import annotations

from levsha.commands.parse import parse
from levsha.recipes import find_recipe
from levsha.recipes.explain import Explain
from levsha.run import Run


def main(command: str, words: list[str]) -> int:
    """Draw the picture and print what matters most."""
    asked = parse(Explain, words, "levsha explain")
    return find_recipe(Run(asked.run).results()["recipe"]).explain(asked)
