"""Convolutions and dense layers in vectors, and what follows them, window by window: nothing is gathered, no sum goes through memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import indent

from levsha.emit.fuse import Group
from levsha.ir import Code, Value, c_name
from levsha.ops import Conv, Lookup, MaxPool, Requantize
from levsha.targets.native.dots import CHAINS, Block, Dots, Reads, Sums, blocks_of
from levsha.targets.native.finish import Finish
from levsha.targets.native.padded import padded_copy
from levsha.targets.native.taps import Taps
from levsha.targets.native.vectors import Vectors

TOGETHER = 4  # windows whose sums are made at once: a weight is read once for all of them


@dataclass(frozen=True)
class Windows:
    """A Conv and the ops behind it, as one C function. group: Conv, then Requantize, Lookup and MaxPool, each of which may be missing."""

    group: Group
    values: Mapping[str, Value]
    vectors: Vectors

    @property
    def op(self) -> Conv:
        """The convolution."""
        assert isinstance(self.group[0], Conv)
        return self.group[0]

    @property
    def x(self) -> Value:
        """What it reads."""
        return self.values[self.op.inputs[0]]

    @property
    def pool(self) -> MaxPool | None:
        """The pool at the end, if there is one."""
        return self.group[-1] if isinstance(self.group[-1], MaxPool) else None

    @cached_property
    def row(self) -> int:
        """Elements from one row of the input, with its padding, to the next."""
        return self.op.padded[1] * self.op.shape[2]

    @property
    def wide(self) -> bool:
        """Whether the input is read as int16: where its elements or the weights need more than a byte, but for depthwise weights."""
        broad = (self.op.format.hi > 127 or self.op.format.lo < -128) and not self.op.is_depthwise
        return self.x.dtype.itemsize > 1 or broad

    @cached_property
    def offsets(self) -> list[int]:
        """Of the windows that make one output pixel, from the first one's first element to that of each."""
        rows, columns = self.pool.kernel if self.pool else (1, 1)
        down, right = self.op.strides
        return [r * down * self.row + c * right * self.op.shape[2] for r in range(rows) for c in range(columns)]

    @cached_property
    def sums(self) -> Sums:
        """The sums of the convolution."""
        return self._apart() if self.op.is_depthwise else self._dots()

    def _apart(self) -> Taps:
        op, channels = self.op, self.op.shape[2]
        reads = Reads(((op.kernel[0], op.dilations[0] * self.row), (op.kernel[1], op.dilations[1] * channels)), 1)
        sets = tuple((replace(block, at=block.start),) for block in blocks_of(channels, self.vectors))
        element = {"uint8_t": "u8", "int8_t": "i8", "int16_t": "i16"}[self.x.c_type]
        return Taps(op.name, self.vectors, reads, sets, element)

    def _dots(self) -> Dots:
        op, (outputs, channels) = self.op, self.op.group_shape
        whole_rows = op.dilations[1] == 1 and op.groups == 1
        taps = () if whole_rows else ((op.kernel[1], op.dilations[1] * op.shape[2]),)
        length = op.kernel[1] * channels if whole_rows else channels
        reads = Reads(((op.kernel[0], op.dilations[0] * self.row), *taps), length).joined()
        most = len(self.offsets) if self.pool else op.out_size[1]
        together = min(TOGETHER, most)
        sets: list[tuple[Block, ...]] = []
        at_once = max(1, self.vectors.registers // together)
        for g in range(op.groups):
            blocks = blocks_of(outputs, self.vectors, g * outputs, g * channels)
            sets += [tuple(blocks[k : k + at_once]) for k in range(0, len(blocks), at_once)]
        chains = together * max(len(blocks) for blocks in sets)
        split = 1 if reads.loops or reads.length < 64 else max(1, CHAINS // chains)
        return Dots(op.name, self.vectors, reads, tuple(sets), self.x.c_type == "int8_t", self.wide, split)

    @cached_property
    def finish(self) -> Finish:
        """What follows the sums."""
        scale, table = (next((op for op in self.group if isinstance(op, kind)), None) for kind in (Requantize, Lookup))
        assert scale is None or isinstance(scale, Requantize)
        assert table is None or isinstance(table, Lookup)
        stored = self.values[table.inputs[0] if table else self.group[-1].name]
        return Finish(self.sums, scale, table, stored, self.values[self.group[-1].name])

    def code(self) -> Code:
        """Return the function, its constants and its call."""
        op, out, name = self.op, self.values[self.group[-1].name], self.group[-1].name
        weight_ORE = op.weight_OI.astype(int).reshape(len(op.weight_OI), self.sums.reads.runs, self.sums.reads.length)
        constants = self.sums.constants(weight_ORE) | self.finish.constants(len(op.weight_OI))
        image, lines, more = padded_copy(op, self.x, self.wide)
        body = "\n".join([*lines, self._pooled(image) if self.pool else self._rows(image)])
        function = f"${name}_vectors"
        text = f"""/* {", ".join(op.name for op in self.group)}: computed together, in vectors. */
static __attribute__((noinline)) void {function}(const {self.x.c_place} *restrict x, {out.c_place} *restrict y)
{{
    __asm__("" : "+r"(x));   /* what lies behind the input is read as well, and meets weights of 0 */
{indent(body, "    ")}
}}
"""
        return Code(f"{function}({c_name(op.inputs[0])}, {c_name(name)});", constants | more, {function[1:]: text})

    def _pooled(self, image: str) -> str:
        """One pixel of the output at a time, from all its windows."""
        op, pool = self.op, self.pool
        assert pool
        (rows, columns), (down, right) = pool.out_size, pool.strides
        first = f"{image} + py * {down * op.strides[0] * self.row} + px * {right * op.strides[1] * op.shape[2]}"
        sets = self.sums.each(self._largest)
        body = "\n".join([f"const {self._element} *const v = {first};", sets, f"y += {len(op.weight_OI)};"])
        loop = f"for (int32_t px = 0; px < {columns}; ++px) {{\n{indent(body, '    ')}\n}}"
        return f"for (int32_t py = 0; py < {rows}; ++py)\n{indent(loop, '    ')}"

    @property
    def _element(self) -> str:
        return "int16_t" if self.wide else self.x.c_place

    def _largest(self, index: int) -> str:
        """The largest of all windows' sums, for the outputs of a set: after requantising, where that may turn the order round."""
        blocks, finish = self.sums.sets[index], self.finish
        later = finish.rises
        lines = [f"$v{block.lanes} most{k};" for k, block in enumerate(blocks)]
        for start in range(0, len(self.offsets), TOGETHER):
            part = [f"v + {offset}" for offset in self.offsets[start : start + TOGETHER]]
            inner = [self.sums.sums(index, part)]
            for k, block in enumerate(blocks):
                for window in range(len(part)):
                    inner += [] if later else finish.scaled(f"s{window}_{k}", block)
                    first = start == window == 0
                    taken = f"s{window}_{k}" if first else f"$max_{block.lanes}(most{k}, s{window}_{k})"
                    inner.append(f"most{k} = {taken};")
            lines.append("{\n" + indent("\n".join(inner), "    ") + "\n}")
        for k, block in enumerate(blocks):
            lines += finish.scaled(f"most{k}", block) if later else []
            lines += finish.stored(f"most{k}", block, f"y + {self.sums.output(block)}")
        return "\n".join(lines)

    def _rows(self, image: str) -> str:
        """A few windows of a row at a time, then those that are left."""
        op, outputs = self.op, len(self.op.weight_OI)
        (rows, columns), across = op.out_size, op.strides[1] * op.shape[2]
        whole, rest = columns // TOGETHER, columns % TOGETHER
        lines = [f"const {self._element} *v = {image} + oy * {op.strides[0] * self.row};"]
        if whole:
            body = f"{self._several(TOGETHER, across)}\nv += {TOGETHER * across};\ny += {TOGETHER * outputs};"
            lines.append(f"for (int32_t k = 0; k < {whole}; ++k) {{\n{indent(body, '    ')}\n}}")
        lines += [self._several(rest, across), f"y += {rest * outputs};"] if rest else []
        return f"for (int32_t oy = 0; oy < {rows}; ++oy) {{\n{indent(chr(10).join(lines), '    ')}\n}}"

    def _several(self, count: int, across: int) -> str:
        """The outputs of so many windows from v on."""
        places = [f"v + {k * across}" for k in range(count)]

        def text(index: int) -> str:
            lines = [self.sums.sums(index, places)]
            for window in range(count):
                for k, block in enumerate(self.sums.sets[index]):
                    lines += self.finish.scaled(f"s{window}_{k}", block)
                    place = f"y + {window * len(self.op.weight_OI)} + {self.sums.output(block)}"
                    lines += self.finish.stored(f"s{window}_{k}", block, place)
            return "\n".join(lines)

        return self.sums.each(text)


def takes_group(group: Sequence[object]) -> bool:
    """Say whether ops follow each other as Windows can compute them."""
    kinds = [type(op) for op in group[1:]]
    allowed = [kind for kind in (Requantize, Lookup, MaxPool) if kind in kinds]
    rising = all(op.rises for op in group if isinstance(op, Lookup)) or MaxPool not in kinds
    return kinds == allowed and rising
