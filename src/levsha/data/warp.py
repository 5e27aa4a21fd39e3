"""Images as they might have been drawn: turned, scaled, slanted, moved and bent at random; and made smaller.

Legend: N images, C channels, H W rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from levsha.data.area import shares

KNOTS = 5  # along each side of the grid whose random shifts bend an image
PART = 1000  # images at a time: what lies in the cache is warped fastest


@dataclass(frozen=True)
class Warp:
    """How far an image is changed at most, each way with equal probability.

    turn, slant: in degrees. scale: of each axis, as a logarithm. shift: as a share of the side. bend: standard deviation of the shifts of
    5 x 5 knots, as a share of the side (Simard, Steinkraus, Platt, 2003, in few numbers).
    """

    turn: float = 15.0
    slant: float = 10.0
    scale: float = 0.15
    shift: float = 0.10
    bend: float = 0.03


def warp(image_NCHW: Tensor, how: Warp, generator: torch.Generator) -> Tensor:
    """Return float images (N, C, H, W), each changed in its own way; what comes in from outside is 0."""
    parts = [_warped(part, how, generator) for part in image_NCHW.split(PART)]
    return torch.cat(parts)


def _warped(image_NCHW: Tensor, how: Warp, generator: torch.Generator) -> Tensor:
    count, _, height, width = image_NCHW.shape
    grid = functional.affine_grid(_affine(count, how, generator), [count, 1, height, width], align_corners=False)
    knots = torch.randn(count, 2, KNOTS, KNOTS, generator=generator) * (2 * how.bend)
    bent = functional.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True)
    grid = grid + bent.permute(0, 2, 3, 1)
    return functional.grid_sample(image_NCHW, grid, align_corners=False)


def _affine(count: int, how: Warp, generator: torch.Generator) -> Tensor:
    """Where every image is looked at: (N, 2, 3), on the square from -1 to 1."""
    turn, slant = math.radians(how.turn), math.radians(how.slant)
    most = torch.tensor([turn, slant, how.scale, how.scale, 2 * how.shift, 2 * how.shift])
    drawn = (torch.rand(count, len(most), generator=generator) * 2 - 1) * most
    angle, lean, wide, high, right, down = drawn.unbind(1)
    cos, sin, lean, wide, high = angle.cos(), angle.sin(), lean.tan(), wide.exp(), high.exp()
    rows = [cos * wide, (cos * lean - sin) * high, right, sin * wide, (sin * lean + cos) * high, down]
    return torch.stack(rows, 1).reshape(count, 2, 3)


def shrink(image_NCHW: Tensor, size: int | None) -> Tensor:
    """Return float images (N, C, H, W) with `size` rows and columns as uint8: each pixel the mean, rounded half up, of the area it covers.

    size: None: as many as there are.

    >>> shrink(torch.tensor([[[[0, 0, 0], [0, 9, 0], [0, 0, 99]]]]), 2).tolist()
    [[[[1, 1], [1, 45]]]]
    """
    rows, columns = (torch.from_numpy(shares(side, size or side) / side).float() for side in image_NCHW.shape[2:])
    parts = [rows @ part.float() @ columns.t() for part in image_NCHW.split(PART)]
    return (torch.cat(parts) + 0.5).floor().clamp(0, 255).to(torch.uint8)
