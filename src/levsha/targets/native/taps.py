"""Sums of a depthwise convolution: a lane for each channel, tap after tap.

Legend: O outputs, which are the channels, R runs, here the taps, E elements of a run, here one for each channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from levsha.ir import Constant
from levsha.targets.native.dots import MOST_UNROLLED, Sums, loop


@dataclass(frozen=True)
class Taps(Sums):
    """Sums of products with one weight an element. element: what is read, u8, i8 or i16."""

    element: str

    def constants(self, weight_ORE: np.ndarray) -> dict[str, Constant]:
        laid = [self.spread(weight_O) for weight_O in weight_ORE[:, :, 0].T]
        return {f"{self.name}_weight": Constant("int32_t", np.concatenate(laid))}

    def sums(self, index: int, windows: Sequence[str]) -> str:
        (block,), loops = self.sets[index], self.reads.loops
        lanes, each = block.lanes, sum(other.lanes for blocks in self.sets for other in blocks)
        lines = [f"const $v{lanes} weight = $load_{lanes}(w);", f"w += {each};"]
        at = f"{block.at} + set * {self._steps(index)[1]}" + "".join(
            f" + r{k} * {stride}" for k, (_, stride) in enumerate(loops)
        )
        lines += [
            f"s{n}_0 += $widen_{self.element}_{lanes}({place} + {at}) * weight;" for n, place in enumerate(windows)
        ]
        text, unroll = "\n".join(lines), self.reads.runs * len(windows) <= MOST_UNROLLED
        for k, (count, _) in reversed(list(enumerate(loops))):
            text = loop(f"r{k}", count, text, unroll)
        starts = [f"$v{lanes} s{n}_0 = $fill_{lanes}(0);" for n in range(len(windows))]
        return "\n".join([f"const int32_t *w = ${self.name}_weight + {self.place(block)};", *starts, text])
