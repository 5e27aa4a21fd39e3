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
    """vectors compared, how many of them differ in any output, which ones, and the first of them in words."""

    vectors: int
    mismatches: int
    wrong: np.ndarray
    example: str = ""


def compare(graph: Graph, outcome: Outcome, asked: Mapping[str, np.ndarray] | None = None) -> Comparison:
    """Compare what a target computed with the interpreter, on the inputs the target saw.

    asked: the vectors that the target was given; that it saw just these is then required.
    """
    for name, x in (asked or {}).items():
        assert np.array_equal(outcome.inputs[name], x), f"the target did not see the {name} it was given"
    want = interpret(graph, outcome.inputs)
    count = len(next(iter(outcome.inputs.values())))
    wrong_N = np.zeros(count, bool)
    for name in graph.outputs:
        wrong_N |= (want[name] != outcome.outputs[name]).reshape(count, -1).any(1)
    wrong = np.flatnonzero(wrong_N)
    if not len(wrong):
        return Comparison(count, 0, wrong)
    at = int(wrong[0])
    name = next(n for n in graph.outputs if (want[n][at] != outcome.outputs[n][at]).any())
    element = int(np.flatnonzero((want[name][at] != outcome.outputs[name][at]).ravel())[0])
    example = f"vector {at}: {name}[{element}] is {outcome.outputs[name][at].ravel()[element]}, the interpreter says {want[name][at].ravel()[element]}"
    return Comparison(count, len(wrong), wrong, example)


def find_first_difference(graph: Graph, target: Target, inputs: Mapping[str, np.ndarray]) -> str:
    """Return the first op whose output differs on the target for these inputs: every prefix of the graph is shipped in turn.

    In order, not by bisection: a later clip or arg max can hide what an earlier op does wrong.
    """
    for count, op in enumerate(graph.ops, 1):
        prefix = graph.prefix(count)
        with tempfile.TemporaryDirectory() as folder:
            if compare(prefix, target.run(prefix, inputs, Path(folder))).mismatches:
                return f"{op.name} ({type(op).__name__})"
    return "none: built anew, the net is exact, so the image is not of this net"


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
    """Return the version of each package a target's tools come from; unknown where there is no dpkg."""
    packages = list(dict.fromkeys(tool.package for tool in target.tools))
    words = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages]
    try:
        lines = subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        lines = []  # not a Debian machine
    return dict.fromkeys(packages, "unknown") | {k: v for k, _, v in (line.partition(" ") for line in lines)}
