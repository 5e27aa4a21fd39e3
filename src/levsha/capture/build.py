"""The nodes made so far, while a program is folded.  Legend: O outputs, C channels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from levsha.capture.call import Call, Program
from levsha.capture.problems import Problem
from levsha.capture.view import View
from levsha.lower.node import SAME, Clip, Function, Node

ONE, ZERO = np.ones(1), np.zeros(1)


@dataclass
class Build:
    """nodes: by the value each makes. views: of the values of calls. shapes: of the integer values, as they lie in memory. sole_inputs: values
    of nodes that alone read their input. argmax: whether the program ends in one."""

    program: Program
    nodes: dict[str, Node] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gathered: dict[tuple[str, bytes, tuple[int, ...]], str] = field(default_factory=dict)
    read_N: Counter[str] = field(default_factory=Counter)
    sole_inputs: set[str] = field(default_factory=set)
    keep_sigmoid: bool = False
    argmax: bool = False

    def __post_init__(self) -> None:
        self.read_N = Counter(name for call in self.program.calls for name in call.inputs) + Counter(
            self.program.outputs
        )

    def view(self, name: str) -> View:
        """Return where the elements of a call's value lie, and whether the call at hand is the only one to read them."""
        view = self.views[name]
        return view if self.read_N[name] == 1 else replace(view, sole=False)

    def refuse(self, call: Call, what: str, advice: str) -> None:
        """Note that a call cannot be converted, and go on, to find everything."""
        self.problems.append(Problem(what, call.place, advice))
        self.views[call.output] = View.whole(next(iter(self.shapes)), call.shape)

    def name(self, call: Call) -> str:
        """Return a name for a layer: the path of its module where that is known, else its kind; each once."""
        path = re.search(r"\(in ([\w.]+)\)$", call.place)
        wanted = re.sub(
            r"\W",
            "_",
            path[1] if path else re.sub(r"\W", "_", call.output) if call.place.startswith("node") else call.kind,
        )
        wanted = wanted if wanted[:1].isalpha() else f"layer_{wanted}"
        taken = {node.name for node in self.nodes.values()} | set(self.nodes) | set(self.shapes)
        return next(
            name
            for k in range(1, len(taken) + 2)
            if not {name := wanted if k == 1 else f"{wanted}_{k}", f"{name}_out"} & taken
        )

    def add(
        self,
        call: Call,
        kind: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        order: tuple[int, ...] | None = None,
        **more: Any,
    ) -> Node:
        """Add a node for a call. shape: of its value in memory; order: of the call's axes there."""
        node = self.insert(self.name(call), kind, inputs, shape, call.place, **more)
        self.views[call.output] = View.whole(node.output, call.shape, order)
        return node

    def insert(
        self, name: str, kind: str, inputs: Sequence[str], shape: tuple[int, ...], place: str, **more: Any
    ) -> Node:
        """Add a node."""
        more = {"factor_O": ONE, "offset_O": ZERO} | more
        node = Node(name=name, kind=kind, inputs=tuple(inputs), output=f"{name}_out", shape=shape, place=place, **more)
        self.nodes[node.output] = node
        self.shapes[node.output] = shape
        return node

    def change(self, node: Node, **more: Any) -> None:
        """Replace a node by one that differs in what is given."""
        self.nodes[node.output] = replace(node, **more)

    def materialise(self, call: Call, view: View, as_channels: bool = False) -> str:
        """Return the name of a value that holds the elements just as the view has them, in its order; made where there is none.

        as_channels: its last axis must be that of the view too.
        """
        size = int(np.prod(self.shapes[view.value], dtype=np.int64))
        flat = view.index.ravel()
        fits = not as_channels or not view.shape or self.shapes[view.value][-1] == view.shape[-1]
        if fits and flat.size == size and (flat == np.arange(size)).all():
            return view.value
        key = (view.value, flat.tobytes(), view.shape)
        if key not in self.gathered:
            shape = view.shape if view.shape else (1,)
            name = self.name(replace(call, place="", kind=f"{view.value.removesuffix('_out')}_moved"))
            node = self.insert(
                name, "gather", [view.value], shape, call.place, index=view.index.reshape(shape), fill=view.fill
            )
            self.gathered[key] = node.output
        return self.gathered[key]

    def producer(self, view: View) -> Node | None:
        """Return the node whose value nobody but the call at hand reads; None where there is none such.

        What only moves or compares elements is passed through: an activation that goes up may stand before it.
        """
        node = self.nodes.get(view.value)
        return node if node is not None and view.sole else None

    def set_activation(self, call: Call, activation: Clip | Function) -> None:
        """Put an activation behind whatever made a call's input: onto its node where that is possible, else on one of its own."""
        view = self.view(call.inputs[0])
        node = self.producer(view)
        while (
            node is not None and node.kind == "max" and isinstance(activation, Clip) and node.output in self.sole_inputs
        ):
            node = self.nodes.get(node.inputs[0])
        fill = float(_apply(activation, view.fill)) if view.is_filled else 0.0
        if (
            node is not None
            and node.kind not in (*SAME, "concat", "embed", "recurrent")
            and (merged := _merged(node.activation, activation)) is not None
        ):
            self.change(node, activation=merged)
            self.views[call.output] = replace(view, fill=fill)
            return
        shape = self.shapes[view.value]
        new = self.insert(self.name(call), "affine", [view.value], shape, call.place, activation=activation)
        self.views[call.output] = replace(view, value=new.output, fill=fill)


def _apply(activation: Clip | Function, number: float) -> float:
    import torch

    return float(activation(torch.tensor([number], dtype=torch.float64))[0])


def _merged(first: Clip | Function | None, then: Clip | Function) -> Clip | Function | None:
    """One activation in the place of two; None where there is none."""
    if first is None:
        return then
    if isinstance(first, Clip) and isinstance(then, Clip):
        lo, hi = max(first.lo, then.lo), min(first.hi, then.hi)
        return Clip(lo, hi) if lo < hi and first.lo <= then.hi and then.lo <= first.hi else None
    return Function(f"{_title(first)}_{_title(then)}", lambda z: then(first(z)))


def _title(activation: Clip | Function) -> str:
    return activation.name if isinstance(activation, Function) else "clip"
