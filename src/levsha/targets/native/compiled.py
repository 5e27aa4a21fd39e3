"""When a graph is compiled for this machine, and what runs it until then.

The interpreter is the law, and quick to start; a library takes about a second to make. So a graph is interpreted until that has been
worth a second's work, or somebody asks. Both compute the same integers: tests hold every op and format to that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from levsha.errors import LevshaError, warn
from levsha.ir import Graph, count_macs
from levsha.targets.native.compiler import machine
from levsha.targets.native.instructions import INSTRUCTIONS, found_on
from levsha.targets.native.library import Library

VARIABLE = "LEVSHA_NATIVE"  # names the instructions to use, or "off": nothing is compiled
ENOUGH = 200_000_000  # elements and multiply-accumulates that are interpreted first: about a second
_LOCK = threading.Lock()


@dataclass
class Known:
    """What is known of a graph. work: of one run; done: so far. settled: whether it is decided what runs it; library: or the interpreter."""

    work: int
    done: int = 0
    settled: bool = False
    library: Library | None = None


_KNOWN: WeakKeyDictionary[Graph, Known] = WeakKeyDictionary()
_said: set[str] = set()


def compiled_run(graph: Graph, inputs: Mapping[str, np.ndarray], threads: int = 1) -> dict[str, np.ndarray] | None:
    """Return every output of a batch from the compiled graph; None where the interpreter is to run it, or to say what is wrong.

    inputs: integers (N, *shape) by input name. threads: over which rows are spread.
    """
    known = known_of(graph)
    if not known.settled:
        known.done += known.work * max((len(x) for x in inputs.values()), default=0)
        if known.done < ENOUGH:
            return None
        _settle(graph, known, None)
    return known.library.run(inputs, threads) if known.library else None


def prepare(graph: Graph, instructions: str | None = None) -> str:
    """Compile a graph now, or load what was compiled before; return the name of the instructions it uses, 'off' for the interpreter.

    instructions: a name in INSTRUCTIONS, or 'off'; by default the variable LEVSHA_NATIVE, else the best that the processor has.
    LevshaError for a name that is none, and where the processor does not have them.
    """
    known = known_of(graph)
    _settle(graph, known, instructions)
    return known.library.instructions if known.library else "off"


def known_of(graph: Graph) -> Known:
    """Return what is known of a graph, the same object as long as it lives."""
    return _KNOWN.get(graph) or _first_seen(graph)


def _first_seen(graph: Graph) -> Known:
    values = sum(value.size for value in graph.values.values())
    return _KNOWN.setdefault(graph, Known(count_macs(graph) + values))


def _settle(graph: Graph, known: Known, instructions: str | None) -> None:
    """Decide what runs a graph: a library, or, said once, the interpreter."""
    wanted, here = instructions or os.environ.get(VARIABLE) or "", found_on(machine())
    if wanted and wanted not in ("off", *here):
        what = "this processor does not have" if wanted in INSTRUCTIONS else "nobody knows"
        raise LevshaError(f"{VARIABLE}: is {wanted!r}, which {what}; allowed here: off, {', '.join(here)}.")
    with _LOCK:
        known.settled, known.library = True, None
        if wanted == "off":
            return
        if not machine():
            _say(
                "no compiler",
                "no gcc was found, or it does not know this processor: nets run in the interpreter, which is exact and slow",
            )
            return
        try:
            known.library = Library.of(graph, wanted or here[0])
        except LevshaError as error:
            _say("not compiled", f"nets run in the interpreter, which is exact and slow: {error}")


def _say(kind: str, text: str) -> None:
    """Warn of a kind of thing, once."""
    if kind not in _said:
        _said.add(kind)
        warn(text)
