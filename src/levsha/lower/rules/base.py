"""What a rule reads and makes; legend: O outputs, I inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from levsha.ir import Op
from levsha.lower.calibrate import Scale
from levsha.lower.node import Node
from levsha.lower.options import Options
from levsha.lower.rounding import MOST_ERROR, IntegerLayer
from levsha.lower.weights import Known, Weights


@dataclass(frozen=True, eq=False)
class Context:
    """All that is settled before the first rule is asked: the scale of every value and the integers of every weight; shifts: what makes up
    for the rounding of a layer's weights, (O,) in real units, by the layer's name."""

    options: Options
    scales: Mapping[str, Scale]
    weights: Mapping[str, Weights]
    known: Mapping[str, Known]
    shifts: Mapping[str, np.ndarray] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sums:
    """What a layer requantises: an integer value, and what is to be made of it: z = factor * value + offset, in real units.

    proven: the largest magnitude that the graph proves, for all channels or for each; reach_O: that of each channel, known better.
    most_error: of a rounded multiplier, relatively.
    """

    ops: tuple[Op, ...]
    source: str
    factor_O: np.ndarray
    offset_O: np.ndarray
    proven: int | np.ndarray
    reach_O: np.ndarray
    weights: Weights | None = None
    step_in: float = 1.0
    most_error: float = MOST_ERROR

    @property
    def integers(self) -> np.ndarray | None:
        """The weights' integers, if there are weights."""
        return None if self.weights is None else self.weights.integers_OI


@dataclass(frozen=True, eq=False)
class Layer:
    """A node in integers: its ops, what it requantises, how, and what its output's integers stand for.

    sums, integer: None where nothing is requantised, or by the op itself. scale: None where the integers are those of the input.
    """

    node: Node
    ops: tuple[Op, ...]
    sums: Sums | None
    integer: IntegerLayer | None
    scale: Scale | None

    @property
    def own_integer(self) -> IntegerLayer:
        """What it requantises by; of a layer that does."""
        assert self.integer is not None
        return self.integer

    @property
    def own_scale(self) -> Scale:
        """The scale; of a layer that has one."""
        assert self.scale is not None
        return self.scale

    @property
    def findings(self) -> tuple[str, ...]:
        """What rounding lost, a sentence each, which names the layer."""
        return tuple(f"{self.node.name}: {finding}" for finding in (self.integer.findings if self.integer else ()))


Rule = Callable[[Node, Context], Sums | Layer]
Finish = Callable[[Node, Sums, Scale], Layer]
