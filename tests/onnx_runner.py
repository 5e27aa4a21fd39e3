"""Runs models beside the vectors that are wanted of them, by onnxruntime and numpy alone: also on another processor, emulated.

python tests/onnx_runner.py FOLDER: FOLDER holds pairs of NAME.onnx and NAME.npz, the latter with arrays `in.INPUT` and
`out.OUTPUT`. Prints a line for each that differs, then how many were compared; the first line says whether this processor
saturates where a byte without a sign meets one with, as those without VNNI do.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

LEVELS = {
    "as written": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "optimised": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def run(model: bytes, inputs: dict[str, np.ndarray], level: str) -> dict[str, np.ndarray]:
    """Every output of a model; the inputs must have the types that the model names."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: np.asarray(y) for name, y in zip(names, session.run(names, inputs), strict=True)}


def differing(model: bytes, inputs: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> list[str]:
    """The outputs that are not what is wanted, in values, shape or type, at either level of optimisation."""
    found = []
    for level in LEVELS:
        got = run(model, inputs, level)
        found += [
            f"{name}, {level}"
            for name, y in want.items()
            if got[name].dtype != y.dtype or not np.array_equal(got[name], y)
        ]
    return found


def main(folder: Path) -> int:
    saturates = folder / "saturates.model"
    if saturates.exists():
        (y,) = run(saturates.read_bytes(), {"x": np.full((1, 64), 255, np.uint8)}, "as written").values()
        print("saturates" if y[0, 0] != 64 * 255 * 127 else "does not saturate")
    count, wrong = 0, 0
    for path in sorted(folder.glob("*.onnx")):
        with np.load(path.with_suffix(".npz")) as arrays:
            inputs, want = (
                {key[len(part) :]: arrays[key] for key in arrays if key.startswith(part)} for part in ("in.", "out.")
            )
        for text in differing(path.read_bytes(), inputs, want):
            print(f"{path.name}: {text}")
            wrong += 1
        count += 1
    print(f"{count} models compared")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
