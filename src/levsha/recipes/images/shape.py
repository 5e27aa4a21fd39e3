"""What a net of the recipe looks like, layer by layer, and whether images of a size fit through it; free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from levsha.errors import LevshaError

Kind = Literal["cnn", "separable", "mlp"]
TAP = 3  # rows and columns of every kernel
POOL = 2  # rows and columns of every pool


@dataclass(frozen=True)
class Stage:
    """A convolution of 3x3 without padding, and whether a max-pool of 2 follows. names: of its layers with weights; split: depthwise, then
    pointwise. rows, columns: of what it makes."""

    names: tuple[str, ...]
    channels: int
    split: bool
    pool: bool
    rows: int
    columns: int


@dataclass(frozen=True)
class Shape:
    """A net: convolutions, then linear layers of so many neurons, the classes last. image: (channels, rows, columns)."""

    image: tuple[int, int, int]
    stages: tuple[Stage, ...]
    widths: tuple[int, ...]

    @property
    def features(self) -> int:
        """Numbers that the first linear layer reads."""
        if not self.stages:
            return self.image[0] * self.image[1] * self.image[2]
        last = self.stages[-1]
        return last.channels * last.rows * last.columns

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers with weights, in order."""
        linear = (f"fc{k}" for k in range(1, len(self.widths)))
        return (*(name for stage in self.stages for name in stage.names), *linear, "fc")

    def describe(self) -> str:
        """Return it in words.

        >>> shape_of("cnn", (1, 28, 28), 10, (8, 16), (), ()).describe()
        '1x28x28, conv 8, pool, conv 16, pool, linear 400 -> 10'
        """
        parts = ["x".join(map(str, self.image))]
        for stage in self.stages:
            parts.append(f"{'separable' if stage.split else 'conv'} {stage.channels}")
            parts += ["pool"] if stage.pool else []
        return ", ".join([*parts, f"linear {' -> '.join(map(str, (self.features, *self.widths)))}"])


def shape_of(
    kind: Kind, image: tuple[int, int, int], classes: int, channels: Sequence[int], hidden: Sequence[int], pool: Sequence[int]
) -> Shape:  # fmt: skip
    """Return the shape of a net for images (channels, rows, columns); LevshaError where they are too small for it.

    pool: numbers, from 1, of the convolutions that a max-pool follows. Where none is named one follows each convolution, as long as what
    is left is large enough for the convolutions behind it and one pool at the end.

    >>> [stage.pool for stage in shape_of("cnn", (1, 8, 8), 10, (8, 16), (), ()).stages]   # 8, conv 6, conv 4, pool 2
    [False, True]
    """
    if kind == "mlp":
        return Shape(image, (), (*hidden, classes))
    stages: list[Stage] = []
    rows, columns = image[1:]
    for k, count in enumerate(channels, 1):
        left = len(channels) - k
        rows, columns = rows - TAP + 1, columns - TAP + 1
        needed = left * (TAP - 1) + (POOL if left else 1)
        pools = k in pool if pool else min(rows, columns) // POOL >= needed
        rows, columns = (rows // POOL, columns // POOL) if pools else (rows, columns)
        if min(rows, columns) < 1:
            raise LevshaError(
                f"--channels: are {' '.join(map(str, channels))}, but images of {image[2]} x {image[1]} pixels are used up by convolution {k}"
                f"{' and its pool' if pools else ''}: each takes 2 rows and columns, a pool half of them. Give fewer, larger images, or --kind mlp."
            )
        split = kind == "separable" and k > 1
        names = (f"depth{k}", f"point{k}") if split else (f"conv{k}",)
        stages.append(Stage(names, count, split, pools, rows, columns))
    return Shape(image, tuple(stages), (*hidden, classes))
