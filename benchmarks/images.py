"""One trained net in several tools: size of its file, accuracy, agreement with the float net, and time, taking turns on this machine.

python -m benchmarks.images [--data mnist fashion-mnist] [--rounds N] [--torchao FOLDER]. A MiniCNN after 100 batches of 64, one thread. Writes
benchmarks/out/images.json and prints a table. Times are medians over rounds in which every tool has its turn; what counts is their ratio,
which is the median of the rounds' ratios to the fastest tool but Levsha.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import onnxruntime
import torch

from benchmarks.images_tools import BATCH, CALIBRATED, Tool, make_all, microseconds, train
from levsha.data.images import load_images
from levsha.files import write_file

OUT = Path(__file__).parent / "out"
TIMES = {"us_1": 1, "us_64": BATCH}
Timer = Callable[[], float]


@dataclass
class Entry:
    """A tool: its row of the table, what times it, by the figure's name, and every time that was taken."""

    row: dict[str, Any]
    timers: dict[str, Timer]
    answers: np.ndarray
    times: dict[str, list[float]] = field(default_factory=dict)

    def turn(self) -> None:
        """Take every time once more."""
        for name, timer in self.timers.items():
            self.times.setdefault(name, []).append(timer())


def entries_of(tool: Tool, test: np.ndarray) -> list[Entry]:
    """Return a tool of this process, and below it what else is timed of it."""
    answers = np.concatenate([tool.call(test[k : k + 1000]) for k in range(0, len(test), 1000)])
    found = [Entry({"tool": tool.name, "bytes": tool.size}, {}, answers)]
    found += [Entry({"tool": f"{tool.name}, {label}"}, {}, answers) for label in tool.extra]
    for one, call in zip(found, (tool.call, *tool.extra.values()), strict=True):
        one.timers.update((name, partial(microseconds, call, test[:count])) for name, count in TIMES.items())
    return found


@contextmanager
def torchao(folder: Path, place: Path | None) -> Iterator[list[Entry]]:
    """Start torchao in a process of its own; nothing where it does not run. place: the folder that it was installed in."""
    if place is None:
        yield []
        return
    paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(place)]))
    words, pipe = [sys.executable, "-m", "benchmarks.images_torchao", str(folder)], subprocess.PIPE
    with (folder / "torchao.log").open("w") as log:
        process = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=log, text=True, env=os.environ | {"PYTHONPATH": paths}
        )
        assert process.stdin and process.stdout

        def timer(count: int) -> float:
            assert process.stdin and process.stdout
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        said = process.stdout.readline()
        if said:
            row = {"tool": "torchao PT2E int8, compiled", "bytes": json.loads(said)["size"]}
            timers = {name: partial(timer, count) for name, count in TIMES.items()}
            yield [Entry(row, timers, np.load(folder / "answers.npy"))]
        else:
            print(f"bench-images: going on without torchao: see {log.name}", file=sys.stderr)
            yield []
        process.communicate()


def measure(data: str, rounds: int, seed: int, place: Path | None) -> list[dict[str, Any]]:
    """Train, make the net in every tool, compare, time; return one row a tool."""
    trained, tested = load_images(data)
    x, test = (part.x.astype(np.float32) / 255 for part in (trained, tested))
    assert trained.y is not None and tested.y is not None
    model = train(x, trained.y, seed)
    calibration = x[np.random.default_rng(seed).permutation(len(x))[: BATCH * CALIBRATED]]
    folder = OUT / "images" / data
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("calibration", calibration), ("test", test)):
        np.save(folder / f"{name}.npy", array)
    entries = [one for tool in make_all(model, calibration, folder) for one in entries_of(tool, test)]
    with torchao(folder, place) as others:
        entries += others
        for _ in range(rounds):
            for one in entries:
                one.turn()
    return judged(data, entries, tested.y)


def judged(data: str, entries: Sequence[Entry], y: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows with accuracy, agreement with the first tool, the float net, and medians of times and of their ratios."""
    said, rows = entries[0].answers.argmax(1), []
    others = [one for one in entries if not one.row["tool"].startswith("Levsha")]
    fastest = {name: np.min([one.times[name] for one in others], 0) for name in TIMES}
    for one in entries:
        row, classes = {"data": data} | one.row, one.answers.argmax(1)
        row |= {"accuracy": 100 * float((classes == y).mean()), "agreement": 100 * float((classes == said).mean())}
        for name, times in one.times.items():
            row |= {name: float(np.median(times)), f"{name}_ratio": float(np.median(times / fastest[name]))}
        rows.append(row)
    return rows


HEAD = """| data | tool | file, B | right % | like float % | us, batch 1 | of the fastest other | us an image, batch 64 | of the fastest other |
|---|---|---:|---:|---:|---:|---:|---:|---:|"""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [HEAD]
    for row in rows:
        size = f"{row['bytes']:,}".replace(",", " ") if "bytes" in row else ""
        figures = [f"{row[name]:.1f} | {row[f'{name}_ratio']:.2f}" for name in TIMES]
        about = f"{row['data']} | {row['tool']} | {size} | {row['accuracy']:.2f} | {row['agreement']:.2f}"
        lines.append(f"| {about} | {' | '.join(figures)} |")
    return "\n".join(lines)


def processor() -> str:
    """Return what this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torchao", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # of exporters
    warnings.simplefilter("ignore")
    rows = [row for data in asked.data for row in measure(data, asked.rounds, asked.seed, asked.torchao)]
    about = {
        "machine": platform.processor() or platform.machine(),
        "rounds": asked.rounds,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
    write_file(OUT / "images.json", json.dumps({"about": about, "rows": rows}, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
