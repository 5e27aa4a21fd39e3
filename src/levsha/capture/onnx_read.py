"""An ONNX file as calls: constants are computed at once, each other node becomes calls by the table of `onnx_ops`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from levsha.capture.call import Call, Program
from levsha.capture.onnx_file import Source, constants_of, load_onnx, outputs_of, source_of
from levsha.capture.onnx_graph import attributes, compute_constant, inferred, needed, place_of, read_names
from levsha.capture.onnx_layout import with_batch
from levsha.capture.onnx_node import Node
from levsha.capture.onnx_ops import RANDOM, advice_for, operation
from levsha.capture.onnx_value import UnsupportedError, Value
from levsha.capture.problems import Problem, refuse
from levsha.errors import LevshaError, warn

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


class Unknown:
    """What a node that was refused would have made."""


UNKNOWN = Unknown()
Known = Value | np.ndarray | Unknown | None


def read_onnx(path: Path) -> Program:
    """Return what an ONNX file computes, as calls.

    The first axis of its one input is the batch, of any size; a file whose input has no such axis is read so where nothing else is possible.
    Raises LevshaError where the file is none or damaged, has several inputs or open sizes, and with every node that cannot be converted.
    """
    model = load_onnx(path)
    source = source_of(path, model)
    outputs = outputs_of(path, model, tell=True)
    if source.bare:
        return _Reader(path, model, source, None).program(outputs)
    try:
        return _Reader(path, model, source, 0).program(outputs)
    except LevshaError:
        if source.fixed and source.shape[0] > 1:
            with suppress(LevshaError):
                program = _Reader(path, model, source, None).program(outputs)
                warn(
                    f"{path.name}: read as a model without a batch: one example is all of its input, {list(source.shape)}."
                )
                return program
        raise


class _Reader:
    """Goes through a file's nodes in order.  batch: the axis of the input that is the batch, None where it has none."""

    def __init__(self, path: Path, model: ModelProto, source: Source, batch: int | None) -> None:
        self.path, self.model, self.source, self.batch = path, model, source, batch
        self.opsets = {
            entry.domain.replace("ai.onnx", "") if entry.domain == "ai.onnx" else entry.domain: entry.version
            for entry in model.opset_import
        }
        own = source.shape if batch is None else source.shape[1:]
        rows = 1 if batch is None else source.shape[0]
        self.known: dict[str, Known] = {"": None}
        self.known |= constants_of(path, model.graph)
        self.known[source.name] = Value(source.name, own, batch, rows, source.whole)
        self.calls: list[Call] = []
        self.problems: list[Problem] = []
        self.shapes: dict[str, tuple[int, ...]] | None = None

    def program(self, outputs: Sequence[str]) -> Program:
        """Return the whole program, or raise LevshaError with all that is in its way."""
        self.read = read_names(self.model.graph.node) | set(outputs)
        self.walk(needed(self.model.graph.node, outputs))
        results = [self.result(name) for name in outputs]
        if self.problems:
            refuse(str(self.path), _short(self.problems))
        names = tuple(value.name for value in results if value is not None)
        made = [call.output for call in self.calls]
        assert len(set(made)) == len(made), "two calls make one value"
        inputs = {self.source.name: self.source.shape if self.batch is None else self.source.shape[1:]}
        return Program(inputs, _used(self.calls, names), names, self.path.name)

    def result(self, name: str) -> Value | None:
        """Return an output with its batch first."""
        found = self.known.get(name, UNKNOWN)
        if isinstance(found, np.ndarray):
            raise LevshaError(f'{self.path}: its output "{name}" does not depend on its input.')
        if not isinstance(found, Value):
            return None
        node = Node("Output", f'output "{name}"', 0, {}, [found], [f"{name} as output"], [True])
        try:
            if found.batch is not None or found.shape[:1] == (1,):
                found = with_batch(node, found)
        except UnsupportedError as error:
            self.problems.append(Problem(error.what, node.place, error.advice))
        self.calls.extend(node.calls)
        return found

    def walk(self, nodes: Iterable[NodeProto]) -> None:
        """Compute what is constant, turn everything else into calls, and note what cannot be."""
        for number, proto in enumerate(nodes, 1):
            missing = [name for name in proto.input if name not in self.known]
            if missing:
                raise LevshaError(
                    f'{self.path}: damaged: {place_of(proto, number)} reads "{missing[0]}", which nothing makes.'
                )
            inputs = [self.known[name] for name in proto.input]
            if proto.op_type == "If" and isinstance(inputs[0], np.ndarray):
                self.branch(proto, bool(inputs[0].item()))
            elif any(isinstance(x, Value | Unknown) for x in inputs) or not self.fold(proto, inputs):
                self.convert(proto, inputs, place_of(proto, number))

    def branch(self, proto: NodeProto, taken: bool) -> None:
        """Go through the branch of an If that a constant chooses."""
        graph = next(a.g for a in proto.attribute if a.name == ("then_branch" if taken else "else_branch"))
        self.known |= constants_of(self.path, graph)
        self.walk(graph.node)
        for name, inner in zip(proto.output, graph.output, strict=True):
            self.known[name] = self.known[inner.name]

    def fold(self, proto: NodeProto, inputs: Sequence[Known]) -> bool:
        """Compute a node of constants; False where it is no such node."""
        if proto.op_type in RANDOM or any(a.HasField("g") or a.graphs for a in proto.attribute):
            return False
        feeds = {name: x for name, x in zip(proto.input, inputs, strict=True) if isinstance(x, np.ndarray)}
        found = compute_constant(proto, feeds, self.opsets, self.model.ir_version)
        if found is None:
            return False
        self.known |= dict(zip(proto.output, found, strict=False))
        return True

    def convert(self, proto: NodeProto, inputs: Sequence[Known], place: str) -> None:
        """Turn a node into calls, or note why not."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        key = f"{domain}.{proto.op_type}" if domain else proto.op_type
        self.known |= dict.fromkeys((name for name in proto.output if name), UNKNOWN)
        turn = operation(key)
        if turn is None:
            self.problems.append(Problem(f"{key} is not supported", place, advice_for(key)))
            self.guess(proto, inputs)
            return
        if any(isinstance(x, Unknown) for x in inputs):
            return
        node = Node(
            proto.op_type, place, self.opsets.get(domain, 1), attributes(proto), [x for x in inputs if not isinstance(x, Unknown)],
            list(proto.output), [name in self.read for name in proto.output], self.source.fixed,
        )  # fmt: skip
        try:
            made = turn(node)
        except UnsupportedError as error:
            self.problems.append(Problem(error.what, place, error.advice))
            self.guess(proto, inputs)
        except (ValueError, IndexError, KeyError) as error:
            what = f"{key} does not fit its inputs ({type(error).__name__}: {error})"
            self.problems.append(Problem(what, place, "look whether the file is whole"))
        else:
            self.keep(node, made if isinstance(made, tuple) else (made,))

    def keep(self, node: Node, made: Sequence[Known]) -> None:
        """Take over a node's calls, and call what it made by the file's names."""
        new = {call.output for call in node.calls}
        names: dict[str, str] = {}
        for name, value in zip(node.outputs, made, strict=False):
            if name and isinstance(value, Value) and value.name in new:
                names.setdefault(value.name, name)
        for call in node.calls:
            inputs = tuple(names.get(name, name) for name in call.inputs)
            self.calls.append(replace(call, inputs=inputs, output=names.get(call.output, call.output)))
        for name, value in zip(node.outputs, made, strict=False):
            self.known[name] = (
                replace(value, name=names.get(value.name, value.name)) if isinstance(value, Value) else value
            )

    def guess(self, proto: NodeProto, inputs: Sequence[Known]) -> None:
        """Go on behind a node that was refused, as if it had worked, where ONNX tells the shape: so that all problems are told at once."""
        first = next((x for x in inputs if isinstance(x, Value)), None)
        if first is None or first.batch is None:
            return
        if self.shapes is None:
            self.shapes = inferred(self.model)
        for name in proto.output:
            view = self.shapes.get(name, ())
            if len(view) > first.batch and view[first.batch] == first.rows:
                own = tuple(n for axis, n in enumerate(view) if axis != first.batch)
                self.known[name] = Value(name, own, first.batch, first.rows)


def _used(calls: Sequence[Call], outputs: Sequence[str]) -> tuple[Call, ...]:
    """The calls that outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for call in reversed(calls):
        if call.output in wanted:
            kept.append(call)
            wanted |= set(call.inputs)
    return tuple(kept[::-1])


def _short(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, of each kind no more than three and how many more there are."""
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.what, problem.advice), []).append(problem)
    kept = []
    for (what, advice), same in kinds.items():
        kept += same[:3]
        if len(same) > 3:
            kept.append(Problem(what, f"and at {len(same) - 3} other places", advice))
    return kept
