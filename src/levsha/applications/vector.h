/* The conversation of a net with one input: a line of integers in, a line of results out. Lines may be of any length.
   Needs, before it is included: net.h, mark.h with LEVSHA_MARK, serial_get_checked() -> a byte, serial_put(byte). */
enum { VECTOR_EMPTY, VECTOR_RIGHT, VECTOR_WRONG };   /* VECTOR_WRONG + 1 + k: number k lies outside its range */

static const char vector_prompt[] net_FLASH = "> ";
static const char vector_needs[] net_FLASH = VECTOR_NEEDS;
#ifdef VECTOR_LOWS   /* of each channel; the channels of an element follow each other, then those of the next one */
static const int16_t vector_low[] net_FLASH = { VECTOR_LOWS };
static const int16_t vector_high[] net_FLASH = { VECTOR_HIGHS };
static const char vector_names[] net_FLASH = VECTOR_NAMES;
#endif
#ifdef VECTOR_CLASSES
static const char vector_classes[] net_FLASH = VECTOR_CLASSES;
#endif
static uint8_t vector_after_cr;   /* the line before ended in CR: an LF that follows belongs to it */

static uint8_t vector_ends_line(uint8_t c) { return c == '\r' || c == '\n'; }
static uint8_t vector_separates(uint8_t c) { return c == ' ' || c == ',' || c == ';' || c == '\t'; }

static uint8_t vector_takes(say_index_t k, int32_t v)
{
#ifdef VECTOR_LOWS
    k = VECTOR_CHANNEL(k);
    return v >= net_I16(vector_low + k) && v <= net_I16(vector_high + k);
#else
    (void)k;
    return v >= VECTOR_LO && v <= VECTOR_HI;
#endif
}

/* Reads a line into the net's input as it comes; only an integer inside the proven range is ever stored. The first mistake counts. */
static say_index_t vector_read_line(void)
{
    say_index_t n = 0, wrong = 0;
    uint8_t c = serial_get_checked();
    if (c == '\n' && vector_after_cr) c = serial_get_checked();
    for (;;) {
        while (vector_separates(c)) c = serial_get_checked();
        if (vector_ends_line(c)) break;
        const uint8_t minus = c == '-';
        if (minus || c == '+') c = serial_get_checked();
        int32_t v = 0;
        uint8_t digits = 0;
        for (; c >= '0' && c <= '9'; c = serial_get_checked()) {
            if (v < 100000L) v = v * 10 + (c - '0');   /* what is larger is out of any range already */
            digits = 1;
        }
        if (minus) v = -v;
        for (; !vector_separates(c) && !vector_ends_line(c); c = serial_get_checked()) digits = 0;
        if (wrong) continue;
        if (!digits || n == VECTOR_INPUTS) wrong = VECTOR_WRONG;
        else if (!vector_takes(n, v)) wrong = (say_index_t)(VECTOR_WRONG + 1 + n);
        else VECTOR_IN[n++] = (vector_element_t)v;
    }
    vector_after_cr = c == '\r';
    if (wrong) return wrong;
    if (!n) return VECTOR_EMPTY;
    return n == VECTOR_INPUTS ? VECTOR_RIGHT : VECTOR_WRONG;
}

static void vector_answer(void)
{
    LEVSHA_MARK(MARK_STARTS + 0);
    VECTOR_RUN;
    LEVSHA_MARK(MARK_ENDS + 0);
#ifdef VECTOR_CLASSES
    say_text(say_nth(vector_classes, (say_index_t)VECTOR_OUT[0]));
#else
    for (say_index_t i = 0; i < VECTOR_OUTPUTS; ++i) {
        if (i) serial_put(' ');
        say_number(VECTOR_OUT[i]);
    }
#endif
}

/* Says what is wrong with a line: of a number outside its range, which one it is and that range. */
static void vector_refuse(say_index_t wrong)
{
#ifdef VECTOR_LOWS
    if (wrong > VECTOR_WRONG) {
        const say_index_t k = (say_index_t)(wrong - VECTOR_WRONG - 1);
        serial_put('?');
        serial_put(' ');
#ifdef VECTOR_NAMED
        say_text(say_nth(vector_names, k));
#else
        say_text(vector_names);
        say_number((say_number_t)(k + 1));
#endif
        serial_put(':');
        serial_put(' ');
        say_number(net_I16(vector_low + VECTOR_CHANNEL(k)));
        serial_put('.');
        serial_put('.');
        say_number(net_I16(vector_high + VECTOR_CHANNEL(k)));
        return;
    }
#endif
    (void)wrong;
    say_text(vector_needs);
}

static void vector_turn(void)
{
    say_index_t line;
    say_text(vector_prompt);
    do {
        LEVSHA_MARK(MARK_READY);
        line = vector_read_line();
    } while (line == VECTOR_EMPTY);
    if (line == VECTOR_RIGHT) vector_answer();
    else vector_refuse(line);
    serial_put('\r');
    serial_put('\n');
}
