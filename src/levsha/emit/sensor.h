/* The conversation of a sensor model: a line of readings in, a line of outputs out. Lines may be of any length.
   Needs, before it is included: net.h, sensor_get() -> a byte, sensor_put(byte); LEVSHA_MARK where a simulator listens. */
#ifndef LEVSHA_MARK
#define LEVSHA_MARK(v) ((void)0)
#endif
enum { SENSOR_READINGS = sizeof net_readings / sizeof net_readings[0] };
enum { SENSOR_EMPTY, SENSOR_WRONG, SENSOR_RIGHT };

static const char sensor_prompt[] LEVSHA_FLASH = "> ";
static const char sensor_needs[] LEVSHA_FLASH = SENSOR_NEEDS "\r\n";
static uint8_t sensor_after_cr;   /* the line before ended in CR: an LF that follows belongs to it */

static void sensor_text(const char *text)
{
    for (uint8_t c; (c = (uint8_t)LEVSHA_U8(text)) != 0; ++text) sensor_put(c);
}

static void sensor_number(int16_t number)
{
    uint8_t digits[5], n = 0;
    uint16_t rest = (uint16_t)number;
    if (number < 0) {
        sensor_put('-');
        rest = (uint16_t)(0u - rest);
    }
    do {
        digits[n++] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    while (n) sensor_put(digits[--n]);
}

static uint8_t sensor_ends_line(uint8_t c) { return c == '\r' || c == '\n'; }
static uint8_t sensor_separates(uint8_t c) { return c == ' ' || c == ',' || c == ';' || c == '\t'; }

/* Reads a line into net_readings as it comes; only an integer inside the proven range is ever stored. */
static uint8_t sensor_read_line(void)
{
    uint16_t n = 0;
    uint8_t wrong = 0, c = sensor_get();
    if (c == '\n' && sensor_after_cr) c = sensor_get();
    for (;;) {
        while (sensor_separates(c)) c = sensor_get();
        if (sensor_ends_line(c)) break;
        const uint8_t minus = c == '-';
        if (minus || c == '+') c = sensor_get();
        int32_t v = 0;
        uint8_t digits = 0;
        for (; c >= '0' && c <= '9'; c = sensor_get()) {
            if (v < 100000L) v = v * 10 + (c - '0');   /* what is larger is out of any range already */
            digits = 1;
        }
        if (minus) v = -v;
        if (!digits || n == SENSOR_READINGS || v < SENSOR_LO || v > SENSOR_HI) wrong = 1;
        else net_readings[n++] = (sensor_reading_t)v;
        for (; !sensor_separates(c) && !sensor_ends_line(c); c = sensor_get()) wrong = 1;
    }
    sensor_after_cr = c == '\r';
    if (!n && !wrong) return SENSOR_EMPTY;
    return wrong || n != SENSOR_READINGS ? SENSOR_WRONG : SENSOR_RIGHT;
}

static void sensor_answer(void)
{
    LEVSHA_MARK(0x10);
    net_run_readings();
    LEVSHA_MARK(0x20);
    for (uint16_t i = 0; i < SENSOR_OUTPUTS; ++i) {
        if (i) sensor_put(' ');
        sensor_number(SENSOR_OUT[i]);
    }
    sensor_put('\r');
    sensor_put('\n');
}

static void sensor_turn(void)
{
    uint8_t line;
    sensor_text(sensor_prompt);
    do {
        LEVSHA_MARK(0x01);
        line = sensor_read_line();
    } while (line == SENSOR_EMPTY);
    if (line == SENSOR_RIGHT) sensor_answer();
    else sensor_text(sensor_needs);
}
