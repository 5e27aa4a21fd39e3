"""kill -9 at any moment, also inside a write, then continue: the final weights are bytewise those of an uninterrupted run."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from levsha.train.checkpoint import Checkpoint

SCRIPT = """
import sys
from pathlib import Path
import torch
from levsha.formats import FORMATS
from levsha.train.checkpoint import Checkpoint
from levsha.train.files import save_mlp
from levsha.train.loop import train
from levsha.train.mlp import Quantisation, calibrate, estimate_norm, init_mlp
from levsha.train.schedule import Schedule

folder = Path(sys.argv[1])
x = torch.randint(0, 5, (512, 40), generator=torch.Generator().manual_seed(1)).float()
y = torch.nn.functional.one_hot((x[:, :3].sum(1) > 6).long() + (x[:, 3] > 2).long(), 3).float()

class Batches:
    def __len__(self):
        return 8
    def epoch(self, number):
        order = torch.randperm(512, generator=torch.Generator().manual_seed(number))
        for part in order.split(64):
            yield x[part], y[part], None

start = estimate_norm(init_mlp([40, 300, 200, 3], 0), x)
schedule = Schedule(epochs=60, rate=5e-3, dropout=0.1, average=0.9)
quantisation = Quantisation(FORMATS["ternary"], 63)
checkpoint = Checkpoint(folder / "checkpoint.safetensors", "key", seconds=0.0)
print("ready", flush=True)
mlp, history = train(calibrate(start, x, 63, 99), Batches(), schedule, quantisation, seed=3, checkpoint=checkpoint)
save_mlp(estimate_norm(mlp, x, quantisation), folder / "final.safetensors", {"loss": history})
"""


def finish(folder: Path) -> bytes:
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], check=True, capture_output=True)
    return (folder / "final.safetensors").read_bytes()


def kill_once(folder: Path, after: float) -> bool:
    """Start, kill that many seconds after the start of training; say whether it was still at work."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    time.sleep(after)
    at_work = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return at_work


def campaign(kills: int, folder: Path) -> None:
    (folder / "whole").mkdir()
    want = finish(folder / "whole")
    rng, done, run = random.Random(4), 0, 0
    while done < kills:
        run += 1
        (folder / f"run{run}").mkdir()
        for _ in range(5):
            done += kill_once(folder / f"run{run}", rng.uniform(0.0, 0.5))
        assert finish(folder / f"run{run}") == want


def test_ten_kills(tmp_path: Path) -> None:
    campaign(10, tmp_path)


@pytest.mark.campaign
def test_two_hundred_kills(tmp_path: Path) -> None:
    campaign(200, tmp_path)


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    Checkpoint(path, "a", seconds=0.0).save({"x": torch.ones(3)}, {"done": 1})
    kept = Checkpoint(path, "a").load()
    assert kept and kept[1] == {"done": 1} and torch.equal(kept[0]["x"], torch.ones(3))
    assert Checkpoint(path, "b").load() is None
    path.write_bytes(path.read_bytes()[:-1])
    assert Checkpoint(path, "a").load() is None
