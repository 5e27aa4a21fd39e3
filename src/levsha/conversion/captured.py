"""A user's model, opened, proved and folded: what every format of its integers starts from.  Legend: N examples, O outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from levsha.applications import Image, Vector
from levsha.capture.call import Program, run_calls
from levsha.capture.fold import INPUT, Folded, fold
from levsha.conversion.inputs import Inputs, inputs_of, tokens_of
from levsha.errors import LevshaError, warn
from levsha.formats import find_format
from levsha.formats.by_layer import formats_of
from levsha.ir import Op
from levsha.lower import Function, Lowered, Options, Pins, lower, run_float
from levsha.lower.weights import matrices_of
from levsha.meaning import Layout, Meaning, Quantity
from levsha.net import Net
from levsha.ops import Argmax
from levsha.ways import REFINE

ELEMENTS = 1 << 24  # of all values of a chunk of rows, at most
MOST_DIFFERENCE = 1e-3  # of the outputs' size, between a model and what was read of it
CALIBRATION_ROWS, FEWEST_ROWS = 2000, 100
CALIBRATED = 1 << 26  # elements of all values of all rows that calibrate, about
CLASS = "class"

Reference = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Opened:
    """A model of any kind. program: what was read of it. reference: what it says to real inputs (N, *shape), each output (N, ...), by
    whatever runs it: torch itself, or ONNX Runtime on the original file. notice: what its owner may not know of it, a sentence."""

    program: Program
    reference: Reference
    title: str
    notice: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its input, without the batch."""
        return next(iter(self.program.inputs.values()))


