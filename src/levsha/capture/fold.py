"""Calls -> nodes: batch normalisation, bias and input normalisation become factors, activations join their layers, and moves cost nothing.

Legend: O outputs, I inputs, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from levsha.capture.build import Build
from levsha.capture.call import Call, Program
from levsha.capture.fold_arithmetic import fold_add, fold_affine, fold_concat, fold_multiply
from levsha.capture.fold_layer_norm import fold_layer_norm
from levsha.capture.fold_recurrent import fold_recurrent
from levsha.capture.fold_windows import fold_average_pool, fold_conv, fold_conv_transpose, fold_max_pool, fold_mean
from levsha.capture.fuse import fuse_functions
from levsha.capture.part import part_concats
from levsha.capture.problems import refuse
from levsha.capture.view import View
from levsha.errors import LevshaError
from levsha.lower.node import SAME, Clip, Function, Node, Window
from levsha.lower.reads import is_padded, stays_apart

INPUT, OUTPUT = "input", "output"
WASTED = 2  # a linear layer over part of a value reads it whole, where that is less than so many times the part


@dataclass(frozen=True, eq=False)
class Folded:
    """nodes: in order. shape, order: of the input: its own axes, and these as they lie in memory. outputs: names and shapes of the values
    that are returned. argmax: whether the number of the largest element of the first output is returned, and not the output. notes: what was dropped."""

    nodes: tuple[Node, ...]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    outputs: dict[str, tuple[int, ...]]
    argmax: bool
    notes: tuple[str, ...]

    def laid(self, x: Tensor) -> Tensor:
        """Return real inputs (N, *shape) as they lie in memory."""
        return x.permute(0, *(axis + 1 for axis in self.order))


def fold(program: Program, keep_sigmoid: bool = False) -> Folded:
    """Return a program as nodes; LevshaError names everything that has no integer form.

    keep_sigmoid: a sigmoid at the end becomes a table; else it is dropped, as a softmax is, since it changes no decision.
    """
    (shape,) = program.inputs.values()
    fused = part_concats(fuse_functions(program))
    natural = tuple(range(len(shape)))
    orders = {2: [natural, (1, 0)], 3: [(1, 2, 0), natural]}.get(
        len(shape), [natural]
    )  # the first that needs the fewest moves
    made = [_fold(fused, order, keep_sigmoid) for order in orders]
    return min(made, key=lambda folded: sum(node.index.size for node in folded.nodes if node.index is not None))


def _fold(program: Program, order: tuple[int, ...], keep_sigmoid: bool) -> Folded:
    ((source, shape),) = program.inputs.items()
    build = Build(program, keep_sigmoid=keep_sigmoid)
    build.shapes[INPUT] = tuple(shape[axis] for axis in order)
    build.views[source] = View.whole(INPUT, shape, order)
    for call in program.calls:
        KINDS[call.kind](build, call)
    if build.problems:
        refuse(program.about, list(dict.fromkeys(build.problems)))
    outputs: dict[str, tuple[int, ...]] = {}
    names: dict[str, str] = {}
    for name in program.outputs:
        value = build.materialise(Call("output", (name,), name, build.views[name].shape), build.views[name])
        if value in names:  # returned twice
            stored = build.shapes[value]
            index = np.arange(math.prod(stored)).reshape(stored)
            value = build.insert(f"{value}_again{len(names)}", "gather", [value], stored, "", index=index).output
        if value == INPUT:
            raise LevshaError(f"{program.about}: returns its input as it is; there is nothing to convert.")
        names[value] = OUTPUT if len(program.outputs) == 1 else f"{OUTPUT}{len(names) + 1}"
        outputs[names[value]] = build.views[name].shape
    _requantise_outputs(build, set(names))
    nodes = _counted_anew(_named(_needed(build, set(names)), names))
    return Folded(nodes, shape, order, outputs, build.argmax, tuple(dict.fromkeys(build.notes)))


def _requantise_outputs(build: Build, outputs: set[str]) -> None:
    """Outputs have one step, and integers of their own: what only says what integers stand for is computed where it ends there."""
    for node in reversed(list(build.nodes.values())):
        if node.output in outputs and node.kind in SAME:
            outputs = outputs | set(node.inputs)
            if node.kind == "alias":
                build.change(node, kind="affine")


def _needed(build: Build, wanted: set[str]) -> list[Node]:
    """The nodes that the outputs depend on."""
    found: list[Node] = []
    for node in reversed(build.nodes.values()):
        if node.output in wanted:
            found.append(node)
            wanted |= set(node.inputs)
    return found[::-1]


def _named(nodes: list[Node], names: dict[str, str]) -> tuple[Node, ...]:
    return tuple(
        replace(
            node,
            output=names.get(node.output, node.output),
            inputs=tuple(names.get(name, name) for name in node.inputs),
        )
        for node in nodes
    )


def _counted_anew(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Nodes in which integers stand for something else only where that is right for who reads them; elsewhere they are computed."""
    return tuple(replace(node, kind="affine") if _needs_integers(node, nodes) else node for node in nodes)


def _needs_integers(node: Node, nodes: tuple[Node, ...]) -> bool:
    """Whether channels that stand for something else by channel do not stay apart, or a 0 of padding may lie beyond a value's integers.

    The integers of an input are chosen with its padding in mind.
    """
    if node.kind != "alias":
        return False
    if node.factor_O.size > 1 and not stays_apart(node.output, node.shape[-1], nodes):
        return True
    first = node
    while first is not None and first.kind == "alias":
        name = first.inputs[0]
        first = next((other for other in nodes if other.output == name), None)
    return first is not None and bool(node.offset_O.any()) and is_padded(node.output, nodes)


