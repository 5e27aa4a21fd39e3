"""The net in torchao, in a process of its own, since torchao is in a folder of its own: python -m benchmarks.images_torchao FOLDER.

FOLDER has float.pth, calibration.npy and test.npy; answers.npy is written there. Then every line of standard input, a number of rows, is answered
with microseconds an image. Quantisation after training by PT2E for x86, compiled by Inductor, as torchao's documentation has it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from benchmarks.images_tools import BATCH, CALIBRATED, in_torch, microseconds, mini_cnn


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    pt2e = import_module("torchao.quantization.pt2e.quantize_pt2e")
    x86 = import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    model = mini_cnn()
    model.load_state_dict(torch.load(folder / "float.pth", weights_only=True))
    calibration, test = (np.load(folder / f"{name}.npy") for name in ("calibration", "test"))
    rows = torch.export.Dim("rows", min=1)
    exported = torch.export.export(model.eval(), (torch.from_numpy(calibration[:2]),), dynamic_shapes=({0: rows},))
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = pt2e.prepare_pt2e(exported.module(), quantizer)
    for batch in np.split(calibration, CALIBRATED):
        prepared(torch.from_numpy(batch))
    converted = pt2e.convert_pt2e(prepared)
    torch.save(converted.state_dict(), folder / "torchao.pth")
    np.save(
        folder / "answers.npy",
        np.concatenate([in_torch(converted)(test[k : k + 1000]) for k in range(0, len(test), 1000)]),
    )
    torch._inductor.config.freezing = True  # pyright: ignore[reportAttributeAccessIssue]
    call = in_torch(torch.compile(converted, dynamic=False))
    for count in (1, BATCH):
        call(test[:count])
    print(json.dumps({"size": (folder / "torchao.pth").stat().st_size}), flush=True)
    for line in sys.stdin:
        print(microseconds(call, test[: int(line)]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
