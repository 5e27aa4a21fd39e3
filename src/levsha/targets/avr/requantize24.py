"""Requantize in AVR assembly: a sum of 24 bits times a multiplier of 16, of which 32 bits are kept, then the upper half alone is shifted.

A table holds, channel after channel, the multiplier and all that is added to its product, bias and rounding: 6 bytes.
"""

from __future__ import annotations

from textwrap import indent

import numpy as np

from levsha.emit.choose import NONZERO, Cost, Kernel
from levsha.ir import C_TYPES, Code, Constant, Op, Value, c_index, c_name
from levsha.ops import Requantize

_LIMIT = 1 << 23
MOST_CHANNELS = 5000  # 6 bytes of each fit one array in program memory
ONE_FOR_ALL = 64  # elements that a single multiplier may be written out for


class Requantize24(Kernel):
    """Sums of 24 bits at most to 8 or 16 bits, shifted by 16 bits or more, by one shift for all channels."""

    name = "requantize24"
    op = Requantize

    def takes(self, op: Op, out: Value, *x: Value) -> bool:
        if not isinstance(op, Requantize) or op.extra_O is not None or op.pre_shift or op.shift < 16:
            return False
        narrow = x[0].c_type in ("int16_t", "int32_t") and x[0].lo >= -_LIMIT and x[0].hi < _LIMIT
        return narrow and out.c_type != "int32_t" and 1 < _channels(op, out) <= MOST_CHANNELS

    def cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        assert isinstance(op, Requantize)
        return Cost(60 + out.size * (76 + 2 * min(op.shift - 16, 9)), 200)

    def portable_cost(self, op: Op, out: Value, *x: Value, nonzero: float = NONZERO, pooled: bool = False) -> Cost:
        return Cost(60 + out.size * 180, 80)

    def code(self, op: Op, out: Value, *x: Value) -> Code:
        assert isinstance(op, Requantize)
        channels, table = _channels(op, out), f"{op.name}_scale"
        m, b = (np.resize(array.astype(np.int64), channels) for array in (op.multiplier_O, op.bias_O))
        added = (b << op.bias_shift) + op.rounding
        data = np.stack([*_bytes(m, 2), *_bytes(added, 4)], 1).ravel()
        ends = f"{op.shift}_{op.lo}_{op.hi}".replace("-", "m")
        kernel = f"requantize24_{x[0].c_type[:-2]}_{out.c_type[:-2]}_{ends}"
        y, source = c_name(op.name), c_name(op.inputs[0])
        call = f"${kernel}({source}, ${table}, {y}, {channels});"
        if channels < out.size:
            index, at = c_index(out.size), f" + i * {channels}"
            call = f"for ({index} i = 0; i < {out.size // channels}; ++i) ${kernel}({source}{at}, ${table}, {y}{at}, {channels});"
        text = _FUNCTION.format(
            name=kernel, shift=op.shift, lo=op.lo, hi=op.hi, x=x[0].c_place, y=out.c_place, asm=_asm(op, out, x[0])
        )
        return Code(call, {table: Constant("uint8_t", data)}, {kernel: text})


def _channels(op: Requantize, out: Value) -> int:
    """How many parameters there are, one after the other; 0 where a single one is for too many elements."""
    longest = max(op.multiplier_O.size, op.bias_O.size)
    return longest if longest > 1 else out.size * (out.size <= ONE_FOR_ALL)


def _bytes(numbers: np.ndarray, count: int) -> list[np.ndarray]:
    return [(numbers >> 8 * k & 255).astype(np.uint8) for k in range(count)]


_FUNCTION = """/* y = clip((x * m + a) >> {shift}, {lo}, {hi}); w: m and a of each channel.
   X: x; Z: w; Y: y; r25, r17, r16: an x; r23, r22: its m; r21..r18: the product; r24: 0. */
static void __attribute__((noinline, noclone)) ${name}(const {x} *x, const uint8_t *w, {y} *y, uint16_t n)
{{
    const {x} *const end = x + n;
    __asm__ volatile(
{asm}
        : "+x"(x), "+z"(w) : [y] "l"(y), [end] "l"(end)
        : "memory", "r0", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25");
}}
"""


def _asm(op: Requantize, out: Value, x: Value) -> str:
    third = "ld r25,X+; adiw r26,1" if x.dtype.itemsize == 4 else "mov r25,r17; lsl r25; sbc r25,r25"
    steps = [
        "push r28; push r29; movw r28,%[y]; clr r24",
        f"1: ld r16,X+; ld r17,X+; {third}; lpm r22,Z+; lpm r23,Z+",
        "mul r16,r22; movw r18,r0; mul r25,r22; movw r20,r0; mul r17,r22; add r19,r0; adc r20,r1; adc r21,r24",
        "sbrc r25,7; sub r21,r22",
        "mulsu r23,r16; sbc r21,r24; add r19,r0; adc r20,r1; adc r21,r24",
        "mulsu r23,r17; add r20,r0; adc r21,r1; mul r25,r23; add r21,r0",
        "; ".join(f"lpm r0,Z+; {'adc' if k else 'add'} r{18 + k},r0" for k in range(4)),
        *_shifted(op.shift - 16),
        *_clipped(op, out),
        "st Y+,r20" + ("; st Y+,r21" if out.dtype.itemsize == 2 else ""),
        "cp r26,%A[end]; cpc r27,%B[end]; breq 9f; rjmp 1b",
        "9: clr r1; pop r29; pop r28",
    ]
    return indent("\n".join('"' + step.replace("; ", r"\n ") + r'\n"' for step in steps), " " * 8)


def _shifted(bits: int) -> list[str]:
    """Shift r21:r20 to the right."""
    if bits >= 8:
        return ["mov r20,r21; lsl r21; sbc r21,r21", *["asr r20"] * min(bits - 8, 7)]
    return ["asr r21; ror r20"] * bits


def _clipped(op: Requantize, out: Value) -> list[str]:
    """Keep r21:r20 within lo..hi."""
    if (op.lo, op.hi) == (0, 255):
        return ["tst r21; breq 5f; ldi r20,255; brpl 5f; clr r20", "5:"]
    steps = []
    least, most, _ = C_TYPES["int16_t"]
    for limit, end, branch in ((op.hi + 1, op.hi, "brlt"), (op.lo, op.lo, "brge")):
        if least < limit <= most:
            high, low = limit >> 8 & 255, limit & 255
            steps.append(
                f"ldi r22,{high}; cpi r20,{low}; cpc r21,r22; {branch} 5f; ldi r20,{end & 255}; ldi r21,{end >> 8 & 255}"
            )
            steps.append("5:")
    return steps