def _fold_linear(build: Build, call: Call) -> None:
    """A linear layer: its weights' columns go where the input's elements lie. Over more than one row it is a convolution."""
    view, weight, bias = build.view(call.inputs[0]), call.arrays["weight"], call.array("bias")
    offset_O = np.zeros(len(weight)) if bias is None else bias.double().numpy().copy()
    rows = math.prod(view.shape[:-1])
    more = {"factor_O": np.ones(len(weight))}
    if rows > 1:
        value = build.materialise(call, view)
        window = Window((1, rows, view.shape[-1]), (1, 1))
        build.add(
            call,
            "conv",
            [value],
            (1, rows, len(weight)),
            None,
            weight_OI=weight,
            offset_O=offset_O,
            window=window,
            **more,
        )
        return
    index, size = view.index.ravel(), math.prod(build.shapes[view.value])
    value, weight_OI = view.value, weight
    if len(np.unique(index)) * WASTED <= size:
        value = build.materialise(call, view)
    else:
        real = torch.from_numpy(np.flatnonzero(index >= 0))
        weight_OI = torch.zeros(len(weight), size, dtype=weight.dtype)
        weight_OI.index_add_(1, torch.from_numpy(index[index >= 0]), weight[:, real])
        offset_O += view.fill * weight.double().numpy()[:, index < 0].sum(1) if view.is_filled else 0.0
    build.add(call, "linear", [value], (len(weight),), None, weight_OI=weight_OI, offset_O=offset_O, **more)


def _fold_clip(build: Build, call: Call) -> None:
    build.set_activation(call, Clip(call.attributes["lo"], call.attributes["hi"]))


def _fold_function(build: Build, call: Call) -> None:
    name, function = call.attributes["name"], call.attributes["function"]
    if name == "sigmoid" and not build.keep_sigmoid and _is_last(build, call.output):
        build.views[call.output] = build.view(call.inputs[0])
        build.notes.append(
            "The sigmoid at the end is left out: the output is its input, above 0 where the sigmoid is above 0.5."
        )
        return
    build.set_activation(call, Function(name, function))


def _fold_rearrange(build: Build, call: Call) -> None:
    """Do to the numbers of the elements what the call does to the elements."""
    view, move = build.view(call.inputs[0]), call.attributes["move"]
    numbers = torch.from_numpy(np.ascontiguousarray(view.index).astype(np.float64))[None]
    moved = move(numbers, -2.0)[0].numpy().astype(np.int64)
    fill = float(call.attributes.get("fill", 0.0))
    if (moved == -2).any():
        if (moved == -1).any() and fill != view.fill:
            whole = build.materialise(call, view)
            view = replace(view, value=whole, index=View.whole(whole, view.shape).index)
            moved = move(torch.from_numpy(view.index.astype(np.float64))[None], -2.0)[0].numpy().astype(np.int64)
        view = replace(view, fill=fill)
    build.views[call.output] = replace(view, index=np.maximum(moved, -1))


def _fold_argmax(build: Build, call: Call) -> None:
    view = build.view(call.inputs[0])
    if (
        not _is_last(build, call.output)
        or view.index.size != view.shape[call.attributes["axis"]]
        or len(build.program.outputs) > 1
    ):
        return build.refuse(
            call,
            "argmax that is not at the end, or not over all elements",
            "leave it out: the class is found behind the net",
        )
    build.argmax = True
    build.views[call.output] = replace(view, index=view.index.ravel())
    return None


def _fold_softmax(build: Build, call: Call) -> None:
    if not _is_last(build, call.output):
        return build.refuse(call, "softmax in the middle", "use sigmoid as a gate, or leave it out")
    name = "log_softmax" if call.attributes["log"] else "softmax"
    build.notes.append(
        f"The {name} at the end is left out: the outputs are its inputs (logits), and the largest is the same."
    )
    build.views[call.output] = build.view(call.inputs[0])
    return None


def _is_last(build: Build, name: str) -> bool:
    """Whether nothing is made of a value but moves and an argmax."""
    readers = [call for call in build.program.calls if name in call.inputs]
    return all(call.kind in ("rearrange", "argmax") and _is_last(build, call.output) for call in readers)


def _fold_embed(build: Build, call: Call) -> None:
    view, table = build.view(call.inputs[0]), call.arrays["table"]
    if view.value != INPUT:
        return build.refuse(call, "rows of a table by a computed number", "use an embedding of the input only")
    build.add(
        call,
        "embed",
        [build.materialise(call, view)],
        (max(1, math.prod(view.shape)), table.shape[1]),
        None,
        weight_OI=table,
    )
    return None


KINDS: dict[str, Callable[[Build, Call], None]] = {
    "linear": _fold_linear, "conv": fold_conv, "conv_transpose": fold_conv_transpose, "affine": fold_affine, "clip": _fold_clip,
    "function": _fold_function, "max_pool": fold_max_pool, "average_pool": fold_average_pool, "mean": fold_mean, "sum": fold_mean,
    "add": fold_add, "multiply": fold_multiply, "concat": fold_concat, "rearrange": _fold_rearrange, "argmax": _fold_argmax,
    "softmax": _fold_softmax, "embed": _fold_embed, "layer_norm": fold_layer_norm, "recurrent": fold_recurrent,
}  # fmt: skip
