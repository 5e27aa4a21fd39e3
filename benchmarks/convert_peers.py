"""What another tool makes of a net: C, its own Python's answers, and an engine.h that says how it is called.

Runs in an environment of the tool: python -m benchmarks.convert_peers TOOL FOLDER, with state.pth, data.npz and model.onnx in FOLDER.
Writes FOLDER/TOOL: the C, engine.h, x.npy (integers that go in), own.npy (what its Python says to the first of them) and about.json, which
has the real number that an output's integer stands for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert_nets import NETS

CALIBRATED, OWN = 100, 20  # rows that steps are chosen from, and that the tool's own Python answers
ENGINE = """#include <stdint.h>
#include "{header}"
int8_t engine_in[{inputs}], engine_out[{outputs}];
static void engine_run(void) {{ {call} }}
"""


def bakenn(folder: Path, out: Path) -> dict[str, Any]:
    """torch.export, then 8 bits by its own calibration."""
    import torch

    bakenn = import_module("bakenn")

    data = np.load(folder / "data.npz")
    model = NETS[folder.name]()
    model.load_state_dict(torch.load(folder / "state.pth", weights_only=True))
    rows = torch.from_numpy(data["calibration"][:CALIBRATED])
    made = bakenn.compile_torch_ptq(model.eval(), rows[:1], [row[None] for row in rows], out, name="net")
    x = data["test"]
    last = np.moveaxis(x, 1, -1) if x.ndim == 4 else x
    # A batch of one at a time is what its plans are for.
    integers = np.concatenate([bakenn.quantize_input(made.plan, np.ascontiguousarray(row[None])) for row in last])
    own = np.concatenate([bakenn.run_reference(made.plan, row[None]) for row in integers[:OWN]])
    typed = made.plan.tensors[made.plan.outputs[0]].tensor_type.qparams
    arena = "_Alignas(BKNN_NET_ARENA_ALIGNMENT) static uint8_t engine_arena[BKNN_NET_ARENA_SIZE + 1];\n"
    call = "bknn_net_infer(BKNN_NET_ARENA_SIZE ? engine_arena : 0, engine_in, engine_out);"
    sources = ["bknn_net.c", "bknn_net_weights.c", "bknn_net_kernels.c"]
    return _write(out, integers, own, typed, "bknn_net.h", arena, call, sources)


def emx(folder: Path, out: Path) -> dict[str, Any]:
    """onnxruntime.quantization to QLinear operators, cut to integers in and out, then emx-onnx-cgen."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    data = np.load(folder / "data.npz")
    source = onnx.load(folder / "model.onnx").graph.input[0].name

    class Reader(CalibrationDataReader):
        rows = iter(data["calibration"][:CALIBRATED])

        def get_next(self) -> Any:
            row = next(self.rows, None)
            return None if row is None else {source: row[None]}

    quantize_static(
        folder / "model.onnx", out / "q.onnx", Reader(), quant_format=QuantFormat.QOperator, per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    first, last = _cut(out / "q.onnx", out / "net.onnx", folder / "model.onnx")
    cgen = Path(sys.executable).with_name("emx-onnx-cgen")
    words = [cgen, "compile", "--large-temp-threshold", "0", "--large-weight-threshold", "0", "--model-name", "net"]
    subprocess.run([*words, out / "net.onnx", out / "net.c"], check=True, capture_output=True, text=True)
    x = np.asarray(data["test"], np.float32)
    integers = np.clip(np.rint(x / first[0]) + first[1], -128, 127).astype(np.int8)
    session = onnxruntime.InferenceSession(out / "net.onnx", providers=["CPUExecutionProvider"])
    said = [np.asarray(session.run(None, {session.get_inputs()[0].name: row[None]})[0]) for row in integers[:OWN]]
    own = np.concatenate([out.reshape(1, -1) for out in said])
    call = "net((const void *)engine_in, (void *)engine_out);"
    return _write(out, integers, own, _Typed(*last), "net.c", "", call, [])


class _Typed:
    def __init__(self, scale: float, zero: int) -> None:
        self.scale, self.zero_point = scale, zero


def _cut(path: Path, out: Path, source: Path) -> tuple[tuple[float, int], tuple[float, int]]:
    """Leave out the first QuantizeLinear and the last DequantizeLinear; return step and zero of the input and of the output."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph, known = model.graph, {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    first = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == graph.input[0].name)
    last = next(n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == graph.output[0].name)
    ends = [(float(known[n.input[1]]), int(known[n.input[2]])) for n in (first, last)]
    dims = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (graph.input[0], graph.output[0])]
    graph.node.remove(first)
    graph.node.remove(last)
    for ports, name, shape in ((graph.input, first.output[0], dims[0]), (graph.output, last.input[0], dims[1])):
        del ports[:]
        ports.append(helper.make_tensor_value_info(name, onnx.TensorProto.INT8, shape))
    # onnx knows no shapes behind onnxruntime's own operators; they are those of the float net.
    for value in onnx.shape_inference.infer_shapes(onnx.load(source)).graph.value_info:
        sizes = [d.dim_value for d in value.type.tensor_type.shape.dim]
        graph.value_info.append(helper.make_tensor_value_info(f"{value.name}_quantized", onnx.TensorProto.INT8, sizes))
    onnx.save(model, out)
    return ends[0], ends[1]


def _write(
    out: Path, x: np.ndarray, own: np.ndarray, typed: Any, header: str, arena: str, call: str, sources: list[str]
) -> dict[str, Any]:
    sizes = {"inputs": x[0].size, "outputs": own[0].size}
    engine = ENGINE.format(header=header, call=call, **sizes)
    head, _, rest = engine.partition("static void engine_run")
    (out / "engine.h").write_text(f"{head}{arena}static void engine_run{rest}")
    np.save(out / "x.npy", x.reshape(len(x), -1).astype(np.int8))
    np.save(out / "own.npy", own.reshape(len(own), -1).astype(np.int8))
    return {"step": float(typed.scale), "zero": int(typed.zero_point), "sources": sources} | sizes


def main() -> None:
    tool, folder = sys.argv[1], Path(sys.argv[2])
    out = folder / tool
    shutil.rmtree(out, ignore_errors=True)
    if tool == "emx":
        out.mkdir(parents=True)
    about = {"bakenn": bakenn, "emx": emx}[tool](folder, out)
    (out / "about.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
