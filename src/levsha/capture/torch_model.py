"""An nn.Module, or a file that torch.export wrote, as a program."""

from __future__ import annotations

import logging
import operator
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node as FxNode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from levsha.capture.call import Program
from levsha.capture.problems import Problem, refuse
from levsha.capture.reader import BATCH, Name, Node, Reader
from levsha.capture.recurrent import Lasts, lasts_of, take_lasts
from levsha.capture.torch_ops import OPERATIONS
from levsha.errors import LevshaError

LIBRARY = re.compile(r"[/\\](site|dist)-packages[/\\]torch[/\\]")
PATH = re.compile(r"[/\\]")
OTHERS = re.compile(r"[/\\](torch|levsha)[/\\]")
NOTHING = ("_assert_tensor_metadata", "_assert_async", "sym_constrain_range_for_size")


def capture(model: nn.Module, x: Tensor) -> Program:
    """Return what a module computes, in eval mode, as a program.

    x: real inputs (N, ...), of which two are used. LevshaError names everything that has no integer form, or says why the module cannot run.
    """
    about = type(model).__name__
    try:
        with evaluating(model), _quiet():
            exported = torch.export.export(model, (two_rows(x),), strict=False)
    except LevshaError:
        raise
    except GuardOnDataDependentSymNode as error:
        raise LevshaError(
            f"{about}: {own_line(error)}what is computed depends on a number that is taken out of a value, by an if perhaps; use torch.where."
        ) from None
    except Exception as error:  # torch.export raises many kinds, the user's own code any
        raise LevshaError(
            f"{about}: torch.export cannot trace it on rows of shape {tuple(x.shape[1:])}: {own_line(error)}{first_line(error)}"
        ) from None
    return read_exported(exported, about)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a module into eval mode, and each of its parts back into its own."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from printing, logging and warning of what is said in one line here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def two_rows(x: Tensor) -> Tensor:
    """Return the first two rows, the only one twice."""
    return x[:BATCH] if len(x) >= BATCH else x.repeat(BATCH, *[1] * (x.dim() - 1))


def read_exported(exported: ExportedProgram, about: str) -> Program:
    """Return an exported graph, whose batch has two rows, as a program; LevshaError names everything that has no integer form."""
    reader, known = Reader(), _constants(exported)
    inputs: dict[str, tuple[int, ...]] = {}
    outputs: list[Any] = []
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name not in known:
            inputs[node.name] = _shape(node)
            known[node.name] = Name(node.name, inputs[node.name])
        elif node.op == "call_function":
            known[node.name] = _read(node, known, reader)
        elif node.op == "output":
            outputs = [known[n.name] if isinstance(n, FxNode) else n for n in node.args[0]]
    if len(inputs) != 1:
        raise LevshaError(
            f"{about}: has {len(inputs)} inputs ({', '.join(inputs)}); one is needed: join them along an axis."
        )
    if reader.problems:
        refuse(about, list(dict.fromkeys(reader.problems)))
    names = [value.name for value in outputs if isinstance(value, Name)]
    if len(names) != len(outputs) or not names:
        raise LevshaError(f"{about}: returns what does not depend on its input; return computed values only.")
    return Program(inputs, tuple(reader.calls), tuple(names), about)


def _constants(exported: ExportedProgram) -> dict[str, Any]:
    """Every parameter, buffer and constant by the name of its placeholder."""
    signature = exported.graph_signature
    lifted = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    everything: Mapping[str, Any] = {**exported.constants, **exported.state_dict}
    return {name: everything[target].detach() for name, target in lifted.items()}


def _shape(node: FxNode) -> tuple[int, ...]:
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        value = next((part for part in value if isinstance(part, Tensor)), None)
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _read(node: FxNode, known: Mapping[str, Any], reader: Reader) -> Any:
    """The value, the constant, or the several values of a node."""
    target: Any = node.target
    args: Any = torch.fx.map_arg(node.args, lambda n: known[n.name])
    kwargs: Any = torch.fx.map_arg(node.kwargs, lambda n: known[n.name])
    if target is operator.getitem:
        return args[0] if isinstance(args[0], Name) else args[0][args[1]]  # a Name: it has been refused
    name = getattr(target, "_schema", None) and target._schema.name.split("::")[1].rstrip("_")
    if name in NOTHING:
        return None
    if not _has_value((args, kwargs)):
        return target(*args, **kwargs)
    if name not in OPERATIONS:
        reader.problems.append(
            Problem(f"{name or target} is not known", place_of(node), "use other layers, or a function of one value")
        )
        return Name(node.name, _shape(node))
    found = Node(node.name, _shape(node), target, _by_name(target, args, kwargs), place_of(node), reader)
    return take_lasts(found, name) if any(lasts_of(found.given)) else OPERATIONS[name](found)


def _has_value(given: Any) -> bool:
    if isinstance(given, Mapping):
        return any(map(_has_value, given.values()))
    if isinstance(given, list | tuple):
        return any(map(_has_value, given))
    return isinstance(given, Name | Lasts)


def _by_name(target: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of an operation by the names in its schema, defaults included."""
    found: dict[str, Any] = {}
    for k, argument in enumerate(target._schema.arguments):
        found[argument.name] = args[k] if k < len(args) else kwargs.get(argument.name, argument.default_value)
    return found


def place_of(node: FxNode) -> str:
    """Return where a node stands in the user's source: the last frame outside torch, and the path of the module.

    A file of torch.export keeps both.
    """
    frames = re.findall(r'File "([^"]+)", line (\d+), in \S+\n\s*(.*)', node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not LIBRARY.search(frame[0])]
    file, line, text = own[-1] if own else ("", "", "")
    stack = node.meta.get("nn_module_stack") or {}
    path = next((str(entry[0]) for entry in reversed(list(stack.values())) if entry[0]), "")
    where = f"{PATH.split(file)[-1]}, line {line}: {text.strip()}" if file else f"operation {node.name}"
    return f"{where} (in {path})" if path else where


def first_line(error: Exception) -> str:
    """Return what kind an exception is of, and the first line of what it says."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300].rstrip('.')}" if lines else type(error).__name__


def own_line(error: Exception) -> str:
    """Return where in the user's source an exception was raised, the last line outside of torch and Levsha; empty where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not OTHERS.search(frame.filename)]
    return f"{PATH.split(frames[-1].filename)[-1]}, line {frames[-1].lineno}: {frames[-1].line}: " if frames else ""
