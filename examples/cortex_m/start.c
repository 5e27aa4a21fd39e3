/* The least a Cortex-M needs to run C: a vector table, data copied to RAM, and a word to the debugger (semihosting), which QEMU answers. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;
int main(void);

static int ask(int what, const void *argument)
{
    register int r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void say(const char *text) { ask(0x04, text); }

void reset(void)
{
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
    const uint32_t stopped[2] = {0x20026, (uint32_t)main()};
    ask(0x20, stopped);   /* ends QEMU with main's status */
    for (;;) {}
}

static void fault(void)
{
    const uint32_t stopped[2] = {0x20026, 99};
    say("fault\n");
    ask(0x20, stopped);
    for (;;) {}
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault,
};

/* What gcc may call where no library is linked. */
void *memset(void *to, int byte, size_t count)
{
    for (volatile uint8_t *p = to; count--;) *p++ = (uint8_t)byte;
    return to;
}

void *memcpy(void *to, const void *from, size_t count)
{
    volatile uint8_t *p = to;
    for (const uint8_t *q = from; count--;) *p++ = *q++;
    return to;
}
