"""How well MNIST can be told apart in so few kilobytes: python -m benchmarks.records [NAME ...] [--seeds 0 1 2].

MNIST at 16 x 16 pixels, the means of the areas of its 28 x 28. A teacher in floats learns from warped images; every net learns from the
same images and from the teacher, first in floats, then in the rounding of its integers (levsha.fine_tune's own), and becomes integers,
which are what is measured: weights, multipliers and biases as packed, accuracy by the interpreter, flash, SRAM and milliseconds on the
simulated chip. Nothing is chosen by the test images. Whatever is done is kept in benchmarks/out/records, and the same command goes on
there; --longer K trains K times as long, in a folder beside. Prints a table, and writes records.json there.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.convert_chip import chip_levsha
from levsha.applications import Bare
from levsha.conversion.captured import capture_all, net_of
from levsha.conversion.opening import open_model
from levsha.conversion.tuning import Tuning, tune
from levsha.data.images import load_images
from levsha.data.warp import Warp
from levsha.evidence.check import compare
from levsha.files import read_kept, write_file
from levsha.net import Net
from levsha.store import graph_hash
from levsha.targets.avr import Uno
from levsha.train.fit import fit
from levsha.train.pool import Pool, make_pool
from levsha.train.settings import Training
from levsha.train.surroundings import Progress

OUT = Path(__file__).parent / "out" / "records"
SIZE, VALIDATION, PASSES, CALIBRATION = 16, 3000, 24, 2000
BATCH = 256
WARP = Warp()
Block = tuple[int, int, bool]  # channels, padding, whether a pool of maxima follows


@dataclass(frozen=True)
class Record:
    """A net, and what it is held against.

    blocks: convolutions of 3 x 3. limit: bytes. goal: per cent. rival: BitNetMCU's kB and per cent. share, temperature: of the teacher.
    weights: the format of all layers; of two bits the first, which sees the pixels, has int8, and the last, whose ten outputs would not
    fill bytes, ternary weights.
    """

    blocks: tuple[Block, ...]
    limit: int
    goal: float
    rival: tuple[float, float]
    float_epochs: int
    epochs: int
    rate: float = 3e-3
    float_rate: float = 4e-3
    share: float = 0.5
    temperature: float = 2.0
    weights: str = "two_bit"

    @property
    def described(self) -> str:
        """The net in a few words: channels, where pools follow, formats."""
        parts = [f"{outputs}{' padded' * bool(padding)}{' pool' * pools}" for outputs, padding, pools in self.blocks]
        return f"conv {', '.join(parts)}; {self.weights}"

    def layers(self, first: str, last: str) -> dict[str, str]:
        """Return the formats of the layers that have others than the rest, by name."""
        return {first: "int8", last: "ternary"} if self.weights == "two_bit" else {}

    def model(self) -> nn.Sequential:
        """Return the net in floats: its first layer takes bytes, which batch normalisation brings to any size."""
        return convolutional(self.blocks)


def convolutional(blocks: tuple[Block, ...], dropout: float = 0.0) -> nn.Sequential:
    """Return convolutions with batch normalisation, ReLU and pools, and a linear layer."""
    layers: list[nn.Module] = []
    channels, size = 1, SIZE
    for outputs, padding, pools in blocks:
        layers += [nn.Conv2d(channels, outputs, 3, padding=padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pools else []
        channels, size = outputs, (size + 2 * padding - 2) // (2 if pools else 1)
    layers += [nn.Flatten(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(channels * size * size, 10)]
    return nn.Sequential(*layers)


RECORDS = {
    "1.2 kB": Record(((8, 0, False), (8, 0, True), (12, 0, True)), 1200, 98.4, (1.1, 94.2), 6, 24, weights="int4"),
    "5.5 kB": Record(((12, 0, False), (24, 0, True), (32, 1, True), (32, 0, False)), 5500, 99.35, (5.4, 99.06), 8, 32),
    "11 kB": Record(((11, 0, False), (24, 0, True), (48, 1, True), (64, 0, False)), 11_000, 99.6, (11.0, 99.55), 8, 40),
    "13 kB": Record(((12, 0, False), (24, 0, True), (56, 1, True), (64, 0, False)), 13_000, 99.65, (13.0, 99.58), 8, 40),
}  # fmt: skip
TEACHER = ((32, 0, False), (32, 0, True), (64, 1, False), (64, 1, True), (96, 1, False))
TEACHER_EPOCHS, TEACHER_RATE, TEACHER_DROPOUT = 24, 3e-3, 0.3
AVERAGE = 0.995
NET = "net.safetensors"


@dataclass(frozen=True, eq=False)
class Data:
    """pool: what is learned from. validation, test: bytes (N, 1, 16, 16) as floats, and classes."""

    pool: Pool
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


@cache
def data() -> Data:
    """Return the images, made smaller: 57 000 to learn from, 3 000 that choose, 10 000 to test on."""
    (train, _), (small, test) = load_images("mnist"), load_images("mnist", SIZE)
    assert train.y is not None and test.y is not None
    order = np.random.default_rng([9, 0]).permutation(len(train))
    held_out, learned = np.sort(order[:VALIDATION]), np.sort(order[VALIDATION:])
    pool = make_pool(train.x[learned], train.y[learned], SIZE, PASSES, WARP, 0, OUT / "pool")
    return Data(pool, (small.x[held_out].astype(np.float32), train.y[held_out]), (test.x.astype(np.float32), test.y))


@cache
def taught(longer: int) -> Pool:
    """Return the pool with the answers of the teacher, which is trained first."""
    room = room_of(longer)
    torch.manual_seed(1000)
    training = _training(longer * TEACHER_EPOCHS, TEACHER_RATE, 1000)
    model = convolutional(TEACHER, TEACHER_DROPOUT)
    pool = data().pool
    teacher = fit(
        model, pool.stream(BATCH), data().validation, training, folder=room / "teacher", report=_said("teacher")
    ).model
    print(
        f"teacher: validation {accuracy(teacher, data().validation):.2f}, test {accuracy(teacher, data().test):.2f}",
        flush=True,
    )
    return pool.taught(teacher, room / "pool")


def _training(epochs: int, rate: float, seed: int, average: float = AVERAGE) -> Training:
    return Training(
        epochs=epochs, batch=BATCH, optimizer="adamw", rate=rate, beta2=0.99, weight_decay=0.01, loss="cross_entropy", schedule="cosine",
        warmup=0.1, average=average, precision="bfloat16", seed=seed, checkpoint_seconds=30.0,
    )  # fmt: skip


def _said(name: str) -> Any:
    """What tells of a training every fifth epoch."""

    def say(progress: Progress) -> None:
        line = progress.line
        if line["epoch"] % 5 == 0:
            figures = ", ".join(f"{key} {value:.4f}" for key, value in line.items() if key not in ("epoch", "step"))
            print(
                f"{name}: epoch {line['epoch']:.0f} of {progress.epochs}: {figures}, {progress.seconds:.0f} s",
                flush=True,
            )

    return say


@torch.inference_mode()
def accuracy(model: nn.Module, rows: tuple[np.ndarray, np.ndarray]) -> float:
    """Return that of a float net, in per cent."""
    said = torch.cat([model.eval()(part) for part in torch.from_numpy(rows[0]).split(1000)])
    return 100 * float((said.argmax(1).numpy() == rows[1]).mean())


def room_of(longer: int) -> Path:
    """Return where everything lies whose trainings were so many times as long."""
    return OUT if longer == 1 else OUT / f"longer-{longer}"


def folder_of(name: str, seed: int, longer: int) -> Path:
    """Return where all of a net lies."""
    return room_of(longer) / f"{name.replace(' ', '')}-{seed}"


def key_of(name: str) -> dict[str, str]:
    """Return what decides how a record's nets come out."""
    return {"key": repr((RECORDS[name], TEACHER, TEACHER_EPOCHS, BATCH, WARP, PASSES, AVERAGE))}


