"""Folders of PNG and JPEG images as samples: a folder a class, or images alone.  Legend: N images, C channels, H rows, W columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from levsha.data.area import average_areas
from levsha.data.reduce import LARGEST_SIZE
from levsha.data.sample_set import Samples, name_classes
from levsha.errors import LevshaError, check_range

SUFFIXES = (".png", ".jpg", ".jpeg")
KINDS = {"PNG": "PNG", "JPEG": "JPEG", "PPM": "PGM, PPM"}  # of files, as pillow calls them, and as people do
DEEP = ("I", "F")  # how pillow calls images of more than 8 bits a channel, or how that begins
PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # what becomes grey or RGB as it is
PNG_DEPTH = 24  # where a PNG says how many bits a channel has
SHOWN = 5


@dataclass(frozen=True)
class Folder:
    """What lies in a folder, sorted by name; hidden files are not looked at."""

    path: Path
    images: tuple[Path, ...]
    folders: tuple[Path, ...]
    others: tuple[Path, ...]

    @classmethod
    def of(cls, path: Path) -> Folder:
        """Return what lies in a folder; LevshaError where it cannot be read."""
        try:
            found = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            raise LevshaError(f"{path}: cannot be read ({error.strerror}); give a folder of images.") from None
        folders = tuple(entry for entry in found if entry.is_dir())
        images = tuple(entry for entry in found if entry not in folders and entry.suffix.lower() in SUFFIXES)
        return cls(path, images, folders, tuple(entry for entry in found if entry not in (*folders, *images)))


def read_pictures(path: Path, size: int | None = None) -> Samples:
    """Return a folder's images as uint8 (N, C, H, W), grey C = 1, else red, green, blue; their class is the folder they lie in.

    Images that lie in the folder itself have no class. size: every image becomes size x size pixels, each the mean of its area; a smaller
    image bilinear. Without it all must be of one size. LevshaError for a folder of something else, images of different sizes, and one that cannot be read.
    """
    if size is not None:
        check_range("size", size, 1, LARGEST_SIZE)
    top = Folder.of(path)
    classes = [Folder.of(folder) for folder in top.folders]
    _check_layout(top, classes)
    notices: list[str] = []
    images = [image for folder in classes or [top] for image in folder.images]
    x = _read_all(path, images, size, notices)
    y, names = None, ()
    if classes:
        y, names = name_classes([image.parent.name for image in images], str(path), notices)
    others = [*top.others, *(other for folder in classes for other in (*folder.others, *folder.folders))]
    if others:
        notices.append(f"Left out, no PNG or JPEG images: {len(others)}, the first {others[0].relative_to(path)}.")
    kinds = f"in {len(names)} classes" if names else "without classes"
    notices.insert(
        0,
        f"{path.name}: {len(x)} images of {x.shape[3]} x {x.shape[2]}, {'grey' if x.shape[1] == 1 else 'RGB'}, {kinds}.",
    )
    return Samples(x, y, classes=names, notices=tuple(notices), about=f"The folder {path.name}: {len(x)} images.")


def _check_layout(top: Folder, classes: Sequence[Folder]) -> None:
    """Raise LevshaError where a folder is neither one of images nor one of class folders."""
    where, wanted = top.path, "wanted are PNG or JPEG images, or a folder of them for each class, or IDX files"
    if not top.images and not any(folder.images for folder in classes):
        deeper = [folder.path.name for folder in classes if any(Folder.of(inner).images for inner in folder.folders)]
        hint = f"; give {' or '.join(str(where / name) for name in deeper[:3])}" if deeper else ""
        names = [entry.path.name + "/" for entry in classes] + [entry.name for entry in top.others]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        found = f"holds {', '.join(names[:SHOWN])}{more}" if names else "is an empty folder"
        raise LevshaError(f"{where}: {found}; {wanted}{hint}.")
    if top.images and classes:
        found = f"holds images ({top.images[0].name}) beside folders ({top.folders[0].name})"
        raise LevshaError(f"{where}: {found}; put every image into the folder of its class, or move the folders away.")
    for folder in classes:
        if not folder.images:
            raise LevshaError(f"{folder.path}: holds no PNG or JPEG image; add some, or remove this class.")


def _read_all(top: Path, paths: Sequence[Path], size: int | None, notices: list[str]) -> np.ndarray:
    """Return images as (N, C, H, W); LevshaError where they are of several sizes, or some grey and some coloured."""
    arrays, resized, transparent = [], 0, 0
    for path in paths:
        array, was, alpha = _read_image(path, size)
        resized += was != array.shape[:2]
        transparent += alpha
        arrays.append(array)
    kinds = [f"of {array.shape[1]} x {array.shape[0]}" for array in arrays]
    smallest = min(min(array.shape[:2]) for array in arrays)
    _require_one(top, paths, kinds, "sizes", f"make them alike, or resize all: --size {smallest}")
    colours = ["grey" if array.shape[2] == 1 else "in colour" for array in arrays]
    _require_one(top, paths, colours, "kinds", "save them all grey, or all in colour")
    if resized:
        notices.append(f"Resized to {size} x {size} pixels: {resized} of {len(arrays)} images.")
    if transparent:
        notices.append(f"Transparency was left out: {transparent} images.")
    return np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2))


def _require_one(top: Path, paths: Sequence[Path], kinds: Sequence[str], what: str, remedy: str) -> None:
    """Raise LevshaError unless all images are of one kind: how many there are of each, the first of the rarest."""
    counts = Counter(kinds)
    if len(counts) == 1:
        return
    rarest = min(counts, key=lambda kind: counts[kind])
    shown = ", ".join(f"{count} {kind}" for kind, count in counts.most_common(SHOWN))
    more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    raise LevshaError(
        f"{top}: holds images of {len(counts)} {what}: {shown}{more}; {paths[kinds.index(rarest)]} is {rarest}; {remedy}."
    )


def _read_image(path: Path, size: int | None) -> tuple[np.ndarray, tuple[int, int], bool]:
    """Return an image as uint8 (H, W, C), the rows and columns it had, and whether it had transparency."""
    pixels, alpha = open_picture(path, ("PNG", "JPEG"))
    return pixels if size is None else resized(pixels, size, size), (pixels.shape[0], pixels.shape[1]), alpha


def open_picture(path: Path, kinds: tuple[str, ...] = tuple(KINDS)) -> tuple[np.ndarray, bool]:
    """Return the pixels of a file as uint8 (H, W, C), grey C = 1, else red, green, blue; and whether it had transparency, which is left out.

    kinds: of KINDS. LevshaError where it is no such file, damaged, or of more than 8 bits a channel, or of other colours.
    """
    from PIL import Image

    if not path.is_file():
        raise LevshaError(f"{path}: {'is no file' if path.exists() else 'does not exist'}; give an image.")
    try:
        with Image.open(path, formats=kinds) as image:
            image.load()
            mode, alpha = image.mode, image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info
            plain = image if mode.startswith(DEEP) else image.convert("L" if mode in ("1", "L", "LA") else "RGB")
            pixels = np.array(plain)
        deep = mode.startswith(DEEP) or _has_16_bits(path)
    except Exception as error:  # pillow's decoders raise anything for damaged bytes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
        *most, last = (KINDS[kind] for kind in kinds)
        raise LevshaError(
            f"{path}: is no sound {', '.join(most)} or {last} image ({reason}); mend or remove it."
        ) from None
    if deep:
        raise LevshaError(f"{path}: has more than 8 bits a channel; save it with 8.")
    if mode not in PLAIN:
        raise LevshaError(f"{path}: has colours as {mode}, for printing; save it as RGB or grey.")
    return pixels.reshape(*pixels.shape[:2], -1), alpha


def resized(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return pixels uint8 (H, W, C) with so many rows and columns: each the mean of the area it covers; of fewer pixels more, bilinear."""
    from PIL import Image

    if rows <= pixels.shape[0] and columns <= pixels.shape[1]:
        return average_areas(pixels.transpose(2, 0, 1), rows, columns).transpose(1, 2, 0)
    planes = [
        Image.fromarray(plane).resize((columns, rows), Image.Resampling.BILINEAR) for plane in pixels.transpose(2, 0, 1)
    ]
    return np.stack([np.array(plane) for plane in planes], 2)


def _has_16_bits(path: Path) -> bool:
    """Whether a PNG has 16 bits a channel: of colours pillow keeps only the upper 8, and says nothing of it."""
    with open(path, "rb") as file:
        head = file.read(PNG_DEPTH + 1)
    return head.startswith(b"\x89PNG") and head[PNG_DEPTH] == 16
