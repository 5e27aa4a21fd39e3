/* A converted net on a Cortex-M4: its self-test, then rows of real data, whose outputs are printed, then the instructions of one run.

   rows.h has the integers of the rows: static const uint8_t rows[][DIGITS_INPUT_SIZE]. */
#include "digits.h"
#include "rows.h"

enum { SYSTICK = 0xe000e010, TICK_NS = 40, INSTRUCTION_NS = 64 };   /* 25 MHz; -icount shift=6: an instruction takes 64 ns */
void say(const char *text);

static void say_number(int32_t number, const char *after)
{
    char text[12], *p = text + sizeof text - 1;
    uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    *p = 0;
    do *--p = (char)('0' + rest % 10u); while (rest /= 10u);
    if (number < 0) *--p = '-';
    say(p);
    say(after);
}

int main(void)
{
    static digits_state net;
    volatile uint32_t *const systick = (volatile uint32_t *)SYSTICK;
    const int failed = digits_self_test(&net);
    say_number(failed, failed ? " is the number of the vector that the self-test fails at\n" : " faults in the self-test\n");
    for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; ++n) {
        for (unsigned i = 0; i < DIGITS_INPUT_SIZE; ++i) net.input[i] = rows[n][i];
        digits_run(&net);
        for (unsigned k = 0; k < DIGITS_OUTPUT_SIZE; ++k) say_number(digits_output(&net)[k], k + 1 < DIGITS_OUTPUT_SIZE ? " " : "\n");
    }
    systick[1] = 0xffffff;
    systick[2] = 0;
    systick[0] = 5;   /* on, at the processor's clock, counting down */
    const uint32_t before = systick[2];
    digits_run(&net);
    const uint32_t ticks = (before - systick[2]) & 0xffffff;
    say_number((int32_t)((uint64_t)ticks * TICK_NS / INSTRUCTION_NS), " instructions a run\n");
    return failed;
}
