"""What one fixed run of each recipe computes: hashes of trained weights and of the interpreter's outputs, and the tables' cells.

`python -m tests.record` compares with tests/golden/record.json and prints every difference; `--write` writes it anew.  A change that is
meant to keep what nets compute is tried with it.  Trained weights depend on torch and on the instruction set, which are recorded as well.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.run import Run
from levsha.store import read_safetensors

RECORD = Path(__file__).parent / "golden" / "record.json"
VECTORS = 200
BRIEF = ["--train.epochs", "4", "--prune.epochs", "3", "--vectors", "100", "--prompts", "6", "--accept-loss"]
for _name in ("int4", "two-bit", "ternary", "binary"):
    BRIEF += [f"--quantise.{_name}.epochs", "3"]
RUNS = {
    "tinychat": ["tinychat", *BRIEF, "--variants", "baseline", "pruned", *(f"pruned-{f}" for f in ("int8", "int4", "two_bit", "ternary", "binary"))],
    "gravity": ["regression", "--train.epochs", "8", "--vectors", "100", "--accept-loss"],
    "gravity-tanh": ["regression", "--train.epochs", "8", "--vectors", "100", "--activation", "tanh", "--splits", "1", "--accept-loss"],
    "digits": ["regression", "--data", "digits", "--train.epochs", "8", "--vectors", "100", "--splits", "1", "--accept-loss"],
}  # fmt: skip
CELLS = ("parameters", "weight_bytes", "flash_bytes", "sram_bytes", "fits", "vectors", "mismatches")


def arrays_hash(arrays: dict[str, np.ndarray]) -> str:
    """Return a hash of arrays by name: of what they hold, not of how the file is laid out."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode() + arrays[name].tobytes())
    return digest.hexdigest()[:16]


def outputs_hash(graph: Graph) -> str:
    """Return a hash of the graph's outputs for fixed random inputs."""
    rng = np.random.default_rng(7)
    inputs = {
        name: rng.integers(v.lows, v.highs, (VECTORS, *v.shape), endpoint=True) for name, v in graph.inputs.items()
    }
    values = interpret(graph, inputs)
    return arrays_hash({name: values[name] for name in graph.outputs})


def cells(variant: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a row of results.json that must not change by themselves."""
    metrics = {k: round(v, 6) for k, v in variant.items() if isinstance(v, float)}
    ms = variant.get("ms") or variant.get("ms_per_character")
    times = {f"ms_{k}": round(v, 6) for k, v in ms.items()} if ms else {}
    return metrics | times | {k: variant.get(k) for k in CELLS}


def describe(folder: Path) -> dict[str, Any]:
    """Return what a finished run holds."""
    run = Run(folder)
    weights = sorted([*folder.glob("splits/**/*.safetensors"), *folder.glob("training/**/model.safetensors")])
    return {
        "weights": {
            str(path.relative_to(folder)): arrays_hash(read_safetensors(path)[1])
            for path in weights
            if ".net." not in path.name
        },
        "outputs": {name: outputs_hash(run.net(name).graph) for name in run.variants()},
        "table": {v["name"]: cells(v) for v in run.results()["variants"]},
    }


def measure() -> dict[str, Any]:
    """Run every recipe in a folder that is removed afterwards."""
    made: dict[str, Any] = {
        "torch": torch.__version__,
        "instruction set": torch.backends.cpu.get_cpu_capability(),
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name, words in RUNS.items():
            out = Path(scratch, name)
            command = [sys.executable, "-m", "levsha.cli", "run", *words, "--out", str(out)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            made[name] = describe(out)
    return made


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return a line for every leaf that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{where}/{key}")]
    return [] if old == new else [f"{where}: {old} -> {new}"]


if __name__ == "__main__":
    found = measure()
    if "--write" in sys.argv:
        RECORD.write_text(json.dumps(found, indent=1) + "\n")
    lines = differences(json.loads(RECORD.read_text()), found)
    print("\n".join(lines) or "the same")
    sys.exit(bool(lines))
