/* The chat: a line in, an answer out, one character at a time.
   Needs, before it is included: net.h, mark.h with LEVSHA_MARK, serial_get() -> a byte, serial_put(byte). */
enum { LINE_BYTES = sizeof net_instance.query, CONTEXT_BYTES = sizeof net_instance.context };

static void chat_text(const char *text)
{
    while (*text) serial_put((uint8_t)*text++);
}

/* Reads a line into net_query: backspace works, control characters and spaces in front are ignored. A longer line is cut,
   at the last word boundary in its second half where there is one. Returns its length. */
static uint8_t chat_read_line(void)
{
    uint8_t n = 0, overlong = 0, c;
    for (;;) {
        c = serial_get();
        if (c == '\r' || c == '\n') break;
        if (c == 8 || c == 127) {
            overlong = 0;
            if (n) { --n; chat_text("\b \b"); }
        } else if (c >= ' ' && (n || c != ' ')) {
            if (n < LINE_BYTES) { net_instance.query[n++] = c; serial_put(c); }
            else if (c != ' ') overlong = 1;
        }
    }
    if (overlong)
        for (uint8_t i = LINE_BYTES; i > CHAT_CUT_FROM; --i)
            if (net_instance.query[i - 1] == ' ') { n = (uint8_t)(i - 1); break; }
    if (!overlong) while (n && net_instance.query[n - 1] == ' ') --n;
    for (uint8_t i = n; i < LINE_BYTES; ++i) net_instance.query[i] = 0;
#ifdef CHAT_FOLDS
    chat_fold(net_instance.query, n);
#endif
    chat_text("\r\n");
    return n;
}

static void chat_answer(void)
{
    LEVSHA_MARK(MARK_STARTS + 0);
    net_run_query();
    LEVSHA_MARK(MARK_ENDS + 0);
    for (uint8_t i = 0; i < CONTEXT_BYTES; ++i) net_instance.context[i] = ' ';
    for (uint8_t n = 0; n < CHAT_ANSWER_BYTES; ++n) {
        LEVSHA_MARK(MARK_STARTS + 1);
        net_run_context();
        LEVSHA_MARK(MARK_ENDS + 1);
        const uint8_t c = net_next()[0];
        if (!c) break;
        serial_put(c);
        for (uint8_t i = 1; i < CONTEXT_BYTES; ++i) net_instance.context[i - 1] = net_instance.context[i];
        net_instance.context[CONTEXT_BYTES - 1] = c;
    }
    chat_text("\r\n");
}

static void chat_turn(void)
{
    chat_text("> ");
    LEVSHA_MARK(MARK_READY);
    if (chat_read_line()) chat_answer();
}
