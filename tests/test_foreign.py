"""Files of other frameworks are refused with the exact line that makes ONNX of them, whatever they are called."""

import pickle
import shlex
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from levsha.capture.foreign import EXPORTS, SUFFIXES, refuse_foreign
from levsha.errors import LevshaError


def refusal(path: Path) -> str:
    with pytest.raises(LevshaError) as caught:
        refuse_foreign(path)
    return str(caught.value)


def write(path: Path, kind: str) -> Path:
    """A file that starts as those of a kind do."""
    if kind == "keras":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", "{}")
            file.writestr("metadata.json", "{}")
    elif kind == "sklearn":
        path.write_bytes(pickle.dumps({"a": 1}))
    else:
        starts = {"tflite": b"\x1c\0\0\0TFL3", "h5": b"\x89HDF\r\n\x1a\n", "ort": b"\x18\0\0\0ORTM"}
        path.write_bytes(starts[kind] + bytes(40))
    return path


LINES = {
    "tflite": "python -m tf2onnx.convert --tflite {path} --dequantize --output {out}",
    "keras": "python -c \"import keras; keras.saving.load_model('{path}').export('{out}', format='onnx')\"",
    "h5": "python -c \"import keras; keras.saving.load_model('{path}').export('{out}', format='onnx')\"",
}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_each_suffix_says_how_to_export(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"")
    kind = SUFFIXES[suffix]
    said = refusal(path)
    assert said.startswith(f"{path}: is {EXPORTS[kind][0]}")
    if kind in LINES:
        assert said.splitlines()[1] == "  " + LINES[kind].format(
            path=path.as_posix(), out=(tmp_path / "model.onnx").as_posix()
        )


@pytest.mark.parametrize("kind", ["tflite", "keras", "h5", "sklearn", "ort"])
def test_what_a_file_holds_counts_before_what_it_is_called(kind: str, tmp_path: Path) -> None:
    assert f"is {EXPORTS[kind][0]}" in refusal(write(tmp_path / "model.onnx", kind))


def test_a_saved_model_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    said = refusal(tmp_path)
    assert f"python -m tf2onnx.convert --saved-model {tmp_path.as_posix()} --output {tmp_path.as_posix()}.onnx" in said


def test_names_with_spaces_are_quoted(tmp_path: Path) -> None:
    words = shlex.split(refusal(write(tmp_path / "my model.tflite", "tflite")).splitlines()[1])
    assert (
        words[-1] == (tmp_path / "my model.onnx").as_posix() and words[4] == (tmp_path / "my model.tflite").as_posix()
    )


def test_others_pass(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "missing.onnx")
    refuse_foreign(tmp_path)
    for name, old in (("a.pt", False), ("b.pth", True)):
        torch.save({"w": torch.zeros(2)}, tmp_path / name, _use_new_zipfile_serialization=not old)
        refuse_foreign(tmp_path / name)
    (tmp_path / "c.onnx").write_bytes(b"\x08\x08")
    refuse_foreign(tmp_path / "c.onnx")
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04 and no more")
    refuse_foreign(tmp_path / "d.zip")


def test_the_line_for_scikit_learn_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with a stand-in for skl2onnx: what it is given is the model and one row of as many inputs as it takes."""
    joblib = pytest.importorskip("joblib")
    from sklearn.linear_model import LinearRegression

    path = tmp_path / "my model.joblib"
    joblib.dump(LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0]), path)
    given: list[Any] = []

    def to_onnx(model: Any, x: np.ndarray) -> Any:
        given.extend((type(model).__name__, x.shape, x.dtype))
        return types.SimpleNamespace(SerializeToString=lambda: b"onnx")

    monkeypatch.setitem(sys.modules, "skl2onnx", types.SimpleNamespace(to_onnx=to_onnx))
    words = shlex.split(refusal(path).splitlines()[1])
    assert words[:2] == ["python", "-c"] and len(words) == 3
    exec(words[2], {})
    assert given == ["LinearRegression", (1, 3), np.float32]
    assert (tmp_path / "my model.onnx").read_bytes() == b"onnx"
