"""The assembly of window24: loops over windows, blocks of 8 outputs, rows of a window and elements of a row, from the outside in."""

from __future__ import annotations

from levsha.ir import Value
from levsha.targets.avr import dense24, dense24_text
from levsha.targets.avr.dense24_text import BLOCK

FIELDS = {  # of the state, and their bytes: what the caller sets, and what the assembly keeps there
    "w": 2, "x": 2, "y": 2, "gap": 2, "across": 2, "down": 2, "skip": 2, "block": 2, "rows": 1, "run": 1, "columns": 1, "lines": 1,
    "blocks": 1, "at": 2, "w_now": 2, "y_now": 2, "total": 3, "rows_left": 1, "columns_left": 1, "lines_left": 1, "blocks_left": 1,
}  # fmt: skip
AT = {name: sum(list(FIELDS.values())[:k]) for k, name in enumerate(FIELDS)}

_FUNCTION = """/* The larger of y and the sums of weight * x of a window, and of all windows of {{lines}} x {{columns}}: sums of {size} bytes, 8 outputs at a time.
   X: the image; Z: weights, then y; r16: an element, r17: their counter; r2..r15, r28, r29: the low bytes of the sums; r18..r25: the third. */
typedef struct {{
    const uint8_t *w, *x; {y} *y; uint16_t gap, across, down, skip, block; uint8_t rows, run, columns, lines, blocks;
    const uint8_t *at, *w_now; {y} *y_now; uint8_t total[3], rows_left, columns_left, lines_left, blocks_left;
}} {name}_state;
static void __attribute__((noinline, noclone)) {name}({name}_state *s)
{{
    __asm__ volatile(
{asm}
        : "+x"(s) :
        : "memory", "r0", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r30", "r31");
}}
"""


def c_function(name: str, out: Value, padded: bool) -> str:
    """Return the text of `static void NAME(state)`, and of the state's type; padded: windows may lack rows and columns."""
    size = dense24.sum_bytes(out)
    steps = (*_windows(), *_total(), *_block(size), *_rows(size, padded), *_results(size, padded), *_advance())
    text = "\n".join('        "' + step.replace("; ", r"\n ") + r'\n"' for step in steps)
    return _FUNCTION.format(name=name, size=size, y=out.c_place, asm=text).replace("{{lines}} x {{columns}}", "a pool")


def _load(register: int, field: str) -> str:
    return "; ".join(f"ldd r{register + i},Y+{AT[field] + i}" for i in range(FIELDS[field]))


def _store(register: int, field: str) -> str:
    return "; ".join(f"std Y+{AT[field] + i},r{register + i}" for i in range(FIELDS[field]))


def _windows() -> list[str]:
    """Label 10: a line of windows; 11: a window, at X."""
    return [
        f"push r28; push r29; movw r28,r26; {_load(26, 'x')}",
        f"{_load(17, 'lines')}; {_store(17, 'lines_left')}",
        f"10: {_load(17, 'columns')}; {_store(17, 'columns_left')}",
        f"11: {_store(26, 'at')}",
    ]


def _total() -> list[str]:
    """Put 128 times the sum of the window's elements into state.total; T: whether all are zero."""
    return [
        f"clr r18; clr r20; clr r21; {_load(16, 'rows')}; {_load(22, 'gap')}; {_load(19, 'run')}",
        "1: mov r17,r19",
        "2: ld r0,X+; add r20,r0; adc r21,r18; dec r17; brne 2b; add r26,r22; adc r27,r23; dec r16; brne 1b",
        "clt; mov r0,r20; or r0,r21; brne 1f; set",
        f"1: clr r19; lsr r21; ror r20; ror r19; {_store(19, 'total')}",
        f"{_load(30, 'w')}; {_load(26, 'y')}; {_store(26, 'y_now')}; {_load(17, 'blocks')}; {_store(17, 'blocks_left')}",
    ]


