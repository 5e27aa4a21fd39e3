/* Pictures in, classes out: a PGM (of a colour net a PPM), binary or text, or the numbers of its pixels in a line. Each number goes
   into the net's input as it comes. A message ends where nothing comes for a quarter of a second; of a mistake, what comes until then is thrown away.
   Needs, before it is included: net.h, mark.h with LEVSHA_MARK, say.h, serial_get_checked() -> a byte, serial_get_within(ticks of 2 ms). */
enum { IMAGE_PAUSE = 125, IMAGE_GAP = 2, IMAGE_NO_NUMBER = -1 };
enum { IMAGE_WIDTH, IMAGE_HEIGHT, IMAGE_MAXVAL, IMAGE_PIXEL, IMAGE_COUNT, IMAGE_KIND, IMAGE_GARBAGE, IMAGE_RIGHT };

static const char image_prompt[] net_FLASH = "> ";
static const char image_needs[] net_FLASH = "? needs " IMAGE_NEEDS;
static const char image_kinds[] net_FLASH = IMAGE_KINDS;
static const char image_but[] net_FLASH = ": needs ";
static const char image_labels[] net_FLASH = "width\0height\0maxval\0pixel\0pixels";
static const char image_classes[] net_FLASH = IMAGE_CLASSES;

typedef struct { uint8_t what, top; say_number_t found; } image_line_t;   /* what was read; top: of a pixel */

static uint8_t image_ends_line(int16_t c) { return c == '\r' || c == '\n'; }
static uint8_t image_separates(int16_t c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == ',' || c == ';'; }
static uint8_t image_digit(int16_t c) { return c >= '0' && c <= '9'; }

/* Passes what stands before a number, in a picture line ends and comments too; reads it and the one byte behind it.
   In a line: of numbers alone, which its end ends. What is larger than 32 766 is that. */
static int16_t image_number(int16_t *c, uint8_t line)
{
    for (;; *c = serial_get_within(IMAGE_PAUSE)) {
        if (*c == '#') do *c = serial_get_within(IMAGE_PAUSE); while (*c >= 0 && !image_ends_line(*c));
        if (!image_separates(*c) || (line && image_ends_line(*c))) break;
    }
    if (!image_digit(*c)) return IMAGE_NO_NUMBER;
    int16_t v = 0;
    do v = v < 3276 ? (int16_t)(v * 10 + (*c - '0')) : 32766;
    while (image_digit(*c = serial_get_within(IMAGE_PAUSE)));
    return image_separates(*c) || *c == SERIAL_SILENT || *c == '#' ? v : IMAGE_NO_NUMBER;
}

/* Reads width, height and largest number of a picture; *c becomes the byte behind them. */
static void image_read_head(image_line_t *read, int16_t *c)
{
    for (read->what = IMAGE_WIDTH; read->what <= IMAGE_MAXVAL; ++read->what) {
        const int16_t v = image_number(c, 0);
        read->found = v;
        if (v < 0) { read->what = IMAGE_GARBAGE; return; }
        if (read->what == IMAGE_WIDTH ? v != IMAGE_COLUMNS : read->what == IMAGE_HEIGHT ? v != IMAGE_ROWS : v < 1 || v > 255) return;
        read->top = (uint8_t)v;
    }
    read->what = IMAGE_RIGHT;
}