@dataclass(frozen=True, eq=False)
class Captured:
    """A model ready to be lowered. difference: the largest between the model and what was read of it. inputs: how real inputs become
    integers."""

    opened: Opened
    folded: Folded
    inputs: Inputs
    difference: float
    calibration: Tensor

    @property
    def notices(self) -> tuple[str, ...]:
        """What was left out, and how the input goes in, a sentence each."""
        own = (self.opened.notice,) if self.opened.notice else ()
        return (*own, *self.folded.notes, f"The input goes in as {self.inputs.note}.")

    def float_outputs(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs (N, O) of the float net, with what folding left out left out, one behind the other."""
        tokens = tokens_of(self.folded)
        if tokens and (x.min() < 0 or x.max() >= tokens):
            raise LevshaError(
                f"data: holds numbers {x.min():g}..{x.max():g}; the embedding of {self.opened.title} has rows 0..{tokens - 1}."
            )
        return np.concatenate([out.reshape(len(x), -1) for out in run_rows(self._float, x, self._size)], 1)

    @property
    def threshold(self) -> float:
        """Above which a single output says yes: half of a probability, where a sigmoid at the end was kept; 0 of any other number."""
        ends = {node.output: node.activation for node in self.folded.nodes}
        end = ends.get(next(iter(self.folded.outputs)))
        return 0.5 if isinstance(end, Function) and end.name == "sigmoid" else 0.0

    def calibrated(self, x: np.ndarray) -> Captured:
        """Return it with other rows (N, *shape) to calibrate with, of as many as their values leave room for."""
        return replace(self, inputs=inputs_of(x, self.folded), calibration=as_tensor(x[: rows_of(self.folded, len(x))]))

    def check_classes(self, classes: Sequence[str] | None) -> None:
        """Raise LevshaError unless there is a name for each element of the one output, which is a vector of two or more."""
        if classes is None:
            return
        shapes = list(self.folded.outputs.values())
        size = math.prod(shapes[0])
        if len(shapes) > 1 or size != max(shapes[0], default=1) or size < 2:
            raise LevshaError(
                f"classes: are for a single output of two numbers or more, one a class; {self.opened.title} returns "
                f"{', '.join(str(shape) for shape in shapes)}. Leave classes out, and decide by its outputs."
            )
        if len(classes) != size:
            raise LevshaError(
                f"classes: are {len(classes)} names, {self.opened.title} has {size} outputs; name each of them."
            )

    @property
    def _size(self) -> int:
        return sum(int(np.prod(node.shape)) for node in self.folded.nodes)

    def _float(self, x: np.ndarray) -> list[np.ndarray]:
        traces = run_float(self.folded.nodes, {INPUT: self.folded.laid(as_tensor(x))})
        return [traces[name].h.double().numpy() for name in self.folded.outputs]

    def lower(self, options: Options, classes: Sequence[str] | None = None, pins: Pins | None = None) -> Lowered:
        """Return the integers. pins: what a training knows already. classes: names, where the number of a class is the first output; its name is the number where they are none."""
        self.check_classes(classes)
        then: list[Op] = []
        outputs = tuple(self.folded.outputs)
        if classes is not None or self.folded.argmax:
            outputs = (CLASS, *outputs)
            then += [Argmax(name=CLASS, inputs=(outputs[1],))]
        source = {INPUT: self.inputs.source}
        return lower(
            self.folded.nodes, source, {INPUT: self.folded.laid(self.calibration)}, options, pins, then, outputs
        )


def capture_all(
    opened: Opened,
    x: np.ndarray,
    calibration: np.ndarray,
    names: Sequence[str],
    units: Sequence[str],
    keep_sigmoid: bool,
    y: np.ndarray | None = None,
) -> Captured:
    """Return an opened model, proved on the rows x and ready to be lowered; LevshaError where x does not fit it, or it was not read right.

    y: right answers, where they are known: a sigmoid at the end stays where they are real numbers, since they are what it makes.
    """
    if x.shape[1:] != opened.shape:
        wider = x.ndim == 2 and len(opened.shape) == 1 and x.shape[1] > opened.shape[0]
        table = "Of a table, --target-column names the answers, --drop leaves columns out." if wider else ""
        raise LevshaError(
            f"data: rows have shape {x.shape[1:]}; {opened.title} takes {opened.shape}. "
            f"{table or 'Reshape the data, axes as in the model.'}"
        )
    if len(np.unique(calibration)) < 2:
        raise LevshaError(
            f"data: every number of the {len(calibration)} rows that calibrate is {calibration.flat[0]:g}; steps are chosen from them: give real rows."
        )
    difference = prove(opened, x)
    if opened.notice:
        warn(opened.notice)
    are_numbers = y is not None and y.dtype.kind == "f"
    folded = fold(opened.program, keep_sigmoid or are_numbers)
    outputs = sum(math.prod(shape) for shape in folded.outputs.values())
    fits = y is not None and y[0].size == outputs
    if are_numbers and fits and any("softmax" in note for note in folded.notes):
        raise LevshaError(
            f"y: holds real numbers, but {opened.title} ends in a softmax, which integers leave out; give the numbers of classes, or no y."
        )
    inputs = inputs_of(calibration, folded, names, units)
    rows = rows_of(folded, len(calibration))
    return Captured(opened, folded, inputs, difference, as_tensor(calibration[:rows]))


def rows_of(folded: Folded, count: int) -> int:
    """Return how many of so many rows calibrate."""
    size = sum(math.prod(node.shape) for node in folded.nodes)
    return min(count, max(FEWEST_ROWS, CALIBRATED // size))


def prove(opened: Opened, x: np.ndarray) -> float:
    """Return the largest difference between a model and what was read of it; LevshaError where that is more than rounding."""
    program = opened.program
    size = sum(int(np.prod(call.shape)) for call in program.calls)

    def read(part: np.ndarray) -> list[np.ndarray]:
        known = run_calls(program, {next(iter(program.inputs)): as_tensor(part)})
        return [known[name].numpy() for name in program.outputs]

    want, got = run_rows(opened.reference, x, size), run_rows(read, x, size)
    with np.errstate(invalid="ignore"):
        differences = [float(np.abs(a.reshape(b.shape) - b).max(initial=0.0)) for a, b in zip(got, want, strict=True)]
    bad = [
        d
        for d, b in zip(differences, want, strict=True)
        if not d <= MOST_DIFFERENCE * max(1.0, float(np.abs(b).max(initial=0.0)))
    ]
    if bad or not all(np.isfinite(b).all() for b in want):
        if not all(np.isfinite(b).all() for b in want):
            raise LevshaError(
                f"{opened.title}: its outputs are not finite on this data; look for NaN in its weights, or for inputs far too large."
            )
        raise LevshaError(
            f"{opened.title}: was not read right: its outputs differ by {max(bad):.3g}. This is a fault of Levsha; please report it."
        )
    if len(x) > 1 and all((out == out[:1]).all() for out in want):
        raise LevshaError(
            f"{opened.title}: says the same to all of {len(x)} rows; there is nothing to convert. Give trained weights, and rows as it was trained on."
        )
    return max(differences)


def run_rows(function: Reference, x: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the outputs of all rows, computed in chunks; size: elements of all values of one row."""
    rows = max(1, ELEMENTS // max(1, size))
    parts = [function(x[start : start + rows]) for start in range(0, len(x), rows)]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def as_tensor(x: np.ndarray) -> Tensor:
    """Return inputs as a model takes them: float32."""
    return torch.from_numpy(np.ascontiguousarray(x, np.float32))


def net_of(captured: Captured, lowered: Lowered, classes: Sequence[str] | None = None) -> Net:
    """Return the net with what its integers mean."""
    layouts, quantities = {INPUT: captured.inputs.layout}, {INPUT: captured.inputs.quantities}
    for name, shape in captured.folded.outputs.items():
        known = lowered.known[name]
        step, zero = np.ravel(known.step), np.ravel(known.zero)
        count = max(len(step), len(zero))
        both = zip(np.broadcast_to(step, count).tolist(), np.broadcast_to(zero, count).tolist(), strict=True)
        quantities[name] = tuple(
            Quantity(name if count == 1 else f"{name} {k}", "", s, z) for k, (s, z) in enumerate(both)
        )
        layouts[name] = Layout(shape, tuple(range(len(shape))))
    if captured.folded.argmax:  # the model returns the number of a class, and nothing else
        layouts = {INPUT: layouts[INPUT], CLASS: Layout((), ())}
    meant = {CLASS: tuple(classes)} if classes else {}
    notes = {name: _order(layout) for name, layout in layouts.items() if len(layout.shape) > 1}
    meaning = Meaning(f"{captured.opened.title}, as integers.", quantities, meant, notes, layouts)
    talks = Image if Image.fits(lowered.graph, meaning) else Vector
    return Net(lowered.graph, meaning, talks(meaning), captured.opened.title)


def _order(layout: Layout) -> str:
    """How a value with several axes lies in memory."""
    axes = ", ".join(str(size) for size in layout.shape)
    order = ", ".join(str(layout.shape[axis]) for axis in layout.order)
    same = layout.order == tuple(range(len(layout.order)))
    return (
        f"axes ({axes}) as in the model, the last fastest"
        if same
        else f"axes ({axes}) in the model; here ({order}), the last fastest"
    )


def options_of(
    captured: Captured, weights: str, layers: Mapping[str, str], observer: str = "measured", refine: Sequence[str] = REFINE
) -> Options:  # fmt: skip
    """Return what a model is lowered with: the format of all weights, and those of single layers by pattern, by name. observer, refine: as Options has them."""
    names = [node.name for node in captured.folded.nodes if matrices_of(node)]
    own = formats_of(names, {pattern: find_format(name) for pattern, name in layers.items()})
    return Options(find_format(weights), own, measured=True, observer=observer, refine=tuple(refine))
