"""Whether a net lost more on its way to integers than its format is expected to cost."""

from __future__ import annotations

from levsha.formats.base import Format


def is_collapse(source: float, variant: float, weights: Format, kind: str, margin: float) -> bool:
    """Say whether the variant is worse than its float source by more than the format's expected loss and a margin.

    kind: accuracy (per cent; margin in points) or r2.
    """
    expected = weights.expected_loss[0 if kind == "accuracy" else 1]
    return source - variant > expected + margin


def points(figure: float, kind: str) -> str:
    """Return a figure in words.

    >>> points(97.25, "accuracy"), points(0.9, "r2")
    ('97.2 %', 'R2 0.900')
    """
    return f"{figure:.1f} %" if kind == "accuracy" else f"R2 {figure:.3f}"
