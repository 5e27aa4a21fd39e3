"""Functions of one value written in several calls, such as x * sigmoid(x), as one function: one table instead of several and a product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from levsha.capture.call import MEANINGS, Call, Program

ALONE = ("function", "clip")


def fuse_functions(program: Program) -> Program:
    """Return the program with every sum and product of functions of one value as a single function of that value."""
    made = {call.output: call for call in program.calls}
    readers: dict[str, set[str]] = {}
    for call in program.calls:
        for name in call.inputs:
            readers.setdefault(name, set()).add(call.output)
    outputs, calls = set(program.outputs), []
    for call in program.calls:
        fused = _fused(call, made, readers, outputs) if call.kind in ("multiply", "add") else None
        made[call.output] = fused or call
        calls.append(made[call.output])
    return replace(program, calls=_read(calls, outputs))


def _fused(call: Call, made: dict[str, Call], readers: dict[str, set[str]], outputs: set[str]) -> Call | None:
    """One function in the place of a sum or product of two functions of one value, whose parts nobody else reads."""
    a, b = (_ancestors(name, made) for name in call.inputs)
    root = next((name for name in a if name in b), None)
    if root is None:
        return None
    parts = [made[name] for line in (a, b) for name in line[: line.index(root)]]
    inner = {part.output for part in parts}
    if inner & outputs or any(readers.get(name, set()) - inner - {call.output} for name in inner):
        return None
    parts = list({part.output: part for part in reversed(parts)}.values())
    name = "_".join(part.attributes.get("name", part.kind) for part in parts if part.kind in ALONE) or "square"
    return Call(
        "function",
        (root,),
        call.output,
        call.shape,
        {"name": name, "function": _function(root, [*parts, call])},
        {},
        call.place,
    )


def _ancestors(name: str, made: dict[str, Call]) -> list[str]:
    """The value and those it is a function of, element by element, nearest first."""
    line = [name]
    while (call := made.get(line[-1])) is not None and _is_function(call):
        line.append(call.inputs[0])
    return line


def _is_function(call: Call) -> bool:
    return call.kind in ALONE or (call.kind == "affine" and all(array.numel() == 1 for array in call.arrays.values()))


def _function(root: str, parts: list[Call]) -> Callable[[Tensor], Tensor]:
    ordered = _in_order(root, parts)

    def function(t: Tensor) -> Tensor:
        known = {root: t}
        for part in ordered:
            known[part.output] = MEANINGS[part.kind](part, *(known[name] for name in part.inputs))
        return known[ordered[-1].output]

    return function


def _in_order(root: str, parts: list[Call]) -> list[Call]:
    known, ordered, waiting = {root}, [], list(parts)
    while waiting:
        ready = next(part for part in waiting if set(part.inputs) <= known)
        waiting.remove(ready)
        ordered.append(ready)
        known.add(ready.output)
    return ordered


def _read(calls: list[Call], outputs: set[str]) -> tuple[Call, ...]:
    """The calls without those that nobody reads any more."""
    kept: list[Call] = []
    wanted = set(outputs)
    for call in reversed(calls):
        if call.output in wanted:
            kept.append(call)
            wanted |= set(call.inputs)
    return tuple(kept[::-1])
