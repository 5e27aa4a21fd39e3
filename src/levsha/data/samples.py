"""Samples from whatever file or folder people keep them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from levsha.data.arrays import read_arrays
from levsha.data.idx import idx_images, is_idx_name, read_idx_samples
from levsha.data.pictures import SUFFIXES, read_pictures
from levsha.data.reduce import reduced
from levsha.data.sample_set import Samples
from levsha.data.sheet_samples import read_sheet_samples
from levsha.errors import LevshaError

__all__ = ["Samples", "read_samples"]

ARRAYS, SHEETS = (".npz", ".npy", ".safetensors"), (".csv", ".tsv", ".txt")
MODELS = (".pt", ".pth", ".onnx", ".tflite", ".h5", ".keras", ".pb", ".ckpt")
PICKLES = (".pkl", ".pickle", ".joblib")
ALLOWED = ".npz with x and y, .npy, .safetensors, .csv, a folder of images or of a folder for each class, and IDX files of images"


def read_samples(
    path: Path,
    target: str | Sequence[str] | None = None,
    size: int | None = None,
    drop: Sequence[str] = (),
    as_classes: bool | None = None,
) -> Samples:
    """Return the samples of a file or a folder, with the right answers where it has them.

    .npz, .npy, .safetensors: arrays x and y, or as people call them. .csv, .tsv, .txt, also .gz: see read_sheet_samples. A folder: images
    in a folder for each class, images alone, or IDX files, of which the training part is taken. An IDX file of images: with the labels
    beside it. target: the columns, or the array, of the answers. size: resizes images of a folder, reduces others of bytes. drop: columns to leave out. as_classes: whether
    numbers to learn are classes, where the file leaves that open. LevshaError says where, what was found, what is allowed, what to do.
    """
    if not path.exists():
        hint = " (it is a link to nothing)" if path.is_symlink() else ""
        raise LevshaError(f"{path}: does not exist{hint}; give a file or a folder of samples.")
    suffix = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    is_sheet = suffix in SHEETS and not path.is_dir()
    is_array = path.suffix.lower() in ARRAYS and not path.is_dir()
    _check_flags(
        path,
        {
            "--target-column": (target, is_sheet or is_array),
            "--drop": (drop, is_sheet),
            "--size": (size, not is_sheet),
        },
    )
    if path.is_dir():
        return _read_folder(path, size, as_classes)
    if is_sheet:
        return read_sheet_samples(path, _names(target), drop, as_classes)
    if is_array:
        names = _names(target)
        if len(names) > 1:
            raise LevshaError(f"--target-column: are {len(names)} names; {path} has one array of answers, name that.")
        return reduced(read_arrays(path, names[0] if names else None, as_classes), size, str(path))
    if is_idx_name(path.name):
        return reduced(read_idx_samples(path, as_classes), size, str(path))
    raise _foreign(path, suffix)


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def _check_flags(path: Path, flags: dict[str, tuple[object, bool]]) -> None:
    """Raise LevshaError for a flag that says nothing about this kind of file."""
    means = {"--target-column": "columns or arrays with names", "--drop": "columns", "--size": "images"}
    for flag, (given, allowed) in flags.items():
        if given not in (None, (), []) and not allowed:
            raise LevshaError(f"{flag}: is {given!r}; it is for {means[flag]}, and {path} is none; leave {flag} out.")


def _read_folder(path: Path, size: int | None, as_classes: bool | None) -> Samples:
    try:
        found = idx_images(path)
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}); give a folder you may read.") from None
    if not found:
        return read_pictures(path, size)
    part = next((part for part in found if "train" in part.lower()), next(iter(found)) if len(found) == 1 else None)
    if part is None:
        names = ", ".join(file.name for file in found.values())
        raise LevshaError(f"{path}: holds several IDX files of images, {names}; give one of them.")
    samples = reduced(read_idx_samples(found[part], as_classes), size, str(found[part]))
    others = [file.name for name, file in found.items() if name != part]
    left = (f"Left out: {', '.join(others)}.",) if others else ()
    return replace(samples, notices=samples.notices + left)


def _foreign(path: Path, suffix: str) -> LevshaError:
    """Return the error for a file that holds no samples."""
    if suffix in MODELS:
        return LevshaError(f"{path}: that is a model; --data takes samples: {ALLOWED}.")
    if suffix in PICKLES:
        return LevshaError(
            f"{path}: is a pickle, which is never read: it could run any code; write numpy.savez(path, x=x, y=y)."
        )
    if suffix in SUFFIXES:
        return LevshaError(f"{path}: is a single image; give the folder it lies in.")
    return LevshaError(f"{path}: is of no kind that is read; allowed are {ALLOWED}.")
