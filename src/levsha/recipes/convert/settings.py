"""Every setting of levsha convert; its flags are derived from this dataclass."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Literal

from tyro.conf import Positional, Suppress

from levsha.errors import LevshaError, check_range
from levsha.recipes.conversion import Conversion


@dataclass(frozen=True)
class Convert(Conversion):
    """Turn a model into exact integers, measure them, and put them onto a chip."""

    model: Positional[str] = ""
    """The model: net.onnx, net.pt2, or my_net.py:Net, the class in a Python file of yours, which is run."""
    data: str = ""
    """Samples: .npz (x, y), .npy, .safetensors, .csv, a folder of images or of a folder a class, IDX files; or digits, mnist, fashion-mnist."""
    test: Path | None = None
    """Samples to measure on; without it, part of --data is left out of calibration for that."""
    state: Path | None = None
    """Weights of my_net.py:Net: a .pth (read as weights alone) or .safetensors."""
    calibration_rows: int = 2000
    """Rows that steps are chosen from, at most."""
    keep_sigmoid: bool = False
    """Make a table of a sigmoid at the end; without it, it is left out, as a softmax is."""
    target_column: tuple[str, ...] = ()
    """Columns of a .csv, or the array of a file, that hold the right answers."""
    drop: tuple[str, ...] = ()
    """Columns of a .csv to leave out."""
    size: int | None = None
    """Resizes a folder of images to so many pixels each way."""
    classes: bool | None = None
    """Whether whole numbers to learn are classes; without it, that is decided by the file."""
    out: Path = Path("runs/convert")
    preset: Suppress[Literal["quick", "full"]] = "quick"

    def check(self) -> None:
        """Raise LevshaError for a setting that cannot work, before anything is written."""
        super().check()
        if not self.model:
            raise LevshaError("convert: no model; give net.onnx, net.pt2 or my_net.py:Net. See levsha convert --help.")
        if not self.data:
            raise LevshaError(
                "--data: is missing; give samples as the model takes them: .npz with x (and y), .csv, a folder of images."
            )
        check_range("calibration-rows", self.calibration_rows, 1, 1_000_000)

    def key(self, digest: str) -> str:
        """Return a hash of all that decides how the nets come out; digest: of the data."""
        parts = [
            digest,
            self.model,
            _hash_of(self.model.rpartition(":")[0] or self.model) + _hash_beside(Path(self.model)),
            _hash_of(self.state),
            *self.deciding,
        ]
        parts += [self.calibration_rows, self.keep_sigmoid, self.seed, self.splits]
        return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


def _hash_beside(path: Path) -> str:
    """A hash of the files that an ONNX file keeps its weights in; "" where it keeps them itself."""
    if path.suffix != ".onnx":
        return ""
    try:
        beside = [path.parent / name for name in _external(path)]
    except Exception:  # onnx is not installed, or the file is none: what is wrong with it is said where it is read
        beside = [file for file in path.parent.glob(f"{escape(path.name)}?*") if file.is_file()]
    return "".join(_hash_of(file) for file in beside)


def _external(path: Path) -> list[str]:
    """Names of the files that hold tensors of an ONNX file, sorted."""
    import onnx

    tensors = list(onnx.load(str(path), load_external_data=False).graph.initializer)
    return sorted({entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"})


def _hash_of(path: Path | str | None) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""
