"""Pictures as people have them into a net: brought to its size, channels and brightness, and what was done to them said.

Legend: N pictures, H rows, W columns, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from levsha.applications.picture import LARGEST_PIXEL, Picture
from levsha.data.pictures import open_picture, resized
from levsha.errors import LevshaError
from levsha.net import Net

Invert = Literal["auto", "yes", "no"]
DARK, BRIGHT = 0.25, 0.75  # of the brightest pixel: the edge of a picture that is one or the other
FEW_SHADES = 16  # where no pixel that the net learned from is larger, white is the largest of them: scikit-learn's digits are 0 to 16
GREY = np.array([299, 587, 114])  # thousandths of red, green and blue (ITU-R BT.601, as pillow has it)


@dataclass(frozen=True)
class Eye:
    """How a net wants its pictures: as those that it learned from.  brightest: what white is; edge: how bright their edges are, 0 to 1."""

    picture: Picture
    brightest: int
    edge: float

    @classmethod
    def of(cls, net: Net, x: np.ndarray, where: str) -> Eye:
        """Return it for a net and real inputs (N, *shape) that it was measured on; LevshaError where the net reads no picture."""
        picture = Picture.into(net.graph, net.meaning)
        if picture is None:
            inputs = ", ".join(f"{name}{list(v.shape)} in {v.lo}..{v.hi}" for name, v in net.graph.inputs.items())
            raise LevshaError(f"{where}: its net reads {inputs}, no picture; see levsha ask, levsha chat.")
        name = next(iter(net.graph.inputs))
        layout = net.meaning.layouts.get(name)
        pixels = picture.lift(net.integers(name, layout.lay(x) if layout else x))
        most = max(1, int(pixels.max()))
        return cls(picture, most if most <= FEW_SHADES else picture.top, float(np.median(edges(pixels))) / most)

    def see(self, path: Path, invert: Invert) -> tuple[np.ndarray, str]:
        """Return a picture's pixels (H, W, C) as the net wants them, and what was done to it, in words."""
        pixels, transparent = open_picture(path)
        picture, (rows, columns, channels) = self.picture, pixels.shape
        found = f"{columns} x {rows}, {'grey' if channels == 1 else 'RGB'}"
        done = [f"{found} -> {picture.name}" if found != picture.name else f"{found}, as it is"]
        done += ["transparency left out"] if transparent else []
        if channels > picture.channels:
            pixels = ((pixels.astype(int) @ GREY + 500) // 1000).astype(np.uint8)[..., None]
        pixels = np.broadcast_to(pixels, (rows, columns, picture.channels))
        if (rows, columns) != (picture.rows, picture.columns):
            pixels = resized(np.ascontiguousarray(pixels), picture.rows, picture.columns)
            squeezed = rows * picture.columns != columns * picture.rows
            done += [
                f"{'area-averaged' if rows >= picture.rows and columns >= picture.columns else 'bilinear'}{', squeezed' * squeezed}"
            ]
        edge = float(edges(pixels[None])[0]) / LARGEST_PIXEL
        if invert == "yes" or (invert == "auto" and _opposite(edge, self.edge)):
            pixels = LARGEST_PIXEL - pixels
            why = f": its edge is {_shade(edge)}, what the net learned from has a {_shade(self.edge)} one"
            done += [f"inverted{why if invert == 'auto' else ''}"]
        if self.brightest != LARGEST_PIXEL:
            pixels = (pixels.astype(int) * self.brightest + LARGEST_PIXEL // 2) // LARGEST_PIXEL
            done += [f"0..{LARGEST_PIXEL} to 0..{self.brightest}, as what the net learned from"]
        return pixels.astype(np.int64), "; ".join(done)


def edges(pixels: np.ndarray) -> np.ndarray:
    """Return how bright the outermost pixels of pictures (N, H, W, C) are in the mean, (N,)."""
    ring = np.ones(pixels.shape[1:3], bool)
    ring[1:-1, 1:-1] = False
    return pixels[:, ring].mean((1, 2))


def _opposite(a: float, b: float) -> bool:
    return (a > BRIGHT and b < DARK) or (a < DARK and b > BRIGHT)


def _shade(edge: float) -> str:
    return "bright" if edge > BRIGHT else "dark" if edge < DARK else "grey"
