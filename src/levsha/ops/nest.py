"""Regular patterns in lists of indices, as loops: what needs no table of indices in program memory.

Legend: N points, D indices of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Nest:
    """Nested loops that pass N points in order: first is the first point; loops are (count, step), the outermost first."""

    first: tuple[int, ...]
    loops: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def rewinds(self) -> list[tuple[int, ...]]:
        """What the indices of one point need added, after each loop's turn, to be those of the next; by loop."""
        found, inner = [], np.zeros(len(self.first), np.int64)
        for count, step in reversed(self.loops):
            found.append(tuple((np.array(step) - inner).tolist()))
            inner = np.array(step) * count
        return found[::-1]


def find_nest(points_ND: np.ndarray) -> Nest | None:
    """Return the loops that pass exactly these points; None where there are none.

    Greedy, from the innermost: the longest run of equal steps is a product of the inner loops' counts, if there are loops at all.

    >>> find_nest(np.arange(12).reshape(3, 4).T.reshape(-1, 1))
    Nest(first=(0,), loops=((4, (1,)), (3, (4,))))
    >>> find_nest(np.array([[0], [1], [5], [7]]))
    """
    loops: list[tuple[int, tuple[int, ...]]] = []
    while len(points_ND) > 1:
        step = points_ND[1] - points_ND[0]
        run = _run(points_ND)
        if len(points_ND) % run:
            return None
        blocks = points_ND.reshape(-1, run, points_ND.shape[1])
        if not (blocks == blocks[:, :1] + np.arange(run)[:, None] * step).all():
            return None
        loops.insert(0, (run, tuple(step.tolist())))
        points_ND = blocks[:, 0]
    return Nest(tuple(points_ND[0].tolist()), tuple(loops))


def find_runs(points_ND: np.ndarray, most: int) -> list[Nest] | None:
    """Return single loops that pass these points one after the other; None where more than `most` are needed.

    >>> find_runs(np.array([[3], [4], [5], [9], [7]]), 2)
    [Nest(first=(3,), loops=((3, (1,)),)), Nest(first=(9,), loops=((2, (-2,)),))]
    """
    steps = np.diff(points_ND, axis=0)
    changes = np.flatnonzero((steps[1:] != steps[:-1]).any(1)) + 1
    found: list[Nest] = []
    start = 0
    while start < len(points_ND):
        if len(found) == most:
            return None
        at = np.searchsorted(changes, start, side="right")
        end = int(changes[at]) if at < len(changes) else len(points_ND) - 1
        loops = ((end - start + 1, tuple(steps[start].tolist())),) if end > start else ()
        found.append(Nest(tuple(points_ND[start].tolist()), loops))
        start = end + 1
    return found


def _run(points_ND: np.ndarray) -> int:
    """How many of the first points follow each other in equal steps."""
    steps = np.diff(points_ND, axis=0)
    other = (steps != steps[:1]).any(1)
    return int(other.argmax()) + 1 if other.any() else len(points_ND)


def c_nest(nest: Nest, names: tuple[str, ...], body: str, index: str) -> str:
    """Return C that runs `body` for every point, with its indices in variables of the type `index`, unsigned, called `names`.

    The indices wrap on the way, which is defined, and they are right where the body reads them.
    """
    lines = ["{", *(f"    {index} {name} = {start};" for name, start in zip(names, nest.first, strict=True))]
    depth = len(nest.loops)
    for level, (count, _) in enumerate(nest.loops):
        lines.append(f"{_indent(level + 1)}for ({index} n{level} = 0; n{level} < {count}; ++n{level}) {{")
    lines.append(_indent(depth + 1) + body)
    for level, rewind in reversed(list(enumerate(nest.rewinds))):
        lines += [_indent(level + 2) + _advance(name, by, index) for name, by in zip(names, rewind, strict=True) if by]
        lines.append(_indent(level + 1) + "}")
    return "\n".join([*lines, "}"])


def _indent(level: int) -> str:
    return "    " * level


def _advance(name: str, by: int, index: str) -> str:
    if by == 1:
        return f"++{name};"
    return f"{name} = ({index})({name} {'-' if by < 0 else '+'} {abs(by)}{'u' if abs(by) <= 0xFFFF else 'ul'});"
