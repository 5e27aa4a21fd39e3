/* The serial line of an ATmega: 115 200 baud, 8N1. */
#include <avr/io.h>

static void serial_start(void)
{
    UBRR0 = 16;                        /* 16 MHz / (8 * 17) = 117 647 baud, 2.1 % fast: the usual setting */
    UCSR0A = _BV(U2X0);
    UCSR0B = _BV(RXEN0) | _BV(TXEN0);
}

static __attribute__((unused)) uint8_t serial_get(void)
{
    while (!(UCSR0A & _BV(RXC0))) {}
    return UDR0;
}

/* A byte that was lost, or came damaged, must not make one number into another: it becomes a byte that is in no number. */
static __attribute__((unused)) uint8_t serial_get_checked(void)
{
    while (!(UCSR0A & _BV(RXC0))) {}
    const uint8_t bad = UCSR0A & (_BV(FE0) | _BV(DOR0));
    const uint8_t c = UDR0;
    return bad ? '?' : c;
}

enum { SERIAL_SILENT = -1, SERIAL_DAMAGED = -2 };

/* A byte that comes within so many times 2 ms. */
static __attribute__((unused, noinline)) int16_t serial_get_within(uint8_t ticks)
{
    do
        for (uint16_t turns = F_CPU / 500 / 8; turns; --turns)   /* a turn takes 8 cycles */
            if (UCSR0A & _BV(RXC0)) {
                const uint8_t bad = UCSR0A & (_BV(FE0) | _BV(DOR0));
                const uint8_t c = UDR0;
                if (bad) return SERIAL_DAMAGED;
                return c;
            }
    while (--ticks);
    return SERIAL_SILENT;
}

static void serial_put(uint8_t c)
{
    while (!(UCSR0A & _BV(UDRE0))) {}
    UDR0 = c;
}
