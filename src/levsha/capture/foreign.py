"""Files of other frameworks, which come in through ONNX: each is refused with the line that exports it."""

from __future__ import annotations

import shlex
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from levsha.errors import LevshaError

_KERAS = "python -c \"import keras; keras.saving.load_model('{path}').export('{out}', format='onnx')\""
_SKLEARN = (
    "python -c \"import joblib, numpy, skl2onnx; m = joblib.load('{path}'); "
    "open('{out}', 'wb').write(skl2onnx.to_onnx(m, numpy.zeros((1, m.n_features_in_), 'float32')).SerializeToString())\""
)

# kind -> what it is called, what has to be installed, the line that exports it
EXPORTS = {
    "tflite": (
        "a TensorFlow Lite file",
        "tf2onnx",
        "python -m tf2onnx.convert --tflite {path} --dequantize --output {out}",
    ),
    "saved_model": (
        "a TensorFlow SavedModel",
        "tf2onnx",
        "python -m tf2onnx.convert --saved-model {path} --output {out}",
    ),
    "keras": ("a Keras file", "tf2onnx", _KERAS),
    "h5": ("a Keras file of the old form (HDF5)", "tf2onnx", _KERAS),
    "sklearn": ("a pickled object, such as a scikit-learn model", "skl2onnx", _SKLEARN),
    "ort": ("a file of ONNX Runtime's own form", "", "the .onnx file that it was made from"),
}
SUFFIXES = {
    ".tflite": "tflite",
    ".lite": "tflite",
    ".keras": "keras",
    ".h5": "h5",
    ".hdf5": "h5",
    ".joblib": "sklearn",
    ".pkl": "sklearn",
    ".pickle": "sklearn",
    ".ort": "ort",
}
TORCH_SUFFIXES = {".pt", ".pth", ".pt2", ".ckpt", ".bin"}


def refuse_foreign(path: Path) -> None:
    """Raise LevshaError where a file (or folder) is one of another framework: what it is, and the exact line that makes ONNX of it.

    What the file holds counts before what it is called; a file that is none of these, or does not exist, passes.
    """
    kind = _by_content(path) or SUFFIXES.get(path.suffix.lower())
    if kind is None:
        return
    what, package, line = EXPORTS[kind]
    if kind == "ort":
        raise LevshaError(f"{path}: is {what}, which cannot be read; give {line}.")
    folder = path if path.is_dir() else path.with_suffix("")
    out = folder.with_name(f"{folder.name}.onnx")
    needs = f"pip install {package}"
    names = {"path": path.as_posix(), "out": out.as_posix()}
    if '"' not in line:
        names = {name: shlex.quote(word) for name, word in names.items()}
    export = line.format(**names)
    raise LevshaError(
        f"{path}: is {what}; Levsha reads it as ONNX. Export it ({needs}), then convert {out}:\n  {export}"
    )


def _by_content(path: Path) -> str | None:
    """What a file holds, by its first bytes; None where that says nothing."""
    if path.is_dir():
        return "saved_model" if (path / "saved_model.pb").exists() else None
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[4:8] == b"ORTM":
        return "ort"
    if head == b"\x89HDF\r\n\x1a\n":
        return "h5"
    # Protocols 2 to 5 of pickle; torch's own old files start so too, and are told by their suffix.
    if (
        head[:1] == b"\x80"
        and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
        and path.suffix.lower() not in TORCH_SUFFIXES
    ):
        return "sklearn"
    if head[:4] == b"PK\x03\x04":
        return _in_zip(path)
    return None


def _in_zip(path: Path) -> str | None:
    try:
        with ZipFile(path) as file:
            names = set(file.namelist())
    except (BadZipFile, OSError):
        return None
    return "keras" if "config.json" in names and "metadata.json" in names else None
