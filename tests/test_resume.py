"""kill -9 at any moment, also inside a write, then continue: weights and metrics log are bytewise those of an uninterrupted run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KINDS = ("chain", "generic", "norm")
RESULTS = ("model.safetensors", "metrics.jsonl", "checkpoints/best.safetensors")


def start(kind: str, folder: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.killed_run", kind, str(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])


def finish(kind: str, folder: Path) -> dict[str, bytes]:
    assert start(kind, folder).wait() == 0
    assert not list(folder.glob("**/.*.tmp")), "a temporary file of a killed process stayed"
    return {name: (folder / name).read_bytes() for name in RESULTS if (folder / name).exists()}


def kill_once(kind: str, folder: Path, rng: random.Random) -> str:
    """Start, and kill at a moment drawn at random: by the clock, or at a call to the disk; return how, if it was still at work."""
    how = rng.choice(("clock", "clock", "half", "flush", "rename"))
    if how != "clock":
        return how if start(kind, folder, str(rng.randint(1, 60)), how).wait() == -signal.SIGKILL else ""
    process = start(kind, folder)
    assert process.stdout
    process.stdout.readline()
    time.sleep(rng.uniform(0.0, 1.5))
    process.send_signal(signal.SIGKILL)
    return how if process.wait() == -signal.SIGKILL else ""


def kill_and_continue(kind: str, kills: int, folder: Path, seed: int) -> None:
    want = finish(kind, folder / "whole")
    rng, done, run = random.Random(seed), 0, 0
    ways: dict[str, int] = {}
    while done < kills:
        run += 1
        for _ in range(min(5, kills - done)):
            way = kill_once(kind, folder / f"run{run}", rng)
            ways[way] = ways.get(way, 0) + 1
            done += bool(way)
        assert finish(kind, folder / f"run{run}") == want, f"differs after kills by {ways}"
    print(f"{kind}: {done} kills, all equal: {ways}")


@pytest.mark.parametrize("kind, kills", [("chain", 4), ("generic", 3), ("norm", 3)])
def test_ten_kills(kind: str, kills: int, tmp_path: Path) -> None:
    kill_and_continue(kind, kills, tmp_path, seed=4)


@pytest.mark.campaign
@pytest.mark.parametrize("kind, kills", [("chain", 80), ("generic", 60), ("norm", 60)])
def test_two_hundred_kills(kind: str, kills: int, tmp_path: Path) -> None:
    kill_and_continue(kind, kills, tmp_path, seed=5)
