"""What few bits cost after training, and after fine-tuning: python -m benchmarks.ptq [fashion-mnist] [mnist] [--seeds N] [--write].

The MiniCNN of the issue (convolutions of 8 and 16 channels, 5 258 parameters) is trained for 100 batches of 64 by Adam, for three seeds.  Each
format is then made in three ways, by 2 000 training images that calibrate: plain (the usual scale of each format, steps by least square error,
nothing made up for), improved (what `levsha convert` does), and for few bits fine-tuned, for TUNED batches of 64 more.  The last is compared
with a float net that was trained for as many batches in all.  Figures are means over the seeds of the accuracy on the 10 000 test images, of the
integers: points lost, the worst seed in brackets, and per cent of decisions like the float net's.  Prints Markdown, and with --write puts it into
docs/images.md, section "Few bits"; writes benchmarks/out/ptq.json.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import levsha
from levsha.data.images import load_images
from levsha.formats import FORMATS
from levsha.net import Net

OUT, DOC = Path(__file__).parent / "out", Path(__file__).parents[1] / "docs" / "images.md"
BATCHES, BATCH, TUNED = 100, 64, 300
CALIBRATED = 4000  # `convert` takes half
TAUGHT = TUNED * BATCH * 10 // 9  # rows of the one epoch of fine-tuning; one in ten chooses the best epoch
WIDE_TO_NARROW = ("int16", "int8", "int4", "int3", "two_bit", "ternary", "binary")
FINE_TUNED = ("two_bit", "ternary", "binary")
SECTION = "## Few bits"

Images = tuple[np.ndarray, np.ndarray]


def mini_cnn() -> nn.Sequential:
    """1x28x28 -> conv 8, pool, conv 16, pool, linear 10."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10)
    )  # fmt: skip


def images(name: str) -> tuple[Images, Images]:
    """Pixels of 0..1 and classes, to train and to test on."""
    train, test = load_images(name)
    assert train.y is not None and test.y is not None
    return ((train.x / 255).astype(np.float32), train.y), ((test.x / 255).astype(np.float32), test.y)


