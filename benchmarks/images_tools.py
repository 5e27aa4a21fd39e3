"""One trained net in the hands of several tools: the file that each makes of it, what it answers, and a call of it.

Every tool gets the net as it was trained, in float32, and the same images to calibrate on. Deprecation warnings of torch.ao are expected:
it is the old way, and still runs.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

import levsha

Answers = Callable[[np.ndarray], np.ndarray]  # float32 images (N, 1, rows, columns) to what the net says, (N, classes)
BATCH, CALIBRATED = 64, 10  # rows of a batch, batches to calibrate on


@dataclass(frozen=True)
class Tool:
    """A net in a tool. call: what a user calls. size: bytes of its own file. extra: what else is timed, by name, beside the call."""

    name: str
    call: Answers
    size: int
    extra: dict[str, Answers]


def mini_cnn() -> nn.Sequential:
    """The net of all figures: 5 258 parameters, 192 064 multiply-accumulates."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10),
    )  # fmt: skip


def small_cnn() -> nn.Sequential:
    """A net for 8 x 8 digits."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 2), nn.Tanh(), nn.Flatten(), nn.Linear(48, 10)
    )


def train(
    x: np.ndarray, y: np.ndarray, seed: int, batches: int = 100, make: Callable[[], nn.Sequential] = mini_cnn
) -> nn.Sequential:
    """Return a net after so many batches of 64, with Adam."""
    torch.manual_seed(seed)
    model = make()
    optimizer, rng = torch.optim.Adam(model.parameters(), lr=1e-3), np.random.default_rng(seed)
    for _ in range(batches):
        rows = rng.choice(len(x), BATCH, replace=False)
        loss = nn.functional.cross_entropy(model(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def in_torch(model: Any) -> Answers:
    """Return a call of a torch module with arrays."""

    def call(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return call


def microseconds(call: Answers, x: np.ndarray) -> float:
    """Return microseconds an image: the median of some calls, since a call that the machine interrupts says nothing."""
    times = []
    call(x)
    for _ in range(40 if len(x) == 1 else 10):
        start = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / len(x) * 1e6


def _session(path: Path) -> Answers:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def torch_float32(model: nn.Module, calibration: np.ndarray, folder: Path) -> Tool:
    torch.save(model.state_dict(), folder / "float.pth")
    return Tool("torch float32", in_torch(model), (folder / "float.pth").stat().st_size, {})


def torch_fbgemm(model: nn.Module, calibration: np.ndarray, folder: Path) -> Tool:
    """torch.ao.quantization, eager: stubs, fused layers, observers, calibration, conversion."""
    ao = torch.ao.quantization
    torch.backends.quantized.engine = "fbgemm"
    net = nn.Sequential(ao.QuantStub(), *copy.deepcopy(model).children(), ao.DeQuantStub()).eval()
    net = ao.fuse_modules(net, [["1", "2"], ["4", "5"]])
    net.qconfig = ao.get_default_qconfig("fbgemm")  # pyright: ignore[reportAttributeAccessIssue]
    ao.prepare(net, inplace=True)
    for batch in np.split(calibration, CALIBRATED):
        net(torch.from_numpy(batch))
    ao.convert(net, inplace=True)
    torch.save(net.state_dict(), folder / "fbgemm.pth")
    return Tool("torch eager fbgemm int8", in_torch(net), (folder / "fbgemm.pth").stat().st_size, {})


def onnx_float32(model: nn.Module, calibration: np.ndarray, folder: Path) -> Tool:
    path = folder / "float.onnx"
    rows = torch.export.Dim("rows", min=1)
    torch.onnx.export(
        model, (torch.from_numpy(calibration[:2]),), str(path), dynamo=True, dynamic_shapes=({0: rows},), external_data=False, verbose=False,
    )  # fmt: skip
    return Tool("ONNX Runtime float32", _session(path), path.stat().st_size, {})


def onnx_int8(model: nn.Module, calibration: np.ndarray, folder: Path) -> Tool:
    """onnxruntime.quantization, static, as its documentation advises: bytes without a sign, weights of a sign per channel."""
    source, path = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(str(folder / "float.onnx"), str(source))
    name = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader(CalibrationDataReader):
        batches: Iterator[np.ndarray] = iter(np.split(calibration, CALIBRATED))

        def get_next(self) -> Any:
            batch = next(self.batches, None)
            return None if batch is None else {name: batch}

    quantize_static(
        str(source),
        str(path),
        Reader(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return Tool("ONNX Runtime int8", _session(path), path.stat().st_size, {})


def levsha_int8(model: nn.Module, calibration: np.ndarray, folder: Path) -> Tool:
    """Compiled for this machine; also timed from the integers that a camera gives."""
    net = levsha.convert(model, calibration, weights="int8", test=(calibration[:BATCH], None))
    (file,), said = net.export("bin", folder / "int8.bin"), net.compile()
    (name,) = net.graph.inputs
    layout, kept = net.meaning.layouts[name], dict[int, np.ndarray]()

    def integers(x: np.ndarray) -> np.ndarray:
        rows = kept.get(len(x))
        if rows is None:
            laid = np.ascontiguousarray(layout.lay(x))
            rows = kept[len(x)] = net.integers(name, laid).astype(net.graph.inputs[name].dtype)
        return next(iter(net.run(rows).values()))

    return Tool(f"Levsha int8 ({said})", net, file.stat().st_size, {"integers in": integers})


TOOLS = (torch_float32, torch_fbgemm, onnx_float32, onnx_int8, levsha_int8)


def make_all(model: nn.Module, calibration: np.ndarray, folder: Path) -> list[Tool]:
    """Return the net in every tool of this environment; one that fails is named, and left out."""
    made = []
    for make in TOOLS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made.append(make(model, calibration, folder))
        except Exception as error:
            print(f"bench-images: going on without {make.__name__}: {error}", file=sys.stderr)
    return made
