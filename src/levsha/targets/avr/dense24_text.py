"""The assembly of dense24: blocks of outputs, and a pass over the inputs for each."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 8  # outputs whose sums are in registers at once, at most
BIAS = {"int8": 128, "int4": 8}
SUM_BYTES = {"int16_t": 2, "int32_t": 3}  # by the type of the outputs
WIDE = 3  # bytes of a sum that is no int16_t

# Registers of the inner loop: X inputs, Z weights, r16 the input, r17 a byte of weights, r1:r0 the product
LOW = (2, 4, 6, 8, 10, 12, 14, 28)  # and the next register: the two low bytes of a sum
HIGH = (18, 19, 20, 21, 22, 23, 24, 25)  # its third byte


def c_function(name: str, format_name: str, x_type: str, y_type: str, y_place: str = "", block: int = BLOCK) -> str:
    """Return the text of `static void NAME(w, x, inputs, y, outputs)`: y[o] = sum of weight[o][i] * x[i].

    format_name: int8 or int4. x_type: uint8_t or int8_t. y_type: int32_t (24-bit sums) or int16_t (16-bit sums). y_place: what
    that type is called where y lies, if otherwise.
    The function reads `packed` bytes in program memory; inputs and outputs: 1..65535.
    """
    kernel = Assembly.of(format_name, x_type, y_type, block)
    steps = (*kernel.sum_inputs(), *kernel.start(), *kernel.pass_over_inputs(), *kernel.results())
    text = "\n".join('        "' + step.replace("; ", r"\n ") + r'\n"' for step in steps)
    return _FUNCTION.format(
        name=name,
        x_type=x_type,
        y_type=y_place or y_type,
        sums=block * kernel.bytes,
        block=block,
        bytes=kernel.bytes,
        asm=text,
    )


_FUNCTION = """/* y[o] = sum of weight[o][i] * x[i], sums of {bytes} bytes, {block} outputs at a time; zero inputs are skipped.
   X: inputs; Z: weights; r16: an input; r17: weights; r2..r15, r28, r29: the low bytes of the sums; r18..r25: their third bytes.
   The compiler saves every register but Y, which the assembly saves itself: it may be the frame pointer. */
