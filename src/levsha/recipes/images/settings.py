"""Every setting of the recipe images; the command line's flags are derived from these dataclasses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from tyro.conf import Suppress

from levsha.errors import LevshaError, check_range
from levsha.recipes.bench import Bench
from levsha.recipes.conversion import Conversion
from levsha.recipes.images.shape import Kind, Shape, shape_of
from levsha.train.settings import Training

EPOCH = 20  # batches between two looks at the validation images
LIMITS = {"batches": (1, 10_000_000), "calibration_batches": (1, 10_000), "warped": (0, 1000)}
VERSION = 1  # raise it when nets come out differently from the same settings


@dataclass(frozen=True)
class ImageTraining(Training):
    """How the float net is trained."""

    loss: Suppress[str] = "cross_entropy"
    epochs: Suppress[int] = 1
    sampling: Suppress[str] = "with_replacement"
    rate: float = 4e-3


@dataclass(frozen=True)
class Images(Conversion):
    """Train a small net on images, quantise it after training, and compare both: sizes, accuracy, speed, and on a chip."""

    preset: Literal["quick", "full"] = "quick"
    """quick: 100 batches, less than a minute. full: a long schedule, three seeds."""
    out: Path = Path("runs/images")
    data: str = "digits"
    """digits (8 x 8, comes along), mnist, fashion-mnist, or a path: a folder of IDX files, a folder of a folder a class, .npz."""
    size: int | None = None
    """Reduces images to so many pixels each way, area-averaged."""
    kind: Kind = "cnn"
    """cnn, separable (all but the first convolution depthwise, then pointwise) or mlp."""
    channels: tuple[int, ...] = (8, 16)
    """Channels of each convolution, 3x3 without padding."""
    hidden: tuple[int, ...] = ()
    """Neurons of hidden linear layers behind the convolutions; of an mlp 32 where none are given."""
    pool: tuple[int, ...] = ()
    """Which convolutions, from 1, a max-pool of 2 follows; without it, each that leaves room."""
    batches: int = 100
    """Batches to learn from; more than 20 in multiples of 20. A larger number goes on from where a finished run ended."""
    warped: int = 0
    """Versions of every training image to learn from beside it, turned, scaled, slanted, moved and bent a little; made before training."""
    teacher: tuple[int, ...] = ()
    """Channels of a larger net that is trained first; what the nets then learn is half its answers."""
    calibration_batches: int = 10
    """Batches of training images that steps are chosen from."""
    weights: tuple[str, ...] = ("int8", "int4")
    """Formats of the weights, a variant each; levsha formats lists them."""
    keep: Suppress[float] = 1.0
    train: ImageTraining = field(default_factory=ImageTraining)

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        super().check()
        for name, (low, high) in LIMITS.items():
            check_range(name.replace("_", "-"), getattr(self, name), low, high)
        if self.batches > EPOCH and self.batches % EPOCH:
            raise LevshaError(f"--batches: is {self.batches}; give 1 to {EPOCH}, or a multiple of {EPOCH}.")
        check_range("train.batch", self.train.batch, 1, 1 << 16)
        self.training.check()
        for flag, widths in (("channels", self.channels), ("hidden", self.hidden), ("teacher", self.teacher)):
            if any(not 1 <= width <= 4096 for width in widths):
                raise LevshaError(f"--{flag}: is {' '.join(map(str, widths))}; give numbers from 1 to 4096.")
        if not self.channels and self.kind != "mlp":
            raise LevshaError("--channels: are none; give those of one convolution or more, or --kind mlp.")
        for k in self.pool:
            check_range("pool", k, 1, len(self.channels))

    @property
    def training(self) -> Training:
        """The settings of the training loop."""
        return replace(self.train, epochs=-(-self.batches // EPOCH))

    @property
    def steps_an_epoch(self) -> int:
        """Batches between two looks at the validation images."""
        return min(EPOCH, self.batches)

    @property
    def plain(self) -> bool:
        """Whether the nets learn from the images and their classes alone."""
        return not self.warped and not self.teacher

    def shape(self, data: Bench) -> Shape:
        """Return the net for these images; LevshaError where they are too small for it."""
        assert data.samples.y is not None
        _, channels, rows, columns = data.samples.x.shape
        hidden = self.hidden or ((32,) if self.kind == "mlp" else ())
        classes = max(len(data.samples.classes), int(data.samples.y.max()) + 1)
        return shape_of(self.kind, (channels, rows, columns), classes, self.channels, hidden, self.pool)

    def key(self, data: Bench) -> str:
        """Return a hash of all that decides how the nets come out."""
        training = {k: v for k, v in asdict(self.training).items() if k not in ("threads", "checkpoint_seconds")}
        net = [self.kind, self.channels, self.hidden, self.pool, self.batches, self.calibration_batches, self.seed]
        net += [] if self.plain else [self.warped, self.teacher]
        parts = [VERSION, data.digest, net, self.splits, self.deciding, training]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def preset(name: str) -> Images:
    """Return the settings a preset stands for."""
    if name == "full":
        training = ImageTraining(schedule="cosine", warmup=0.05)
        return Images(preset="full", splits=3, batches=8000, train=training, warped=5, teacher=(32, 64), fine_tune=10)
    return Images()
