"""Interpreter against chip, every output of every vector; on a mismatch, the first op that differs."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from levsha import __version__
from levsha.interpret import interpret
from levsha.ir import Graph
from levsha.store import graph_hash
from levsha.targets import Outcome, Target


@dataclass(frozen=True)
class Comparison:
    """vectors compared, how many of them differ in any output, and, if any does, where."""

    vectors: int
    mismatches: int
    first_op: str = ""
    example: str = ""


def compare(graph: Graph, outcome: Outcome) -> Comparison:
    """Compare what a target computed with the interpreter, on the inputs the target saw."""
    want = interpret(graph, outcome.inputs)
    count = len(next(iter(outcome.inputs.values())))
    wrong_N = np.zeros(count, bool)
    for name in graph.outputs:
        wrong_N |= (want[name] != outcome.outputs[name]).reshape(count, -1).any(1)
    if not wrong_N.any():
        return Comparison(count, 0)
    at = int(np.flatnonzero(wrong_N)[0])
    name = next(n for n in graph.outputs if (want[n][at] != outcome.outputs[n][at]).any())
    element = int(np.flatnonzero((want[name][at] != outcome.outputs[name][at]).ravel())[0])
    example = f"vector {at}: {name}[{element}] is {outcome.outputs[name][at].ravel()[element]}, the interpreter says {want[name][at].ravel()[element]}"
    return Comparison(count, int(wrong_N.sum()), example=example)


def find_first_difference(graph: Graph, target: Target, inputs: Mapping[str, np.ndarray]) -> str:
    """Return the name of the first op whose output differs on the target: prefixes of the graph are shipped, by bisection."""
    right, wrong = 0, len(graph.ops)  # a prefix of `right` ops is exact, one of `wrong` ops is not
    while wrong - right > 1:
        middle = (right + wrong) // 2
        with tempfile.TemporaryDirectory() as folder:
            prefix = graph.prefix(middle)
            exact = compare(prefix, target.run(prefix, inputs, Path(folder))).mismatches == 0
        right, wrong = (middle, wrong) if exact else (right, middle)
    op = graph.ops[wrong - 1]
    return f"{op.name} ({type(op).__name__})"


def certificate(
    graph: Graph, target: Target, vectors: int, mismatches: int, seed: int, measured: dict[str, Any]
) -> dict[str, Any]:
    """Return what was compared with what: enough to repeat the check and to see whether a net has changed since."""
    return {
        "net_sha256": graph_hash(graph),
        "target": target.name,
        "chip": target.chip,
        "vectors": vectors,
        "vectors_seed": seed,
        "mismatches": mismatches,
        "outputs": list(graph.outputs),
        **measured,
        "tools": tool_versions(target),
        "levsha": __version__,
    }


def tool_versions(target: Target) -> dict[str, str]:
    """Return the version of each package a target's tools come from; their own first line where there is no dpkg."""
    versions = {}
    for tool in target.tools:
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", tool.package], capture_output=True, text=True, check=False
        )
        versions[tool.package] = asked.stdout.strip() or "unknown"
    return versions