def float_nets(train: Images, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The net after 100 batches, and after as many more as fine-tuning takes."""
    torch.manual_seed(seed)
    net, rng, kept = mini_cnn(), np.random.default_rng(seed), mini_cnn()
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for batch in range(BATCHES + TUNED):
        if batch == BATCHES:
            kept.load_state_dict(net.state_dict())
        rows = rng.choice(len(train[0]), BATCH, replace=False)
        adam.zero_grad()
        nn.functional.cross_entropy(net(torch.from_numpy(train[0][rows])), torch.from_numpy(train[1][rows])).backward()
        adam.step()
    return kept.eval(), net.eval()


@torch.inference_mode()
def decided(net: nn.Module | Net, x: np.ndarray) -> np.ndarray:
    """The class of each image."""
    if isinstance(net, Net):
        return np.asarray(net(x)).argmax(1)
    return torch.cat([net(torch.from_numpy(x[at : at + 1000])).argmax(1) for at in range(0, len(x), 1000)]).numpy()


def measured(name: str, seed: int) -> dict[str, Any]:
    """Every figure of one float net."""
    train, (x, y) = images(name)
    start, longer = float_nets(train, seed)
    float_N = decided(start, x)
    right, right_longer = (100 * float((said == y).mean()) for said in (float_N, decided(longer, x)))
    found: dict[str, Any] = {"data": name, "seed": seed, "float": right, "float longer": right_longer, "made": {}}
    few = (x[:50], y[:50])  # what `about` is measured on; all is measured here
    part = (train[0][:CALIBRATED], train[1][:CALIBRATED])

    def note(way: str, weights: str, net: Net, since: float, right: float, like: np.ndarray | None) -> None:
        seconds, said_N = time.monotonic() - since, decided(net, x)
        figures = {
            "lost": right - 100 * float((said_N == y).mean()),
            "seconds": seconds,
            "bytes": net.sizes.weight_bytes,
        }
        found["made"][f"{way} {weights}"] = figures | (
            {} if like is None else {"agreement": 100 * float((said_N == like).mean())}
        )
        print(f"{name} {seed} {way:<10} {weights:<8} lost {figures['lost']:6.2f}   {seconds:.1f} s", file=sys.stderr, flush=True)  # fmt: skip

    for weights in WIDE_TO_NARROW:
        for way, more in (("plain", {"observer": "mean-square", "refine": ()}), ("improved", {})):
            since = time.monotonic()
            net = levsha.convert(start, *part, weights, test=few, calibration_rows=CALIBRATED // 2, **more)
            note(way, weights, net, since, right, float_N)
            if (way, weights) == ("improved", "int8"):
                found["files"] = file_sizes(start, net)
    training = levsha.Training(
        epochs=1, batch=BATCH, optimizer="adamw", rate=4e-3, schedule="cosine", warmup=0.05, seed=seed
    )
    taught = (train[0][CALIBRATED : CALIBRATED + TAUGHT], train[1][CALIBRATED : CALIBRATED + TAUGHT])
    for weights in FINE_TUNED:
        since = time.monotonic()
        net = levsha.fine_tune(start, *taught, weights, distil=0.0, training=training, test=few, seed=seed)
        note("fine-tuned", weights, net, since, right_longer, None)
    return found


def file_sizes(model: nn.Module, net: Net) -> list[int]:
    """Bytes of what torch.save writes of the float state, and of the net's whole file."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "float.pt")
        net.save(Path(folder) / "net.safetensors")
        return [(Path(folder) / name).stat().st_size for name in ("float.pt", "net.safetensors")]


def table(found: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = []
    for name in dict.fromkeys(run["data"] for run in found):
        runs = [run for run in found if run["data"] == name]
        mean, longer = (statistics.mean(run[key] for run in runs) for key in ("float", "float longer"))
        sizes = runs[0]["files"]
        lines += [
            f"**{name}**: the float net has {mean:.2f} % right after {BATCHES} batches, {longer:.2f} % after {BATCHES + TUNED}; "
            f"{len(runs)} seeds. torch.save of its state takes {sizes[0]} B, the whole int8 net's file {sizes[1]} B: {sizes[0] / sizes[1]:.2f} times.", "",
            f"| weights | bytes | plain: points lost | like float | improved: points lost | like float | seconds | fine-tuned for {TUNED} batches, against float of {BATCHES + TUNED} |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        for weights in WIDE_TO_NARROW:
            plain, improved = ([run["made"][f"{way} {weights}"] for run in runs] for way in ("plain", "improved"))
            tuned = [run["made"][f"fine-tuned {weights}"] for run in runs if f"fine-tuned {weights}" in run["made"]]
            cells = [weights, f"{improved[0]['bytes']}", _lost(plain), _mean(plain, "agreement"), _lost(improved)]
            cells += [_mean(improved, "agreement"), _mean(improved, "seconds"), _lost(tuned) if tuned else ""]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _mean(figures: list[dict[str, float]], key: str) -> str:
    return f"{statistics.mean(f[key] for f in figures):.1f}"


def _lost(figures: list[dict[str, float]]) -> str:
    return f"{statistics.mean(f['lost'] for f in figures):.2f} ({max(f['lost'] for f in figures):.2f})"


def write(text: str) -> None:
    """Put the text into the section of docs/images.md, which is made at the end where there is none."""
    before = DOC.read_text(encoding="utf-8") if DOC.exists() else "# Images\n"
    whole = f"{SECTION}\n\nMeasured by `make bench-ptq` (formats: `levsha formats`; how: docs/architecture.md, From float to integer).\n\n{text.strip()}\n"
    found = re.search(rf"^{SECTION}\n.*?(?=^## |\Z)", before, re.DOTALL | re.MULTILINE)
    after = before[: found.start()] + whole + before[found.end() :] if found else before.rstrip() + "\n\n" + whole
    DOC.write_text(after, encoding="utf-8")


def main(words: list[str]) -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    names = [word for word in words if word in ("fashion-mnist", "mnist")] or ["fashion-mnist", "mnist"]
    seeds = int(words[words.index("--seeds") + 1]) if "--seeds" in words else 3
    assert set(WIDE_TO_NARROW) <= FORMATS.keys()
    found = []
    for name in names:
        for seed in range(seeds):
            found.append(measured(name, seed))
            OUT.mkdir(exist_ok=True)
            (OUT / "ptq.json").write_text(json.dumps(found, indent=1))
    print(table(found))
    if "--write" in words:
        write(table(found))


if __name__ == "__main__":
    main(sys.argv[1:])