static void __attribute__((noinline, noclone)) {name}(const uint8_t *w, const {x_type} *x, uint16_t inputs, {y_type} *y, uint16_t outputs)
{{
    struct {{ uint8_t sums[{sums}], total[3]; const {x_type} *x; uint16_t inputs; {y_type} *y; uint16_t outputs; }} state, *s = &state;
    s->x = x; s->inputs = inputs; s->y = y; s->outputs = outputs;
    __asm__ volatile(
{asm}
        : "+z"(w), "+x"(s) :
        : "memory", "r0", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25");
}}
"""


@dataclass(frozen=True)
class Assembly:
    """One variant as assembly; instructions are separated by '; '.

    paired: two digits a byte. signed: the inputs are. bytes: of a sum, 2 or 3. block: outputs, even where digits are paired.
    """

    paired: bool
    signed: bool
    bytes: int
    block: int

    @classmethod
    def of(cls, format_name: str, x_type: str, y_type: str, block: int) -> Assembly:
        return cls(format_name == "int4", x_type == "int8_t", SUM_BYTES.get(y_type, 2), block)

    @property
    def wide(self) -> bool:
        return self.bytes == 3

    @property
    def counter(self) -> str:
        return "r17" if self.wide else "r18"

    @property
    def multiply(self) -> str:
        return "mulsu r16,r17" if self.signed else "mul r16,r17"

    @property
    def apart(self) -> bool:
        """Whether negative inputs have a body of their own."""
        return self.signed and self.wide

    @property
    def nonzero_cycles(self) -> float:
        """Cycles of an input that is not zero; of both signs equally often."""
        products = self.block * (2 + self.bytes + (2 if self.paired else 3))
        spills = self.wide * (4 if self.paired else 2 * self.signed)
        return 7 + products + spills + 2.5 * self.apart

    def at(self, field: str) -> int:
        """Return the place of a field of `state`."""
        return self.block * self.bytes + {"total": 0, "x": 3, "inputs": 5, "y": 7, "outputs": 9}[field]

    def load(self, register: int, field: str, count: int = 2) -> str:
        return "; ".join(f"ldd r{register + i},Y+{self.at(field) + i}" for i in range(count))

    def store(self, register: int, field: str, count: int = 2) -> str:
        return "; ".join(f"std Y+{self.at(field) + i},r{register + i}" for i in range(count))

    def sum_inputs(self) -> list[str]:
        """Put bias * sum of x into state.total, and into the high byte of state.inputs how often their counter runs out."""
        weight = 17 * BIAS["int4"] if self.paired else BIAS["int8"]  # p and q hold one digit once, the other 16-fold
        third = ["sbc r19,r19"] if self.signed else []
        return [
            f"push r28; push r29; movw r28,r26; {self.load(26, 'x')}; {self.load(24, 'inputs')}",
            f"ldi r17,{weight}; clr r18; clr r19; clr r20; clr r21; clr r22",
            "; ".join(["1: ld r16,X+", self.multiply, *third, "add r20,r0; adc r21,r1; adc r22,r19"]),
            "sbiw r24,1; brne 1b",
            self.store(20, "total", 3),
            f"{self.load(24, 'inputs')}; cpse r24,r18; inc r25; {self.store(24, 'inputs')}",
        ]

    def start(self) -> list[str]:
        """Start a block: every sum is the total; the stack keeps the pointer to the state and the passes to go."""
        others = [f"movw r{low},r2" for low in LOW[1 : self.block]]
        if self.wide:
            others += [f"mov r{high},r{HIGH[0]}" for high in HIGH[1 : self.block]]
        place = self.at("inputs")
        return [
            f"2: {self.load(26, 'x')}; ldd {self.counter},Y+{place}; ldd r16,Y+{place + 1}",
            self.load(2, "total") + (f"; ldd r{HIGH[0]},Y+{self.at('total') + 2}" if self.wide else ""),
            "push r28; push r29; push r16",
            "; ".join(others),
        ]

    def pass_over_inputs(self) -> list[str]:
        """The inner loop, 256 inputs a pass at most; a zero input stays in the three lines around label 3."""
        return [
            "rjmp 4f",
            f"3: adiw r30,{self.block // 2 if self.paired else self.block}; dec {self.counter}; breq 6f",
            "4: ld r16,X+; tst r16; breq 3b" + ("; brmi 7f" if self.apart else ""),
            *self.products(negative=False),
            f"5: dec {self.counter}; brne 4b",
            "6: pop r16; dec r16; push r16; brne 4b",
            *(["rjmp 8f", "7:", *self.products(negative=True), "rjmp 5b", "8:"] if self.apart else []),
        ]

    def products(self, negative: bool) -> list[str]:
        """Subtract the products of one input, one output a line; negative: the sign of a body for one sign."""
        one_sign = self.apart or not self.signed
        # a product of unsigned bytes may overwrite the weight in r0, so that the counter keeps r17
        unsigned = one_sign and not negative and not self.paired
        load, multiply = ("lpm r0,Z+", "mul r16,r0") if unsigned else ("lpm r17,Z+", self.multiply)
        lines = []
        for k in range(self.block):
            high = f"; sbci r{HIGH[k]},{255 if negative else 0}" if self.wide else ""
            get = "swap r17" if self.paired and k % 2 else load
            lines.append(f"{get}; {multiply}; sub r{LOW[k]},r0; sbc r{LOW[k] + 1},r1{high}")
        return ["push r17", *lines, "pop r17"] if self.wide and not unsigned else lines

    def results(self) -> list[str]:
        """Take the sums out of the registers, make outputs of them, go on with the next block."""
        size = self.block * self.bytes
        sums = [
            "; ".join(f"st X+,r{r}" for r in (low, low + 1, high)[: self.bytes])
            for low, high in zip(LOW[: self.block], HIGH, strict=False)
        ]
        return [
            "pop r16; pop r27; pop r26",
            *sums,
            f"movw r28,r26; sbiw r28,{size}; {self.load(26, 'y')}; {self.load(24, 'outputs')}",
            *(self.pair_out() if self.paired else self.one_out()),
            f"dec r19; brne 7b; sbiw r28,{size}; {self.store(26, 'y')}; {self.store(24, 'outputs')}; rjmp 2b",
            "8: clr r1; pop r29; pop r28",
        ]

    def one_out(self) -> list[str]:
        return [f"ldi r19,{self.block}", f"7: {self.fetch(20)}", self.write(20)]

    def pair_out(self) -> list[str]:
        """From p and q to y0 and y1."""
        divide = "add r21,r20" + ("; adc r22,r21" if self.wide else "")
        return [
            f"ldi r19,{self.block // 2}; ldi r23,16; clr r2",
            f"7: {self.fetch(20)}; {self.fetch(16)}",
            f"{self.less_16(20, 16)}; {divide}",
            self.less_16(16, 20),
            self.write(20),
            self.write(16),
        ]

    def less_16(self, a: int, b: int) -> str:
        """Subtract 16 b from a; r23 is 16, r2 is 0."""
        if not self.wide:
            return f"mul r{b},r23; sub r{a},r0; sbc r{a + 1},r1; mul r{b + 1},r23; sub r{a + 1},r0"
        return (
            f"mul r{b},r23; sub r{a},r0; sbc r{a + 1},r1; sbc r{a + 2},r2; "
            f"mul r{b + 1},r23; sub r{a + 1},r0; sbc r{a + 2},r1; mul r{b + 2},r23; sub r{a + 2},r0"
        )

    def fetch(self, register: int) -> str:
        """Read a sum back."""
        return "; ".join(f"ld r{register + i},Y+" for i in range(self.bytes))

    def write(self, register: int) -> str:
        """Write one output, and leave after the last."""
        low, top = f"st X+,r{register}; st X+,r{register + 1}", f"r{register + 2}"
        high = f"; st X+,{top}; lsl {top}; sbc {top},{top}; st X+,{top}" if self.wide else ""
        return f"{low}{high}; sbiw r24,1; breq 8f"
