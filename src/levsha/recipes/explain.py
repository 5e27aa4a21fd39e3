"""levsha explain: what is asked for, the same for every recipe that explains its nets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Explain:
    """Draw what a net's output depends on: bars for a table's inputs, a map for the pixels of images."""

    run: Positional[Path]
    """The folder of a run of the recipe regression, or images."""
    variant: str | None = None
    """regression: baseline, the large float net, or sensor, the small one that the chip's integers come from; without it, baseline."""
    output: int | None = None
    """Which output to explain, from 0; without it the first, of images the class that the net chooses."""
    image: tuple[Path, ...] = ()
    """images: pictures of yours to explain, PNG, JPEG, PGM or PPM; without it, a test image of each class."""
    file: Path | None = None
    """Where to draw, without a suffix; without it, RUN/saliency."""

    @property
    def stem(self) -> Path:
        """Where to draw."""
        return (self.file or self.run / "saliency").with_suffix("")
