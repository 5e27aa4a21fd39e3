"""Which C computes an op: the target's kernels are asked whether they apply and what they cost; the cheapest is taken.

As FFTW chooses (Frigo and Johnson 2005): solvers, a planner that estimates, and wisdom, which is targets/ledger.json.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from levsha.emit.fuse import Group
from levsha.ir import Code, Op, Value
from levsha.ops.fused_code import Call, fused_code, sums_are_pooled
from levsha.ops.window import WindowCode, Windowed

NONZERO = (
    0.44  # share of activations that are not zero, where nothing better is known: what the chat's hidden layers have
)


BYTE = 160  # cycles that a byte of program memory is worth: a hundredth of a millisecond at 16 MHz


class Cost(NamedTuple):
    """An estimate: cycles of one run, and bytes of program memory beside the weights."""

    cycles: float
    flash_bytes: int


class Kernel(ABC):
    """One way to compute an op on a target; concrete kernels are final, one a file."""

    name: ClassVar[str]
    op: ClassVar[type[Op]]

    @abstractmethod
    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        """Say whether the kernel computes this op exactly."""

    @abstractmethod
    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        """Return what it would cost; pooled: only the largest of several windows' sums are wanted."""

    @abstractmethod
    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        """Return what the portable C of the same op costs on this target."""

    @abstractmethod
    def code(self, op: Op, out: Value, *x: Value) -> Code:
        """Return its C."""

    def group(self, group: Group, values: Mapping[str, Value]) -> Code | None:
        """Return the C of an op and those that are computed with it; None where the kernel leaves them to others."""
        return None

    def window(self, op: Op, out: Value, *x: Value) -> WindowCode | None:
        """Return the C of one window of a Conv; None where the kernel computes whole ops alone."""
        return None


def choose(
    op: Op, values: Mapping[str, Value], kernels: Sequence[Kernel], pooled: bool = False, runs: int = 1
) -> Kernel | None:
    """Return the kernel with the least cost; None where the portable C is as good as any.

    pooled: only the largest of several windows' sums are wanted. runs: how often the op is computed in one run of the net. A byte of
    program memory counts as `BYTE` cycles, so that code which runs once stays small.
    """
    out, x = values[op.name], [values[name] for name in op.inputs]
    taking = [k for k in kernels if isinstance(op, k.op) and k.takes(op, out, *x)]
    costs = {k: _weighed(k.cost(op, out, *x, pooled=pooled), runs) for k in taking}
    best = min(taking, key=lambda k: costs[k], default=None)
    return best if best and costs[best] < _weighed(best.portable_cost(op, out, *x, pooled=pooled), runs) else None


def _weighed(cost: Cost, runs: int) -> float:
    return runs * cost.cycles + BYTE * cost.flash_bytes


def choose_code(op: Op, values: Mapping[str, Value], kernels: Sequence[Kernel], runs: int = 1) -> Code:
    """Return the C of the kernel that was chosen, else the op's own."""
    out, x = values[op.name], [values[name] for name in op.inputs]
    kernel = choose(op, values, kernels, runs=runs)
    return kernel.code(op, out, *x) if kernel else op.code(out, *x)


def choose_group(
    group: Group, values: Mapping[str, Value], kernels: Sequence[Kernel], call: Call | None = None
) -> Code:
    """Return the C of ops that are computed together: the first of them, which slides a window where there are several, by the kernel that was chosen.

    call: where they are told what to compute; see `fused_code`.
    """
    op = group[0]
    kernel = choose(op, values, kernels, sums_are_pooled(group))
    whole = kernel.group(group, values) if kernel and not call else None
    if whole:
        return whole
    if len(group) == 1 and not call:
        return choose_code(op, values, kernels)
    assert isinstance(op, Windowed)
    out, x = values[op.name], values[op.inputs[0]]
    window = kernel.window(op, out, x) if kernel else None
    pixels = values[group[-1].name].size // values[group[-1].name].shape[-1]
    code_of = partial(choose_code, kernels=kernels, runs=pixels)
    return fused_code(group, window or op.window(out, x), values, code_of, call)
