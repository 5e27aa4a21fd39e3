"""The MiniCNN on the ATmega328P, in every format: flash, SRAM, cycles a MAC, ms and mismatches, with its conversation over the serial line.

1x28x28, conv 8 of 3x3, ReLU, pool 2, conv 16 of 3x3, ReLU, pool 2, linear 10: 192 064 MACs as usually counted. It is trained for 100
batches of 64, once, and kept under benchmarks/out; formats are rounded after training, so that those of few bits guess.

    python -m benchmarks.mini_cnn [mnist|fashion-mnist] [images] [formats...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import levsha
from levsha.applications import Vector
from levsha.data.images import load_images
from levsha.formats import FORMATS
from levsha.interpret import interpret
from levsha.ir import Graph, count_macs
from levsha.targets.avr import Uno

OUT = Path(__file__).parent / "out"
BATCHES, BATCH, SEED = 100, 64, 0
IMAGES = 2000  # that the accuracy is of


class MiniCNN(nn.Module):
    """Raw pixels to ten numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(400, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x / 255.0)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(torch.flatten(x, 1))


def trained(data: str, x: np.ndarray, y: np.ndarray) -> MiniCNN:
    """Return the net, trained if nobody has yet; x: uint8 (N, 1, 28, 28), y: classes (N,)."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model, path = MiniCNN(), OUT / f"mini_cnn-{data}.pth"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    rows = np.random.default_rng(SEED).permutation(len(x))[: BATCHES * BATCH].reshape(BATCHES, BATCH)
    for batch in rows:
        loss = F.cross_entropy(model(torch.from_numpy(x[batch]).float()), torch.from_numpy(y[batch]).long())
        adam.zero_grad()
        loss.backward()
        adam.step()
    OUT.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    return model.eval()


def measured(graph: Graph, x: np.ndarray) -> str:
    """Return the chip's columns of a net; x: its inputs (N, ...)."""
    name = next(iter(graph.inputs))
    inputs = {name: x.reshape(len(x), *graph.inputs[name].shape).astype(np.int64)}
    with tempfile.TemporaryDirectory() as scratch:
        firmware = Uno().firmware(graph, Vector(), "MiniCNN").built(Path(scratch))
        sizes = firmware.sizes
        if firmware.excess:
            return f"{sizes.flash_bytes:6} {sizes.static_bytes:7}  {firmware.excess}"
        outcome = firmware.vectors(inputs)
    want = interpret(graph, inputs)
    wrong = np.any([(outcome.outputs[n] != want[n]).reshape(len(x), -1).any(1) for n in graph.outputs], 0).sum()
    assert outcome.cycles is not None and outcome.stack_bytes is not None
    cycles = outcome.cycles.sum(1).mean()
    sram = (sizes.static_bytes or 0) + outcome.stack_bytes
    return (
        f"{sizes.flash_bytes:6} {sizes.static_bytes:7} {outcome.stack_bytes:6} {sram:6} {cycles:9.0f} "
        f"{cycles / count_macs(graph):7.2f} {cycles / 16e3:6.1f} {wrong:6}"
    )


def main() -> None:
    data, count, *formats = [*sys.argv[1:], "mnist", "1000"][: max(2, len(sys.argv) - 1)]
    train, test = load_images(data)
    model = trained(data, train.x, np.asarray(train.y))
    print(f"{data}, {count} test images, on the ATmega328P")
    print("format      accuracy  flash  static  stack   SRAM    cycles  /MAC     ms  wrong")
    for name in formats or FORMATS:
        x, y = test.x[:IMAGES], np.asarray(test.y)[:IMAGES]
        net = levsha.convert(model, train.x[:2000], np.asarray(train.y)[:2000], name)
        integers = net.integers(next(iter(net.graph.inputs)), x.astype(np.float64).reshape(len(x), -1))
        x_N = integers.reshape(len(x), *next(iter(net.graph.inputs.values())).shape)
        scores = interpret(net.graph, {next(iter(net.graph.inputs)): x_N})[net.graph.outputs[-1]]
        right = (scores.reshape(len(x), -1).argmax(1) == y).mean()
        print(f"{name:<10} {100 * right:8.2f} {measured(net.graph, x_N[: int(count)])}")


if __name__ == "__main__":
    main()
