"""Writes tests/golden, the C of a tiny graph, and the ledger: the exact bytes and cycles of kernels, and of nets at the size that ships."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernels import LAYERS, Assembly, Portable, example_layer
from benchmarks.kernels import measure as kernel_cost
from levsha.applications import Chat
from levsha.formats import FORMATS
from levsha.ir import Graph, Value
from levsha.ops import Argmax, Dense, Requantize
from levsha.targets import TARGETS
from tests.nets import small_chat_graph

GOLDEN = Path(__file__).parent / "golden"
LEDGER = Path(__file__).parents[1] / "src" / "levsha" / "targets" / "ledger.json"
HIDDEN = (128, 96, 64)
LINES = ["hello", "who are you", "do you like tea with lemon or without"]


def tiny_graph() -> Graph:
    """Return a graph of a page: dense, requantize, argmax."""
    rng = np.random.default_rng(0)
    dense = Dense(name="fc1", inputs=("x",), weight_OI=rng.choice([-1, 1], (3, 4)), format=FORMATS["binary"])
    act = Requantize(
        name="act1", inputs=("fc1",), multiplier_O=np.array([9, -7, 5]), bias_O=np.array([1, 2, 3]), bias_shift=2,
        shift=4, rounding=8, lo=0, hi=255,
    )  # fmt: skip
    return Graph({"x": Value((4,), 0, 255)}, (dense, act, Argmax(name="best", inputs=("act1",))), ("act1", "best"))


def measure() -> dict[str, Any]:
    """Return what the ledger holds of each target: chats of each format, their weights random but always the same, and dense layers."""
    return {"uno": {"chats": measure_chats(), "layers": measure_layers()}}


def measure_layers() -> list[dict[str, Any]]:
    """Return cycles and bytes of each layer of benchmarks/kernels.py: the portable C, and the hand-made kernel where there is one."""
    rows = []
    for weights, x_type, count, outputs in LAYERS:
        op, value, x_NI = example_layer(weights, x_type, count, outputs)
        row: dict[str, Any] = {"format": weights, "x": x_type, "inputs": count, "outputs": outputs}
        for name, target in (("portable", Portable()), ("dense24", Assembly())):
            found = kernel_cost(target, op, value, x_NI)
            row[name] = {"cycles": round(found.cycles), "code_bytes": found.code, "weight_bytes": found.weights}
        rows.append(row)
    return rows


def measure_chats() -> dict[str, Any]:
    """Return flash, SRAM and cycles of a chat net of each format."""
    found = {}
    for name in ("binary", "ternary", "two_bit", "int4"):
        with tempfile.TemporaryDirectory() as folder:
            firmware = TARGETS["uno"].firmware(small_chat_graph(name, HIDDEN), Chat(), "golden").built(Path(folder))
            outcome = firmware.type(LINES).outcome
            assert outcome and outcome.cycles is not None
            cycles = outcome.cycles.sum(1)
            sram = (firmware.sizes.static_bytes or 0) + (outcome.stack_bytes or 0)
            sizes = {"flash_bytes": firmware.sizes.flash_bytes, "sram_bytes": sram}
            counts = {
                "min": int(cycles.min()),
                "max": int(cycles.max()),
                "sum": int(cycles.sum()),
                "characters": len(cycles),
            }
            found[name] = sizes | {"cycles": counts}
    return found


def golden_texts() -> dict[str, str]:
    """Return the C of the tiny graph by file name: net.h of every target."""
    return {f"tiny-{name}.h": target.net_text(tiny_graph(), "golden") for name, target in TARGETS.items()}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in golden_texts().items():
        (GOLDEN / name).write_text(text)
    LEDGER.write_text(json.dumps(measure(), indent=1) + "\n")
