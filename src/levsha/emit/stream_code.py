"""The C of groups that are computed row after row: each row is made as soon as the reader of its map needs it, and is dropped after its last use."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from levsha.emit.choose import Kernel, choose_group
from levsha.emit.stream import Stream, Sweep
from levsha.ir import Code, Graph, Value, c_index, c_long, c_name
from levsha.ops.fused_code import Call
from levsha.ops.window import Windowed


def stream_code(stream: Stream, graph: Graph, kernels: Sequence[Kernel]) -> Code:
    """Return the C of a stream; of one group alone what `choose_group` says.

    Rows are pulled: the last group's rows are counted, and before each the rows of its input that are not there yet are made, in the
    same way. A map inside is held as the rows of the padded image that one row of its reader needs, moved to the front as it advances.
    """
    if len(stream) == 1:
        return choose_group(stream[0], graph.values, kernels)
    return _Writer(stream, graph, kernels).code()


class _Writer:
    """sweeps: of the groups, first to last; group k reads row counters named oy{k}, and the next padded row of its input is at{k}."""

    def __init__(self, stream: Stream, graph: Graph, kernels: Sequence[Kernel]) -> None:
        self.values, self.kernels = graph.values, kernels
        self.sweeps = [Sweep.of(group, graph.values) for group in stream]
        self.counter = c_index(max(s.padded for s in self.sweeps))
        self.codes: list[Code] = []

    def code(self) -> Code:
        last, end = len(self.sweeps) - 1, self.sweeps[-1]
        name, t = c_name(end.group[-1].name), self.counter
        made = self._make(last, f"{name} + oy{last} * {end.out_size}", f"oy{last}")
        counters = ", ".join(f"at{k} = 0" for k in range(1, last + 1))
        loop = f"for ({t} oy{last} = 0; oy{last} < {end.rows}; ++oy{last}) {{\n{indent(made, '    ')}\n}}"
        constants = {name: constant for code in self.codes for name, constant in code.constants.items()}
        functions = {name: text for code in self.codes for name, text in code.functions.items()}
        return Code(f"{{\n    {t} {counters};\n{indent(loop, '    ')}\n}}", constants, functions)

    def _make(self, k: int, to: str, row: str) -> str:
        """Statements by which group k puts a row of its output to a place."""
        sweep = self.sweeps[k]
        source = c_name(sweep.group[0].inputs[0])
        if k == 0:
            return self._call(choose_group(sweep.group, self.values, self.kernels, Call(source, to, row)))
        call = self._call(choose_group(*sweep.of_buffer(self.values), self.kernels, Call(source, to)))
        kept, first = sweep.span - sweep.step, f"{row} * {sweep.step}" if sweep.step > 1 else row
        lines = [f"for (; at{k} < {first} + {sweep.span}; ++at{k}) {{", indent(self._fill(k, first), "    "), "}", call]
        if kept > 0:
            unit, size = self._input(k).dtype.itemsize, sweep.row_size
            count = kept * size * unit
            name = f"move{c_long(c_index(count))}"
            lines.append(f"${name}({source}, {source} + {sweep.step * size}, {count});")
            self.codes.append(Code("", functions={name: _MOVE.format(name=name, index=c_index(count))}))
        return "\n".join(lines)

    def _fill(self, k: int, first: str) -> str:
        """Statements that put row at{k} of the padded input of group k into its place among the rows that are held."""
        sweep, value, t = self.sweeps[k], self._input(k), self.counter
        op = sweep.group[0]
        assert isinstance(op, Windowed)
        at, row = f"at{k} - {first}", f"oy{k - 1}"
        if sweep.step > sweep.span:  # rows that nobody reads
            at = f"(at{k} < {first} ? 0 : {at})"
        place = f"{value.c_place} *const row{k} = {c_name(op.inputs[0])} + ({at}) * {sweep.row_size};"
        number = f"const {t} {row} = " + (f"({t})(at{k} - {sweep.top});" if sweep.top else f"at{k};")
        make = self._make(k - 1, f"row{k}", row)
        if sweep.top or sweep.padded > sweep.height:
            filling, constants = op.c_filling(value)
            self.codes.append(Code("", constants))
            each, channels = c_index(sweep.row_size), op.shape[2]
            pixels = f"for ({each} i = 0; i < {sweep.row_size}; i = ({each})(i + {channels}))"
            pad = f"{pixels}\n        for ({each} c = 0; c < {channels}; ++c) row{k}[i + c] = {filling};"
            make = f"if ({row} >= {sweep.height}) {{\n    {pad}\n}} else {{\n{indent(make, '    ')}\n}}"
        return "\n".join([place, number, make])

    def _call(self, code: Code) -> str:
        self.codes.append(code)
        return code.call

    def _input(self, k: int) -> Value:
        return self.values[self.sweeps[k].group[0].inputs[0]]


_MOVE = """/* Moves bytes to a place before them. */
static void ${name}(void *to, const void *from, {index} n)
{{
    uint8_t *y = (uint8_t *)to;
    const uint8_t *x = (const uint8_t *)from;
    while (n--) *y++ = *x++;
}}
"""
