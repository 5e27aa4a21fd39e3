"""Many warped versions of the images to learn from, made once and kept, with a teacher's answers to each; legend: N images, C channels, O classes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from levsha.data.numbers import raw_bytes
from levsha.data.sampling import step_seed
from levsha.data.warp import Warp, shrink, warp
from levsha.errors import LevshaError
from levsha.files import read_kept, remove_stale, unwritable, write_file
from levsha.train.batch import Stream
from levsha.train.fit import predict

X, ANSWERS = "x.npy", "answers.npy"
PART = 4000  # images that are held as floats at a time
ANSWERED = 250  # images that a teacher sees at a time: its maps then lie in the cache


@dataclass(frozen=True, eq=False)
class Pool:
    """Images to draw batches from: the first N are the originals, then come their warped versions, pass by pass.

    x: uint8 (passes * N, C, size, size), on the disk. y: right classes (N,). answers: a teacher's outputs (passes * N, O), where there is
    one.
    """

    x: np.ndarray
    y: np.ndarray
    classes: int
    answers: np.ndarray | None = None

    def stream(self, batch: int, share: float = 0.0, temperature: float = 1.0) -> Stream:
        """Return batches drawn with replacement, an epoch of as many images as there are originals; targets are probabilities.

        share: of the teacher's probabilities in the target, at a temperature; the rest is the right class (Hinton et al. 2015).
        """
        if share and self.answers is None:
            raise LevshaError(f"pool: there is no teacher to have a share of {share:g} in what is learned.")
        right_OO = torch.eye(self.classes)

        def draw(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
            index_N = torch.randint(len(self.x), (count,), generator=generator).sort()[0].numpy()
            x, target = (
                _channels_last(torch.from_numpy(self.x[index_N]).float()),
                right_OO[self.y[index_N % len(self.y)]],
            )
            if share:
                assert self.answers is not None
                said = torch.from_numpy(self.answers[index_N].astype(np.float32))
                target = (1 - share) * target + share * torch.softmax(said / temperature, 1)
            return x, target

        return Stream(draw, max(1, len(self.y) // batch))

    def taught(self, teacher: nn.Module, folder: Path) -> Pool:
        """Return the pool with a teacher's answers, which are kept in its folder."""
        digest = sha256()
        for tensor in teacher.state_dict().values():
            digest.update(raw_bytes(tensor).data)
        path, shape = folder / ANSWERS, (len(self.x), self.classes)

        def answer(out: np.ndarray) -> None:
            for start in range(0, len(self.x), ANSWERED):
                x = torch.from_numpy(self.x[start : start + ANSWERED].astype(np.float32))
                out[start : start + ANSWERED] = predict(teacher, _channels_last(x)).numpy()

        return replace(self, answers=_kept(path, {"teacher": digest.hexdigest()}, shape, np.float16, answer))


def _channels_last(x: Tensor) -> Tensor:
    """The same images (N, C, H, W) with channels next to each other, even a single one: convolutions are faster on them."""
    last = x.movedim(1, -1)
    return last.flatten(1).unflatten(1, last.shape[1:]).movedim(-1, 1)


def make_pool(
    image_NCHW: np.ndarray, y: np.ndarray, size: int | None, passes: int, how: Warp, seed: int, folder: Path
) -> Pool:
    """Return a pool of images uint8 (N, C, H, W) of classes y (N,), with `size` rows and columns, None: as they are; what a folder holds of
    it is not made again."""
    if passes < 1 or not len(y):
        raise LevshaError(f"pool: {passes} passes over {len(y)} images; there must be one at least.")
    digest = sha256(np.ascontiguousarray(image_NCHW).data)
    digest.update(np.ascontiguousarray(y).data)
    key = {"images": digest.hexdigest(), "size": size, "passes": passes, "warp": vars(how), "seed": seed}

    def fill(out: np.ndarray) -> None:
        image, count = torch.from_numpy(image_NCHW), len(y)
        for at in range(passes):
            generator = torch.Generator().manual_seed(step_seed(seed, at))
            for start in range(0, count, PART):
                part = image[start : start + PART].float()
                made = shrink(warp(part, how, generator) if at else part, size).numpy()
                out[at * count + start : at * count + start + len(made)] = made

    channels, *sides = image_NCHW.shape[1:]
    shape = (passes * len(y), channels, *(size or side for side in sides))
    x = _kept(folder / X, key, shape, np.uint8, fill)
    return Pool(x, y, int(y.max()) + 1)


def _kept(
    path: Path, key: dict[str, Any], shape: tuple[int, ...], kind: type, fill: Callable[[np.ndarray], None]
) -> np.ndarray:
    """An array in a file, as it was made for a key, or made now: under a temporary name first."""
    said = path.with_suffix(".json")
    if not path.is_file() or read_kept(said) != key:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale(path.parent)
            said.unlink(missing_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            made = np.lib.format.open_memmap(temporary, "w+", kind, shape)
            fill(made)
            made.flush()
            os.replace(temporary, path)
        except OSError as error:
            raise unwritable(path, error) from None
        write_file(said, json.dumps(key))
    return np.load(path, mmap_mode="r")