def is_made(name: str, seed: int, longer: int) -> bool:
    """Say whether a net was trained to the end."""
    folder = folder_of(name, seed, longer)
    return (folder / NET).exists() and read_kept(folder / "net.json") == key_of(name)


def made(name: str, seed: int, longer: int) -> Net:
    """Return the integer net of a record, trained now or earlier."""
    record, folder = RECORDS[name], folder_of(name, seed, longer)
    if is_made(name, seed, longer):
        return Net.load(folder / NET)
    pool, validation = taught(longer), data().validation
    torch.manual_seed(seed)
    stream = pool.stream(BATCH, record.share, record.temperature)
    title = f"{name}, seed {seed}"
    training = _training(longer * record.float_epochs, record.float_rate, seed)
    model = fit(
        record.model(),
        stream,
        validation,
        training,
        folder=folder / "float",
        report=_said(f"{title}, floats"),
        replace=True,
    ).model
    rows = pool.x[:CALIBRATION].astype(np.float32)
    captured = capture_all(open_model(model, rows), rows, rows, (), (), False, pool.y[:CALIBRATION])
    ends = record.layers(captured.folded.nodes[0].name, captured.folded.nodes[-1].name)
    tuning = Tuning(distil=0.0, training=_training(longer * record.epochs, record.rate, seed, average=0.0), normal=True)
    tuned = tune(
        captured, *validation, record.weights, ends, tuning=tuning, folder=folder / "tuned", replace_folder=True,
        report=_said(f"{title}, rounded"), stream=stream,
    )  # fmt: skip
    net = net_of(tuned.captured, tuned.lower())
    net.save(folder / NET)
    write_file(folder / "net.json", json.dumps(key_of(name)))
    return net


