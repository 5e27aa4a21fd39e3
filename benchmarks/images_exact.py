"""One net on many rows: how many differ in any output between the interpreter and each of its other engines.

python -m benchmarks.images_exact [--data mnist fashion-mnist] [--formats ...]: all test images, every format, the MiniCNN of benchmarks.images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import nn

import levsha
from benchmarks.images_tools import BATCH, CALIBRATED, mini_cnn, train
from levsha.data.images import load_images
from levsha.evidence.check_onnx import count_mismatches, has_runtime
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.net import Net
from levsha.targets import TARGETS
from levsha.targets.native import Library
from levsha.targets.native.compiler import machine
from levsha.targets.native.instructions import found_on


def mismatches(net: Net, integers: np.ndarray) -> dict[str, int]:
    """Return how many rows differ from the interpreter: on the host target, in ONNX Runtime with its optimiser on or off, in each library."""
    (name,) = net.graph.inputs
    inputs, found = {name: integers}, dict[str, int]()
    want = interpret(net.graph, inputs)

    def differing(outputs: Mapping[str, np.ndarray]) -> int:
        wrong_N = np.zeros(len(integers), bool)
        for output in net.graph.outputs:
            wrong_N |= (outputs[output] != want[output]).reshape(len(integers), -1).any(1)
        return int(wrong_N.sum())

    with tempfile.TemporaryDirectory() as scratch:
        found["gcc"] = differing(TARGETS["host"].run(net.graph, inputs, Path(scratch)).outputs)
        if has_runtime():
            (file,) = net.export("onnx", Path(scratch) / "net.onnx")
            found["onnxruntime"] = count_mismatches(file, net.graph, inputs)
    for instructions in found_on(machine()):
        outputs = Library.of(net.graph, instructions).run(inputs)
        assert outputs is not None
        found[instructions] = differing(outputs)
    return found


def nets(
    data: str, formats: list[str], seed: int = 0, batches: int = 100, model: Callable[[], nn.Sequential] = mini_cnn
) -> list[tuple[Net, np.ndarray]]:
    """Return a trained net in every format, each with all test images as its integers."""
    trained, tested = load_images(data)
    x, test = (part.x.astype(np.float32) / part.x.max() for part in (trained, tested))
    assert trained.y is not None
    trained_net = train(x, trained.y, seed, batches, model)
    rows = x[np.random.default_rng(seed).permutation(len(x))[: BATCH * CALIBRATED]]
    found = []
    for weights in formats:
        net = levsha.convert(trained_net, rows, weights=weights, test=(test[:BATCH], None))
        (name,) = net.graph.inputs
        found.append((net, net.integers(name, np.ascontiguousarray(net.meaning.layouts[name].lay(test)))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    asked = parser.parse_args()
    for data in asked.data:
        for weights, (net, integers) in zip(asked.formats, nets(data, asked.formats), strict=True):
            found = mismatches(net, integers)
            said = ", ".join(f"{engine} {count}" for engine, count in found.items())
            print(f"{data} {weights}: of {len(integers)} images differ from the interpreter: {said}", flush=True)


if __name__ == "__main__":
    main()
