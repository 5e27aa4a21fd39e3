"""z80ai's shipped net, a model.npz: checked, and read as integers and characters."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from levsha.errors import LevshaError


@dataclass(frozen=True)
class Z80aiNet:
    """Layers of (weight (out, in) of -2..1, bias (out,)) integers, and the bytes it can say, the end mark last."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    charset: bytes

    @property
    def widths(self) -> list[int]:
        """Number of inputs, hidden neurons of each layer, classes."""
        return [self.layers[0][0].shape[1], *(len(bias) for _, bias in self.layers)]

    @property
    def digest(self) -> str:
        """SHA-256 of weights and biases."""
        return hashlib.sha256(b"".join(part.tobytes() for layer in self.layers for part in layer)).hexdigest()


def read_z80ai(path: Path, inputs: int) -> Z80aiNet:
    """Read a model.npz whose net has so many inputs; LevshaError names what is wrong with the file."""
    arrays = _read_npz(path)
    try:
        sizes = json.loads(bytes(arrays["_architecture"]))
        charset = bytes(arrays["_charset"])
        widths = [sizes["input_size"], *sizes["hidden_sizes"], sizes["num_classes"]]
        layers = tuple((arrays[f"fc{k}_weight"], arrays[f"fc{k}_bias"]) for k in range(1, len(widths)))
    except (KeyError, ValueError, TypeError) as error:
        raise LevshaError(
            f"{path}: is no model of z80ai: {error} is missing or malformed; needed are _architecture, _charset, fcN_weight and fcN_bias."
        ) from None
    if min(widths) < 1:
        raise LevshaError(f"{path}: layer sizes {widths}; each must be at least 1.")
    for k, (weight, bias) in enumerate(layers):
        _check_layer(path, k + 1, weight, bias, (widths[k + 1], widths[k]))
    if widths[0] != inputs or len(charset) != widths[-1]:
        raise LevshaError(
            f"{path}: {widths[0]} inputs and {len(charset)} characters for {widths[-1]} classes; {inputs} inputs and as many characters as classes are needed."
        )
    return Z80aiNet(tuple((w.astype(np.int64), b.astype(np.int64)) for w, b in layers), charset)


def _check_layer(path: Path, k: int, weight: np.ndarray, bias: np.ndarray, wanted: tuple[int, int]) -> None:
    if weight.shape != wanted or bias.shape != wanted[:1] or weight.dtype.kind != "i" or bias.dtype.kind != "i":
        raise LevshaError(
            f"{path}: fc{k}_weight is {weight.dtype} {weight.shape} and fc{k}_bias {bias.dtype} {bias.shape}; {wanted} and {wanted[:1]} of integers are needed."
        )
    if weight.min() < -2 or weight.max() > 1:
        raise LevshaError(f"{path}: fc{k}_weight holds {weight.min()}..{weight.max()}; z80ai's codes are -2..1.")


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror or error}); give a model.npz of z80ai.") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise LevshaError(f"{path}: is no sound .npz file ({error}); pickled content is never loaded.") from None
