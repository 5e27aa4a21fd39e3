"""What the integers of a sensor model mean, in the units of the table it was trained on; legend: N examples, I inputs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from levsha.data.tables import Table


@dataclass(frozen=True)
class Units:
    """What the integers mean: input i = zero[i] + step[i] * reading[i]; target = result_zero + result_step * result; readings lie in lo..hi."""

    zero: list[float]
    step: list[float]
    lo: int
    hi: int
    result_step: float
    result_zero: float = 0.0

    def readings(self, x_NI: np.ndarray) -> np.ndarray:
        """Return inputs in their units as readings, clipped to what the net takes."""
        return np.rint((x_NI - np.array(self.zero)) / np.array(self.step)).clip(self.lo, self.hi).astype(np.int64)

    def real(self, result_NO: np.ndarray) -> np.ndarray:
        """Return results in the target's unit."""
        return self.result_zero + self.result_step * result_NO

    def about(self) -> dict[str, Any]:
        """Return the fields, for a file."""
        return asdict(self)

    def describe(self, table: Table) -> str:
        """Return what each reading and the result mean, in words, a line each."""
        lines = [f"{table.about}", f"Readings, integers {self.lo} to {self.hi}:"]
        for k, (name, unit) in enumerate(zip(table.features, table.units, strict=True)):
            zero = f" after {self.zero[k]:g} is taken away" if self.zero[k] else ""
            lines.append(f"  {k + 1}. {name} in units of {self.step[k]:g}{f' {unit}' if unit else ''}{zero}")
        if table.is_classes:
            return "\n".join(
                [
                    *lines,
                    f"Result: the number of the class: {', '.join(f'{k} {name}' for k, name in enumerate(table.outputs))}",
                ]
            )
        unit = f" {table.output_unit}" if table.output_unit else ""
        added = f", to which {self.result_zero:g} is added" if self.result_zero else ""
        return "\n".join([*lines, f"Result: {', '.join(table.outputs)} in units of {self.result_step:g}{unit}{added}"])
