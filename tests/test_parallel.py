"""Two processes that train one net by torchrun: the same result as one, only the first writes, a killed one ends it and the next start goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from levsha.train.log import read_log

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def start(*words: str) -> subprocess.Popen:
    return subprocess.Popen([*TORCHRUN, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    together = start("tests.killed_run", "plain", str(tmp_path / "two"))
    subprocess.run([sys.executable, "-m", "tests.killed_run", "plain", str(tmp_path / "one")], cwd=ROOT, check=True)
    assert together.wait() == 0, together.communicate()[1]
    one, two = (read_log(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=2e-3), "the same training, but for rounding"
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-2, atol=1e-3)


def test_a_killed_process_ends_the_run_and_the_next_start_continues(tmp_path: Path) -> None:
    whole = start("tests.killed_run", "chain", str(tmp_path / "whole"))
    assert whole.wait() == 0
    killed = start("tests.killed_run", "chain", str(tmp_path / "killed"))
    while not list((tmp_path / "killed").glob("checkpoints/step-*")):
        time.sleep(0.01)
    second = subprocess.run(
        ["pgrep", "-P", str(killed.pid)], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    os.kill(int(second), signal.SIGKILL)
    said = killed.communicate(timeout=120)[1]
    assert killed.returncode != 0
    assert (
        "another process of it ended or does not answer" in said and "start the same command again to continue" in said
    )
    assert start("tests.killed_run", "chain", str(tmp_path / "killed")).wait() == 0
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_two_processes_cannot_do_is_said(tmp_path: Path) -> None:
    batch_norm = start("tests.killed_run", "generic", str(tmp_path / "norm"))
    assert "body.1 is a batch normalisation" in batch_norm.communicate()[1]
    tinychat = start("levsha.cli", "run", "tinychat", "--out", str(tmp_path / "chat"))
    assert "start it without torchrun" in tinychat.communicate()[1]
    assert not (tmp_path / "chat").exists()
