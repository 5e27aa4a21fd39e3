"""What is done to sums before they are stored: the largest of a pool's windows, requantising, the store itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from levsha.arith import half
from levsha.ir import C_TYPES, Constant, Value
from levsha.ops import Lookup, Requantize
from levsha.targets.native.dots import Block, Sums

STORES = {"uint8_t": 1, "int8_t": 1, "int16_t": 2, "int32_t": 4}


@dataclass(frozen=True)
class Finish:
    """From sums to the output. op, table: what requantises them, and what is looked up then, if anything. value: before, out: after the table."""

    sums: Sums
    op: Requantize | None
    table: Lookup | None
    value: Value
    out: Value

    @property
    def rises(self) -> bool:
        """Whether no output falls as its sum rises."""
        return self.op is None or self.op.rises

    def constants(self, outputs: int) -> dict[str, Constant]:
        """Return multipliers, what is added, and shifts, where they differ between outputs."""
        table = self.table.code(self.out, self.value).constants if self.table else {}
        if self.op is None:
            return table
        numbers = {"multiplier": self._multiplier, "added": self._added, "shift": self._shift}
        return table | {
            f"{self.sums.name}_{label}": Constant("int32_t", self.sums.spread(np.resize(number, outputs)))
            for label, number in numbers.items()
            if number.size > 1
        }

    @property
    def _multiplier(self) -> np.ndarray:
        assert self.op
        return self.op.multiplier_O.astype(np.int64)

    @property
    def _widths(self) -> np.ndarray:
        assert self.op
        return np.zeros(1, np.int64) if self.op.extra_O is None else self.op.extra_O.astype(np.int64)

    @property
    def _added(self) -> np.ndarray:
        assert self.op
        return ((self.op.bias_O.astype(np.int64) << self.op.bias_shift) + self.op.rounding) << self._widths

    @property
    def _shift(self) -> np.ndarray:
        assert self.op
        return self.op.shift + self._widths

    def scaled(self, name: str, block: Block) -> list[str]:
        """Return the C that requantises a vector of sums in its place."""
        if self.op is None:
            return []
        lanes, lines = block.lanes, []
        if self.op.pre_shift:
            lines.append(f"{name} = ({name} + {half(self.op.pre_shift)}) >> {self.op.pre_shift};")
        m, added, shift = (self._read(label, number, block) for label, number in
                           (("multiplier", self._multiplier), ("added", self._added), ("shift", self._shift)))  # fmt: skip
        lines += [f"{name} = {name} * {m} + {added};", f"{name} = {name} >> {shift};"]
        lo, hi, _ = C_TYPES["int32_t"]
        lines += [f"{name} = $max_{lanes}({name}, $fill_{lanes}({self.op.lo}));"] if self.op.lo > lo else []
        lines += [f"{name} = $min_{lanes}({name}, $fill_{lanes}({self.op.hi}));"] if self.op.hi < hi else []
        return lines

    def _read(self, label: str, number: np.ndarray, block: Block) -> str:
        if number.size == 1:
            return f"({int(number[0])})"
        return f"$load_{block.lanes}(${self.sums.name}_{label} + {self.sums.place(block)})"

    def stored(self, name: str, block: Block, place: str) -> list[str]:
        """Return the C that puts a vector's outputs, and nothing else, at a place."""
        kind = self.value.c_type
        store = f"$store_{STORES[kind]}_{block.lanes}"
        if block.count == block.lanes and not self.table:
            return [f"{store}((void *)({place}), {name});"]
        move = f"memcpy((void *)({place}), some, {block.count} * sizeof *some);"
        if self.table:
            move = f"for (int32_t c = 0; c < {block.count}; ++c) ({place})[c] = ${self.table.name}_table[some[c]];"
        return [f"{{\n    {kind} some[{block.lanes}];\n    {store}(some, {name});\n    {move}\n}}"]
