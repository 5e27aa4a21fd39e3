/* The conversation of a sensor model: a line of readings in, a line of results out. Lines may be of any length.
   Needs, before it is included: net.h, mark.h with LEVSHA_MARK, serial_get_checked() -> a byte, serial_put(byte). */
enum { SENSOR_EMPTY, SENSOR_RIGHT, SENSOR_WRONG };   /* SENSOR_WRONG + 1 + k: reading k lies outside its range */

static const char sensor_prompt[] net_FLASH = "> ";
static const char sensor_needs[] net_FLASH = SENSOR_NEEDS;
#ifdef SENSOR_LOWS
static const int16_t sensor_low[] net_FLASH = { SENSOR_LOWS };
static const int16_t sensor_high[] net_FLASH = { SENSOR_HIGHS };
static const char sensor_names[] net_FLASH = SENSOR_NAMES;
#endif
#ifdef SENSOR_CLASSES
static const char sensor_classes[] net_FLASH = SENSOR_CLASSES;
#endif
static uint8_t sensor_after_cr;   /* the line before ended in CR: an LF that follows belongs to it */

static void sensor_text(const char *text)
{
    for (uint8_t c; (c = (uint8_t)net_U8(text)) != 0; ++text) serial_put(c);
}

#if defined(SENSOR_LOWS) || defined(SENSOR_CLASSES)
/* The text number k of several, each ended by a zero byte. */
static const char *sensor_nth(const char *texts, uint16_t k)
{
    while (k--) while (net_U8(texts++)) {}
    return texts;
}
#endif

static inline void sensor_number(int16_t number)
{
    uint8_t digits[5], n = 0;
    uint16_t rest = (uint16_t)number;
    if (number < 0) {
        serial_put('-');
        rest = (uint16_t)(0u - rest);
    }
    do {
        digits[n++] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    while (n) serial_put(digits[--n]);
}

static uint8_t sensor_ends_line(uint8_t c) { return c == '\r' || c == '\n'; }
static uint8_t sensor_separates(uint8_t c) { return c == ' ' || c == ',' || c == ';' || c == '\t'; }

static uint8_t sensor_takes(uint16_t k, int32_t v)
{
#ifdef SENSOR_LOWS
    return v >= net_I16(sensor_low + k) && v <= net_I16(sensor_high + k);
#else
    (void)k;
    return v >= SENSOR_LO && v <= SENSOR_HI;
#endif
}

/* Reads a line into the net's readings as it comes; only an integer inside the proven range is ever stored. The first mistake counts. */
static uint16_t sensor_read_line(void)
{
    uint16_t n = 0, wrong = 0;
    uint8_t c = serial_get_checked();
    if (c == '\n' && sensor_after_cr) c = serial_get_checked();
    for (;;) {
        while (sensor_separates(c)) c = serial_get_checked();
        if (sensor_ends_line(c)) break;
        const uint8_t minus = c == '-';
        if (minus || c == '+') c = serial_get_checked();
        int32_t v = 0;
        uint8_t digits = 0;
        for (; c >= '0' && c <= '9'; c = serial_get_checked()) {
            if (v < 100000L) v = v * 10 + (c - '0');   /* what is larger is out of any range already */
            digits = 1;
        }
        if (minus) v = -v;
        for (; !sensor_separates(c) && !sensor_ends_line(c); c = serial_get_checked()) digits = 0;
        if (wrong) continue;
        if (!digits || n == SENSOR_READINGS) wrong = SENSOR_WRONG;
        else if (!sensor_takes(n, v)) wrong = (uint16_t)(SENSOR_WRONG + 1 + n);
        else net_instance.readings[n++] = (sensor_reading_t)v;
    }
    sensor_after_cr = c == '\r';
    if (wrong) return wrong;
    if (!n) return SENSOR_EMPTY;
    return n == SENSOR_READINGS ? SENSOR_RIGHT : SENSOR_WRONG;
}

static void sensor_answer(void)
{
    LEVSHA_MARK(MARK_STARTS + 0);
    net_run_readings();
    LEVSHA_MARK(MARK_ENDS + 0);
#ifdef SENSOR_CLASSES
    sensor_text(sensor_nth(sensor_classes, (uint16_t)SENSOR_OUT[0]));
#else
    for (uint16_t i = 0; i < SENSOR_OUTPUTS; ++i) {
        if (i) serial_put(' ');
        sensor_number(SENSOR_OUT[i]);
    }
#endif
}

/* Says what is wrong with a line: of a reading outside its range, its name and that range. */
static void sensor_refuse(uint16_t wrong)
{
#ifdef SENSOR_LOWS
    if (wrong > SENSOR_WRONG) {
        const uint16_t k = (uint16_t)(wrong - SENSOR_WRONG - 1);
        serial_put('?');
        serial_put(' ');
        sensor_text(sensor_nth(sensor_names, k));
        serial_put(':');
        serial_put(' ');
        sensor_number(net_I16(sensor_low + k));
        serial_put('.');
        serial_put('.');
        sensor_number(net_I16(sensor_high + k));
        return;
    }
#endif
    (void)wrong;
    sensor_text(sensor_needs);
}

static void sensor_turn(void)
{
    uint16_t line;
    sensor_text(sensor_prompt);
    do {
        LEVSHA_MARK(MARK_READY);
        line = sensor_read_line();
    } while (line == SENSOR_EMPTY);
    if (line == SENSOR_RIGHT) sensor_answer();
    else sensor_refuse(line);
    serial_put('\r');
    serial_put('\n');
}
