"""levsha explain: what the outputs of a net depend on."""

from __future__ import annotations

from levsha.commands.parse import parse
from levsha.recipes.regression.explain import Explain, explain_run


def main(command: str, words: list[str]) -> int:
    """Draw the picture and print the inputs that matter most."""
    return explain_run(parse(Explain, words, "levsha explain"))
