/* The serial line of an ATmega328P: 115 200 baud, 8N1, and the hooks of a simulator. */
#include <avr/io.h>

static void uart_start(void)
{
    UBRR0 = 16;                        /* 16 MHz / (8 * 17) = 117 647 baud, 2.1 % fast: the usual setting */
    UCSR0A = _BV(U2X0);
    UCSR0B = _BV(RXEN0) | _BV(TXEN0);
}

static uint8_t chat_get(void)
{
    while (!(UCSR0A & _BV(RXC0))) {}
    return UDR0;
}

static void chat_put(uint8_t c)
{
    while (!(UCSR0A & _BV(UDRE0))) {}
    UDR0 = c;
}
