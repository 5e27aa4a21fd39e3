"""Samples in files of arrays: .npz, .npy, .safetensors.  Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from levsha.data.sample_set import Samples, check_answers, check_inputs, check_lengths
from levsha.errors import LevshaError
from levsha.store import read_safetensors

INPUTS = ("x", "data", "images", "inputs")  # what people call them, in capitals or not
ANSWERS = ("y", "labels", "targets", "label", "target")
ZIP, NPY = (b"PK\x03\x04", b"PK\x05\x06"), (b"\x93NUMPY",)  # an archive without files begins with the second
SAVE = "save it with numpy.savez(path, x=x, y=y)"


def read_arrays(path: Path, target: str | None = None, as_classes: bool | None = None) -> Samples:
    """Return the samples of an .npz, .npy or .safetensors file; target: the name of the array of answers, where it is none of ANSWERS.

    as_classes: see check_answers. LevshaError for a file that is damaged or ambiguous, and for arrays that are no numbers.
    """
    arrays = {".npz": _open_npz, ".npy": _open_npy, ".safetensors": _open_safetensors}[path.suffix.lower()](path)
    notices: list[str] = []
    x_name = _choose(path, arrays, INPUTS, "the inputs", target)
    y_name = target or _choose(path, arrays, ANSWERS, "the answers", x_name)
    if x_name is None or (y_name is not None and y_name not in arrays):
        wanted = f"the answers, {target!r}" if x_name else "the inputs"
        names = ", ".join(map(repr, arrays)) or "none"
        raise LevshaError(f"{path}: holds no array for {wanted}; its arrays are {names}; call them 'x' and 'y'.")
    x = check_inputs(arrays[x_name](), f"{path}: {x_name}")
    y, classes = None, ()
    if y_name is not None:
        y, classes = check_answers(arrays[y_name](), f"{path}: {y_name}", as_classes, notices)
    check_lengths(x, y, str(path))
    others = [name for name in arrays if name not in (x_name, y_name)]
    read = f"{path.name}: {len(x)} samples of shape {x.shape[1:]}, {x.dtype}"
    notices.insert(0, f"{read}{', without answers' if y is None else ''}.")
    if others:
        notices.append(f"Arrays that are not used: {', '.join(map(repr, others))}.")
    return Samples(x, y, classes=classes, notices=tuple(notices), about=f"The file {path.name}: {len(x)} samples.")


Arrays = Mapping[str, Callable[[], np.ndarray]]
"""The arrays of a file by name, each read when it is called for."""


def _choose(path: Path, arrays: Arrays, known: tuple[str, ...], what: str, taken: str | None) -> str | None:
    """Return the one array with a known name; None where there is none; of a file with a single array, that is the inputs."""
    found = [name for name in arrays if name.lower() in known and name != taken]
    if len(found) > 1:
        names = ", ".join(map(repr, arrays))
        raise LevshaError(f"{path}: {' or '.join(map(repr, found))} may be {what}; its arrays are {names}; {SAVE}.")
    if not found and known is INPUTS and len(arrays) == 1 and next(iter(arrays)).lower() not in ANSWERS:
        return next(iter(arrays))
    return found[0] if found else None


def _open_npz(path: Path) -> Arrays:
    _check_start(path, ZIP, ".npz")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except Exception as error:  # zipfile and zlib have no common base for what damaged bytes make them raise
        raise _damaged(str(path), ".npz", error) from None
    found = {name.removesuffix(".npy"): name for name in members if name.endswith(".npy")}
    if any(name.endswith("data.pkl") for name in members):
        raise LevshaError(f"{path}: was written by torch.save, not by numpy; {SAVE}.")
    return {name: lambda member=member: _read_member(path, member) for name, member in found.items()}


def _read_member(path: Path, member: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above, numpy among them
        raise _refused(f"{path}: {member.removesuffix('.npy')}", ".npz", error) from None


def _open_npy(path: Path) -> Arrays:
    _check_start(path, NPY, ".npy")
    return {"x": lambda: _read_npy(path)}


def _read_npy(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above
        raise _refused(str(path), ".npy", error) from None


def _open_safetensors(path: Path) -> Arrays:
    try:
        _, arrays = read_safetensors(path)
    except LevshaError as error:
        if "'BF16'" in str(error) or "'F8" in str(error):
            raise LevshaError(f"{path}: holds numbers of a type that numpy has not; save them as float32.") from None
        raise
    return {name: lambda array=array: array for name, array in arrays.items()}


def _check_start(path: Path, magics: tuple[bytes, ...], kind: str) -> None:
    try:
        with open(path, "rb") as file:
            start = file.read(len(magics[0]))
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}); give a {kind} file that numpy wrote.") from None
    if not start:
        raise LevshaError(f"{path}: is empty; write it again with numpy.")
    if start not in magics:
        raise LevshaError(f"{path}: is no {kind} file, it begins with {start!r}; write it with numpy.")


def _refused(where: str, kind: str, error: Exception) -> LevshaError:
    if "Object arrays" in str(error):
        return LevshaError(
            f"{where}: holds Python objects, which are never unpickled; write an array of floats or integers, such as x.astype('float32')."
        )
    return _damaged(where, kind, error)


def _damaged(where: str, kind: str, error: Exception) -> LevshaError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
    return LevshaError(f"{where}: is damaged or cut short ({first}); write the {kind} file again with numpy.")
