/* What every conversation in numbers says: texts that lie in flash, and integers.
   Needs, before it is included: net.h, serial_put(byte), say_index_t, say_number_t, say_whole_t (the same without a sign), SAY_DIGITS. */
static void say_text(const char *text)
{
    for (uint8_t c; (c = (uint8_t)net_U8(text)) != 0; ++text) serial_put(c);
}

/* The text number k of several, each ended by a zero byte. */
static inline const char *say_nth(const char *texts, say_index_t k)
{
    while (k--) while (net_U8(texts++)) {}
    return texts;
}

static inline void say_number(say_number_t number)
{
    uint8_t digits[SAY_DIGITS], n = 0;
    say_whole_t rest = (say_whole_t)number;
    if (number < 0) {
        serial_put('-');
        rest = (say_whole_t)(0u - rest);
    }
    do {
        digits[n++] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    while (n) serial_put(digits[--n]);
}