/* Reads a message, whose first byte is c. One line end, CR LF too, parts the head of a binary picture from its pixels. */
static image_line_t image_read(int16_t c)
{
    image_line_t read = { IMAGE_RIGHT, IMAGE_TOP, 0 };
    uint8_t kind = 0;
    if (c == 'P') {
        c = serial_get_within(IMAGE_PAUSE);
        kind = (uint8_t)c;
        read.found = c - '0';
        if (kind != IMAGE_BINARY && kind != IMAGE_TEXT) read.what = image_digit(c) ? IMAGE_KIND : IMAGE_GARBAGE;
        else {
            c = serial_get_within(IMAGE_PAUSE);
            if (!image_separates(c) && c != '#') read.what = IMAGE_GARBAGE;
            else image_read_head(&read, &c);
        }
        if (kind == IMAGE_BINARY && read.what == IMAGE_RIGHT) {
            if (c == '#') do c = serial_get_within(IMAGE_PAUSE); while (c >= 0 && !image_ends_line(c));
            const uint8_t cr = c == '\r';
            c = serial_get_within(IMAGE_PAUSE);
            if (cr && c == '\n') c = serial_get_within(IMAGE_PAUSE);
        }
    }
    for (say_index_t n = 0; read.what == IMAGE_RIGHT && n < IMAGE_NUMBERS; ++n) {
        const int16_t v = kind == IMAGE_BINARY ? c : image_number(&c, !kind);
        read.found = v;
        if (v > read.top) read.what = IMAGE_PIXEL;
        else if (v >= 0) {
            IMAGE_IN[IMAGE_PLACE(n)] = (image_element_t)((uint16_t)((uint16_t)v * IMAGE_TOP + read.top / 2) / read.top);
            if (kind == IMAGE_BINARY) c = serial_get_within(n + 1 < IMAGE_NUMBERS ? IMAGE_PAUSE : IMAGE_GAP);
        } else {
            read.found = (say_number_t)(n / IMAGE_CHANNELS);
            read.what = kind == IMAGE_BINARY || c < 0 || (!kind && image_ends_line(c)) ? IMAGE_COUNT : IMAGE_GARBAGE;
        }
    }
    if (read.what == IMAGE_RIGHT) {
        while (image_separates(c)) c = serial_get_within(IMAGE_GAP);
        if (c != SERIAL_SILENT) {
            read.found = IMAGE_NUMBERS / IMAGE_CHANNELS + 1;
            read.what = IMAGE_COUNT;
        }
    }
    if (read.what != IMAGE_RIGHT)
        while (c != SERIAL_SILENT) c = serial_get_within(IMAGE_PAUSE);
    return read;
}

/* The class, before it the word unsure where another is less than IMAGE_UNSURE_BELOW behind, and every class's score. */
static void image_answer(void)
{
    LEVSHA_MARK(MARK_STARTS + 0);
    IMAGE_RUN;
    LEVSHA_MARK(MARK_ENDS + 0);
    const say_index_t best = (say_index_t)IMAGE_CLASS[0];
#ifdef IMAGE_UNSURE_BELOW
    static const char unsure[] net_FLASH = "unsure ";
    for (say_index_t i = 0; i < IMAGE_SCORES; ++i)
        if (i != best && (say_whole_t)((say_whole_t)IMAGE_SCORE[best] - (say_whole_t)IMAGE_SCORE[i]) < IMAGE_UNSURE_BELOW) {
            say_text(unsure);
            break;
        }
#endif
    say_text(say_nth(image_classes, best));
    serial_put(':');
    for (say_index_t i = 0; i < IMAGE_SCORES; ++i) {
        serial_put(' ');
        say_number(IMAGE_SCORE[i]);
    }
}

/* Says what was found, and what is allowed. */
static void image_refuse(image_line_t read)
{
    if (read.what == IMAGE_GARBAGE) {
        say_text(image_needs);
        return;
    }
    serial_put('?');
    serial_put(' ');
    if (read.what == IMAGE_KIND) {
        serial_put('P');
        say_number(read.found);
        say_text(image_but);
        say_text(image_kinds);
        return;
    }
    say_text(say_nth(image_labels, read.what));
    serial_put(' ');
    say_number(read.found);
    say_text(image_but);
    const say_number_t low = read.what == IMAGE_WIDTH ? IMAGE_COLUMNS : read.what == IMAGE_HEIGHT ? IMAGE_ROWS
        : read.what == IMAGE_COUNT ? IMAGE_NUMBERS / IMAGE_CHANNELS : read.what == IMAGE_MAXVAL;
    say_number(low);
    if (read.what == IMAGE_MAXVAL || read.what == IMAGE_PIXEL) {
        serial_put('.');
        serial_put('.');
        say_number(read.what == IMAGE_MAXVAL ? 255 : read.top);
    }
}

static void image_turn(void)
{
    int16_t c;
    say_text(image_prompt);
    do {
        LEVSHA_MARK(MARK_READY);
        c = serial_get_checked();
        while (image_separates(c)) c = serial_get_within(IMAGE_PAUSE);
    } while (c == SERIAL_SILENT);
    const image_line_t read = image_read(c);
    if (read.what == IMAGE_RIGHT) image_answer();
    else image_refuse(read);
    serial_put('\r');
    serial_put('\n');
}
