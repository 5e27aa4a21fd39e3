"""IDX files, as MNIST is kept: a magic number, sizes, then numbers, the highest byte first.  Plain or .gz.

Format: Y. LeCun, C. Cortes, C. Burges, The MNIST Database, "File formats for the MNIST database".
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from levsha.data.sample_set import Samples, check_answers, check_inputs, check_lengths
from levsha.errors import LevshaError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # by the third byte
NAME = re.compile(r"(?P<part>.*?)[-_.]?(?P<kind>images|labels)[-_.]idx(?P<axes>\d)([-_.]ubyte)?(\.gz)?", re.IGNORECASE)
GZIP = b"\x1f\x8b"


def is_idx_name(name: str) -> bool:
    """Return whether a file is called as IDX files are.

    >>> is_idx_name("train-images-idx3-ubyte.gz"), is_idx_name("t10k-labels.idx1-ubyte"), is_idx_name("a.idx"), is_idx_name("a.png")
    (True, True, True, False)
    """
    return bool(NAME.fullmatch(name)) or re.fullmatch(r".+\.idx\d?(\.gz)?", name, re.IGNORECASE) is not None


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file; LevshaError where it cannot be read or its size is not what its header says."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(GZIP) else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LevshaError(f"{path}: is damaged gzip ({error}); get it again.") from None
    except OSError as error:
        raise LevshaError(f"{path}: cannot be read ({error.strerror}); give an IDX file.") from None
    return parse_idx(data, str(path))


def parse_idx(data: bytes, where: str) -> np.ndarray:
    """Return the array in the bytes of an IDX file, in this machine's byte order; where: what an error calls it."""
    if not data:
        raise LevshaError(f"{where}: is empty; get it again.")
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or not data[3]:
        raise LevshaError(
            f"{where}: is no IDX file, it begins with {data[:4].hex(' ')}; one begins with 00 00, a type (08 for bytes) and the "
            "number of axes."
        )
    dtype, axes = np.dtype(TYPES[data[2]]), data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise LevshaError(f"{where}: is cut short: {len(data)} bytes, its header alone has {start}; get it again.")
    shape = struct.unpack(f">{axes}I", data[4:start])
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        sizes = " x ".join(map(str, shape))
        raise LevshaError(
            f"{where}: has {len(data)} bytes, but {wanted} belong to the {sizes} numbers its header tells of; get it again."
        )
    if axes > 32 or 0 in shape:
        raise LevshaError(f"{where}: has {axes} axes of sizes {shape[:8]}; give one sample or more of 1 to 32 axes.")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_idx_samples(path: Path, as_classes: bool | None = None) -> Samples:
    """Return the samples of an IDX file of images (N, rows, columns) as (N, 1, rows, columns), with the labels beside it.

    Labels are those in the file of the same name with `labels` for `images`. LevshaError where either is damaged, or they do
    not match.
    """
    x = read_idx(path)
    if x.ndim == 1:
        raise LevshaError(f"{path}: holds {len(x)} single numbers, as labels are; give the file of the images.")
    x = check_inputs(x[:, None] if x.ndim == 3 else x, str(path))
    labels, notices, y = (
        _labels_beside(path),
        [f"{path.name}: {len(x)} samples of shape {x.shape[1:]}, {x.dtype}."],
        None,
    )
    if labels is None:
        notices.append("No file of labels lies beside it: nothing is known of the right answers.")
    else:
        found = read_idx(labels)
        if found.ndim != 1:
            raise LevshaError(f"{labels}: is of shape {found.shape}; a file of labels has one number for each image.")
        y, _ = check_answers(found, str(labels), as_classes, notices)
        check_lengths(x, y, f"{path} and {labels.name}")
    return Samples(x, y, notices=tuple(notices), about=f"The IDX file {path.name}: {len(x)} samples.")


def _labels_beside(path: Path) -> Path | None:
    found = NAME.fullmatch(path.name)
    if not found:
        return None
    for other in sorted(path.parent.iterdir()):
        match = NAME.fullmatch(other.name)
        if match and match["kind"].lower() == "labels" and match["part"] == found["part"]:
            return other
    return None


def idx_images(folder: Path) -> dict[str, Path]:
    """Return the IDX files of images in a folder, by what stands before `images` in their names: train, t10k."""
    matches = ((NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {match["part"]: path for match, path in matches if match and match["kind"].lower() == "images"}