def _block(size: int) -> list[str]:
    """Label 12: a block of outputs, every sum the total; the state's place is on the stack meanwhile."""
    wide = size == dense24_text.WIDE
    high = (
        [
            f"ldd r{dense24_text.HIGH[0]},Y+{AT['total'] + 2}",
            *(f"mov r{h},r{dense24_text.HIGH[0]}" for h in dense24_text.HIGH[1:]),
        ]
        if wide
        else []
    )
    return [
        f"12: {_load(26, 'at')}; ldd r2,Y+{AT['total']}; ldd r3,Y+{AT['total'] + 1}; {_load(16, 'rows')}; {_store(16, 'rows_left')}",
        f"{_load(17, 'run')}; {_store(30, 'w_now')}; push r28; push r29",
        "; ".join([*high, *(f"movw r{low},r2" for low in dense24_text.LOW[1:])]),
        "brts 6f; rjmp 4f",
    ]


def _rows(size: int, padded: bool) -> list[str]:
    """Label 4: an element, 6: the end of a row. A zero stays in the lines around label 3."""
    third = size == dense24_text.WIDE
    lines = []
    for low, high in zip(dense24_text.LOW, dense24_text.HIGH, strict=True):
        lines.append(
            f"lpm r0,Z+; mul r16,r0; sub r{low},r0; sbc r{low + 1},r1" + (f"; sbci r{high},0" if third else "")
        )
    skip = f"{_load(16, 'skip')}; add r30,r16; adc r31,r17"
    return [
        "3: adiw r30,8; dec r17; breq 6f",
        "4: ld r16,X+; tst r16; breq 3b",
        *lines,
        "dec r17; brne 4b",
        f"6: movw r0,r28; pop r29; pop r28; brts 7f; {_load(16, 'rows_left')}; dec r16; breq 7f; {_store(16, 'rows_left')}",
        f"{_load(16, 'gap')}; add r26,r16; adc r27,r17" + (f"; {skip}" if padded else ""),
        f"{_load(17, 'run')}; push r28; push r29; movw r28,r0; rjmp 4b",
    ]


def _results(size: int, padded: bool) -> list[str]:
    """Label 7: keep the larger of y and the sums; r1:r0 holds what belongs into r29:r28."""
    wide = size == dense24_text.WIDE
    unit = 4 if wide else 2
    lines = []
    for k, (low, high) in enumerate(zip(dense24_text.LOW, dense24_text.HIGH, strict=True)):
        at = unit * k
        compare = f"ldd r0,Z+{at}; ldd r1,Z+{at + 1}" + (f"; ldd r16,Z+{at + 2}" if wide else "")
        compare += f"; cp r0,r{low}; cpc r1,r{low + 1}" + (f"; cpc r16,r{high}" if wide else "") + "; brge 8f"
        keep = f"std Z+{at},r{low}; std Z+{at + 1},r{low + 1}"
        keep += f"; std Z+{at + 2},r{high}; lsl r{high}; sbc r{high},r{high}; std Z+{at + 3},r{high}" if wide else ""
        lines += [f"{compare}; {keep}", "8:"]
    return [
        f"7: {'' if padded else _store(30, 'w_now') + '; '}{_load(30, 'y_now')}",
        "push r28; push r29; movw r28,r0",
        *lines,
        f"pop r29; pop r28; adiw r30,{unit * BLOCK}; {_store(30, 'y_now')}",
        _load(30, "w_now") + (f"; {_load(16, 'block')}; add r30,r16; adc r31,r17" if padded else ""),
        f"{_load(17, 'blocks_left')}; dec r17; breq 9f; {_store(17, 'blocks_left')}; rjmp 12b",
    ]


def _advance() -> list[str]:
    """Label 9: to the next window, or line of windows, if there is one."""
    return [
        f"9: {_load(26, 'at')}; {_load(16, 'across')}; add r26,r16; adc r27,r17",
        f"{_load(18, 'columns_left')}; dec r18; breq 9f; {_store(18, 'columns_left')}; rjmp 11b",
        f"9: {_load(16, 'down')}; add r26,r16; adc r27,r17",
        f"{_load(18, 'lines_left')}; dec r18; breq 9f; {_store(18, 'lines_left')}; rjmp 10b",
        "9: clr r1; pop r29; pop r28",
    ]
