"""Which C computes an op: the target's kernels are asked whether they apply and what they cost; the cheapest is taken.

As FFTW chooses (Frigo and Johnson 2005): solvers, a planner that estimates, and wisdom, which is targets/ledger.json.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from levsha.emit.fuse import Group
from levsha.ir import Code, Op, Value
from levsha.ops.fused_code import Call, fused_code
from levsha.ops.window import WindowCode, Windowed

NONZERO = (
    0.44  # share of activations that are not zero, where nothing better is known: what the chat's hidden layers have
)


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
    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO) -> Cost:
        """Return what it would cost."""

    @abstractmethod
    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO) -> Cost:
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


def choose(op: Op, values: Mapping[str, Value], kernels: Sequence[Kernel]) -> Kernel | None:
    """Return the kernel with the fewest estimated cycles; None where the portable C is as good as any."""
    out, x = values[op.name], [values[name] for name in op.inputs]
    taking = [k for k in kernels if isinstance(op, k.op) and k.takes(op, out, *x)]
    best = min(taking, key=lambda k: k.cost(op, out, *x).cycles, default=None)
    return best if best and best.cost(op, out, *x).cycles < best.portable_cost(op, out, *x).cycles else None


def choose_code(op: Op, values: Mapping[str, Value], kernels: Sequence[Kernel]) -> Code:
    """Return the C of the kernel that was chosen, else the op's own."""
    out, x = values[op.name], [values[name] for name in op.inputs]
    kernel = choose(op, values, kernels)
    return kernel.code(op, out, *x) if kernel else op.code(out, *x)


def choose_group(
    group: Group, values: Mapping[str, Value], kernels: Sequence[Kernel], call: Call | None = None
) -> Code:
    """Return the C of ops that are computed together: the first of them, which slides a window where there are several, by the kernel that was chosen.

    call: where they are told what to compute; see `fused_code`.
    """
    op = group[0]
    kernel = choose(op, values, kernels)
    whole = kernel.group(group, values) if kernel and not call else None
    if whole:
        return whole
    if len(group) == 1 and not call:
        return choose_code(op, values, kernels)
    assert isinstance(op, Windowed)
    out, x = values[op.name], values[op.inputs[0]]
    window = kernel.window(op, out, x) if kernel else None
    return fused_code(group, window or op.window(out, x), values, call)