def right(net: Net, rows: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the accuracy of an integer net by the interpreter, in per cent."""
    x, y = rows
    (name,) = net.graph.outputs
    x = x.astype(np.int64)
    said = [net.run(x[start : start + 500])[name].argmax(1) for start in range(0, len(x), 500)]
    return 100 * float((np.concatenate(said) == y).mean())


def measured(name: str, seed: int, longer: int, images: int) -> dict[str, Any]:
    """Return the figures of a net: bytes, accuracies; flash, SRAM, ms and mismatches on the chip, where images are given to it."""
    net, folder = made(name, seed, longer), folder_of(name, seed, longer)
    sources = repr(sorted(Uno().firmware(net.graph, Bare(), "benchmark").sources.items())).encode()
    key = {"net": graph_hash(net.graph), "images": images, "firmware": sha256(sources).hexdigest()}
    found = read_kept(folder / "figures.json")
    if found.get("key") != key:
        split = data()
        found = {"key": key, "bytes": net.sizes.weight_bytes, "macs": net.sizes.macs}
        found |= {"validation": right(net, split.validation), "test": right(net, split.test)}
        if images:
            x = split.test[0][:images].astype(np.int64).reshape(images, SIZE, SIZE, 1)
            with TemporaryDirectory() as scratch:
                chip, outcome = chip_levsha(net.graph, {"input": x}, Path(scratch))
            mismatches = compare(net.graph, outcome, {"input": x}).mismatches
            found |= {"flash": chip.flash, "sram": chip.sram, "ms": round(chip.ms), "mismatches": mismatches}
        write_file(folder / "figures.json", json.dumps(found))
    return found


def table(figures: dict[str, dict[int, dict[str, Any]]], images: int) -> str:
    """Return all figures as Markdown; means over the seeds that there are."""
    lines = [
        f"| record | net | bytes | validation % | test %, by seed | mean | goal | BitNetMCU | flash B | SRAM B | ms | mismatches of {images} |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, seeds in figures.items():
        record, first = RECORDS[name], next(iter(seeds.values()))
        tests, validations = ([one[key] for one in seeds.values()] for key in ("test", "validation"))
        chip = [f"{first.get(key, 'not measured')}" for key in ("flash", "sram", "ms", "mismatches")]
        by_seed = ", ".join(f"{seed}: {one['test']:.2f}" for seed, one in seeds.items())
        cells = [
            f"<= {name}", record.described, f"{max(one['bytes'] for one in seeds.values())}", f"{statistics.mean(validations):.2f}", by_seed,
            f"{statistics.mean(tests):.3f}", f"{record.goal:g}", f"{record.rival[1]:g} at {record.rival[0]:g} kB", *chip,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train and measure what is named, seed by seed; print the table of it."""
    parser = argparse.ArgumentParser(description="How well MNIST can be told apart in so few kilobytes.")
    parser.add_argument("names", nargs="*", default=list(RECORDS), help="of the records; all where none is named")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=1000, help="that the first seed's net sees on the chip")
    parser.add_argument("--longer", type=int, default=1, help="how many times as many epochs, in a folder of its own")
    parser.add_argument("--kept", action="store_true", help="trains nothing: of the nets that are there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [(name, seed) for seed in asked.seeds for name in asked.names]  # a whole set of nets early
    there = [(name, seed) for name, seed in wanted if not asked.kept or is_made(name, seed, asked.longer)]
    for name, seed in there:
        made(name, seed, asked.longer)
    figures: dict[str, dict[int, dict[str, Any]]] = {}
    for name, seed in there:
        images = 0 if name in figures else asked.images
        figures.setdefault(name, {})[seed] = measured(name, seed, asked.longer, images)
    print(table(figures, asked.images))
    write_file(room_of(asked.longer) / "records.json", json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
