"""What the integers of a net mean to a person: names, units, steps, classes, characters.  It travels with the net in every export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from levsha.errors import LevshaError

FARTHEST = 2.0**62  # from 0, of an integer: numpy makes the smallest of what is larger than int64


@dataclass(frozen=True)
class Quantity:
    """One element of a value: real = zero + step * integer, in `unit`."""

    name: str
    unit: str = ""
    step: float = 1.0
    zero: float = 0.0

    def describe(self) -> str:
        """Return it in words.

        >>> Quantity("depth", "m", 0.01, 100.0).describe(), Quantity("door").describe()
        ('depth in units of 0.01 m after 100 is taken away', 'door in units of 1')
        """
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} in units of {self.step:.10g}{unit}" + (
            f" after {self.zero:.10g} is taken away" if self.zero else ""
        )


class Layout(NamedTuple):
    """shape: of a value in the user's model, without the batch. order: these axes as they lie in memory.

    >>> Layout((3, 32, 32), (1, 2, 0)).stored   # channels last
    (32, 32, 3)
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in memory."""
        return tuple(self.shape[axis] for axis in self.order)

    def lay(self, x: np.ndarray) -> np.ndarray:
        """Return values (N, *shape) as they lie in memory."""
        return x.transpose(0, *(axis + 1 for axis in self.order))

    def lift(self, x: np.ndarray) -> np.ndarray:
        """Return values as they lie in memory as (N, *shape)."""
        return x.reshape(len(x), *self.stored).transpose(0, *(axis + 1 for axis in np.argsort(self.order)))


@dataclass(frozen=True)
class Meaning:
    """What a graph's inputs and outputs stand for.

    about: the net in a sentence or two. quantities: of each element of a value, of each channel (the last axis), or one for all, by
    the value's name. classes: names by number, for an output that is the number of a class. notes: of any other value, a sentence on its
    encoding. layouts: of values that have other axes in the model they come from.
    """

    about: str = ""
    quantities: Mapping[str, tuple[Quantity, ...]] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, Layout] = field(default_factory=dict)

    def to_integers(self, name: str, real_NI: np.ndarray) -> np.ndarray:
        """Return real numbers (N, I) of a value as its nearest integers, halves to even; clipped only where int64 ends."""
        real_NI = np.asarray(real_NI, np.float64)
        zero_I, step_I = (_shaped(part, real_NI.shape[1:]) for part in self.zeros_and_steps(name))
        return np.rint((real_NI - zero_I) / step_I).clip(-FARTHEST, FARTHEST).astype(np.int64)

    def to_real(self, name: str, integer_NI: np.ndarray) -> np.ndarray:
        """Return integers (N, I) of a value as real numbers in its units."""
        integer_NI = np.asarray(integer_NI)
        zero_I, step_I = (_shaped(part, integer_NI.shape[1:]) for part in self.zeros_and_steps(name))
        return zero_I + step_I * integer_NI

    def zeros_and_steps(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return zero and step of each element of a value."""
        if name not in self.quantities:
            raise LevshaError(
                f"{name!r}: nothing is known of its units; there are {', '.join(self.quantities) or 'none'}."
            )
        quantities = self.quantities[name]
        return np.array([q.zero for q in quantities]), np.array([q.step for q in quantities])

    def lines(self) -> list[str]:
        """Return it in words, a line each: the net, every quantity, the classes.

        >>> Meaning("A net.", {"x": (Quantity("a", "m", 0.1),)}, {"y": ("no", "yes")}).lines()
        ['A net.', 'x:', '  1. a in units of 0.1 m', 'y: 0 no, 1 yes']
        """
        found = [self.about] if self.about else []
        for name, quantities in self.quantities.items():
            found += [f"{name}:", *(f"  {k}. {quantity.describe()}" for k, quantity in enumerate(quantities, 1))]
        named = (
            f"{name}: {', '.join(f'{k} {text}' for k, text in enumerate(names))}"
            for name, names in self.classes.items()
        )
        return [*found, *named]

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can write; `from_json` takes it back."""
        return asdict(self)  # a Layout is a tuple, and becomes a list

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Meaning:
        """Return what `to_json` wrote.

        >>> m = Meaning("a net", {"x": (Quantity("a", "m", 0.1),)}, {"y": ("no", "yes")})
        >>> Meaning.from_json(m.to_json()) == m
        True
        """
        quantities = {name: tuple(Quantity(**q) for q in qs) for name, qs in found.get("quantities", {}).items()}
        classes = {name: tuple(names) for name, names in found.get("classes", {}).items()}
        layouts = {name: Layout(*map(tuple, layout)) for name, layout in found.get("layouts", {}).items()}
        return cls(found.get("about", ""), quantities, classes, dict(found.get("notes", {})), layouts)


def _shaped(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of each element in the value's shape; one for all, or one a channel, as they are."""
    return numbers.reshape(shape) if numbers.size == np.prod(shape) else numbers
