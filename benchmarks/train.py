"""How much faster a training step of a small net is than in a plain torch loop and in Lightning: CPU time, interleaved rounds.

Net 256-256-192-128-40 (ReLU), Adam, one thread, 51 200 random samples in memory.  A round is one epoch of each; the ratio is the
median over rounds of plain / other.  Prints a table and writes benchmarks/out/train.json.
"""

from __future__ import annotations

import importlib
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from levsha.train.autograd import AutogradStep
from levsha.train.batch import ArrayBatches, Arrays
from levsha.train.checkpoint import Checkpoints
from levsha.train.fit import fit
from levsha.train.loop import Loop
from levsha.train.settings import Training

SAMPLES, WIDTHS, ROUNDS = 51_200, (256, 256, 192, 128, 40), 9
OUT = Path(__file__).parent / "out" / "train.json"
Run = Callable[[], float]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(WIDTHS) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def plain(x: torch.Tensor, y: torch.Tensor, batch: int) -> Run:
    model, data = net(), DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def epoch() -> None:
        for inputs, target in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), target).backward()
            optimizer.step()

    return lambda: timed(epoch)


def levsha_fit(x: torch.Tensor, y: torch.Tensor, batch: int) -> Run:
    model, data = net(), Arrays(x, y)
    return lambda: timed(lambda: fit(model, data, training=Training(epochs=1, batch=batch, loss="cross_entropy")))


def levsha_generic(x: torch.Tensor, y: torch.Tensor, batch: int) -> Run:
    """The path of every model that is no chain, here with the same net."""
    training = Training(epochs=1, batch=batch, loss="cross_entropy")
    model, data = net(), Arrays(x, y)
    return lambda: timed(lambda: Loop(AutogradStep(model, training), ArrayBatches(data, training), training).run())


def lightning(x: torch.Tensor, y: torch.Tensor, batch: int) -> Run | None:
    """Lightning's Trainer with everything that can be off switched off; its own time, from the epoch's start to its end."""
    try:
        pl: Any = importlib.import_module("pytorch_lightning")  # an optional dependency, of this benchmark alone
    except ImportError:
        return None
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.began, self.took = net(), 0.0, 0.0

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-3)

        def on_train_epoch_start(self) -> None:
            self.began = time.process_time()

        def on_train_epoch_end(self) -> None:
            self.took = time.process_time() - self.began

    module, data = Module(), DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)

    def epoch() -> float:
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, data)
        return module.took

    return epoch


def measure(batch: int) -> dict[str, tuple[float, float]]:
    """Ratio to the plain loop and microseconds a step, of every contestant."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, WIDTHS[0], generator=generator)
    y = (x @ torch.randn(WIDTHS[0], WIDTHS[-1], generator=generator)).argmax(1)
    makers = {"plain": plain, "lightning": lightning, "levsha, generic": levsha_generic, "levsha": levsha_fit}
    runs = {name: run for name, make in makers.items() if (run := make(x, y, batch))}
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):  # the first round warms up
        for name, run in runs.items():
            took[name].append(run())
    steps = -(-SAMPLES // batch)
    return {
        name: (
            statistics.median(a / b for a, b in zip(took["plain"][1:], times[1:], strict=True)),
            1e6 * statistics.median(times[1:]) / steps,
        )
        for name, times in took.items()
    }


def checkpoint_ms() -> tuple[float, float]:
    """Megabytes of a checkpoint of about 2 MB, and the median milliseconds one costs, flushing to the disk included."""
    training = Training(epochs=1, loss="cross_entropy")
    x, y = torch.randn(256, WIDTHS[0]), torch.randint(WIDTHS[-1], (256,))
    model = nn.Sequential(nn.Linear(256, 320), nn.ReLU(), nn.Linear(320, 240), nn.ReLU(), nn.Linear(240, 40))
    loop = Loop(AutogradStep(model, training), ArrayBatches(Arrays(x, y), training), training)
    loop.run()
    with tempfile.TemporaryDirectory(dir=OUT.parent) as folder:
        checkpoints, took, path = Checkpoints(Path(folder), "benchmark"), list[float](), Path()
        for _ in range(41):
            loop.counters.done += 1
            start = time.perf_counter()
            path = checkpoints.save(loop.state())
            took.append(1000 * (time.perf_counter() - start))
        return path.stat().st_size / 1e6, statistics.median(took)


def main() -> None:
    torch.set_num_threads(1)
    OUT.parent.mkdir(exist_ok=True)
    found: dict[str, float] = {}
    print(f"{'':<18} {'batch':>6} {'times plain':>12} {'us a step':>10}")
    for batch in (64, 1024):
        for name, (ratio, us) in measure(batch).items():
            print(f"{name:<18} {batch:>6} {ratio:>11.2f}x {us:>10.0f}")
            key = {"levsha": f"batch{batch}"}.get(name, f"batch{batch} {name}")
            found[key] = round(ratio, 3)
    size, found["checkpoint_ms"] = checkpoint_ms()
    print(f"a checkpoint of {size:.2f} MB costs {found['checkpoint_ms']:.1f} ms (median of 41)")
    OUT.write_text(json.dumps(found, indent=2) + "\n")
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
