"""levsha formats: the weight formats."""

from __future__ import annotations

from levsha.commands.parse import refuse_words
from levsha.formats import FORMATS


def main(command: str, words: list[str]) -> int:
    """Print the list."""
    refuse_words(command, words)
    for weights in FORMATS.values():
        print(f"{weights.name:<12} {weights.bits:>4g} bits   {weights.meaning}")
    return 0
