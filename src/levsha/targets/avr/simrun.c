/* Runs an ATmega firmware in libsimavr, one instruction at a time: exact cycles, exact stack, exact bytes.

   usage: simrun ELF [-m mcu] [-f hz] [-c most_cycles] [-i stage:address:length]... [-o address:length]... [-v vectors count [-l line]]

   The firmware speaks through GPIOR0 (data address 0x3E), one OUT instruction each, see mark.h:
     0x01      waits for a message on the UART: the runner sends the next one of its standard input, where each stands behind a
               line with the number of its bytes; none left: the end. With -v it types the line of -l instead, "go" where none is
               given: any that makes the firmware run its net
     0x10 + k  stage k starts: with -v, the runner first puts the current vector's input k into SRAM
     0x20 + k  stage k has ended; after the last stage the outputs are read and the vector is done; with -v they are then
               zeroed, which a chat takes for the end of its answer, so that every vector starts from the first stage
     0xFF      done
   It answers in lines on standard output:
     R                                  ready for a message
     T hh                               the UART sent a byte
     V inputs outputs cycles...         a vector is done: the bytes of inputs and outputs in SRAM in hexadecimal, then the
                                        cycles of each stage since the vector before (0: not run)
     E reason cycles stack              the end: done, cap or crash; all cycles; the deepest stack in bytes
   Cycles of a stage are those between its two OUT instructions. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_io.h>
#include "mark.h"

enum { MOST_AREAS = 8, GPIOR0_ADDRESS = 0x3e, UBRR0L_ADDRESS = 0xc4 };
enum { UART_BYTE_CYCLES = 1389, FASTEST_BYTE_CYCLES = 80 };   /* 16 MHz / 11 520 bytes a second: a sender that leaves no gaps */
typedef struct { unsigned stage, address, length; } area_t;

static area_t inputs[MOST_AREAS], outputs[MOST_AREAS];
static unsigned input_count, output_count, stage_count = 1;
static uint8_t *vectors;
static unsigned long vector_count, vector_now, vector_bytes;
static uint64_t stage_started[MOST_AREAS], stage_cycles[MOST_AREAS];
static const char *wake = "go";
static char piece[16384];   /* of a message; holds a wake line of as many numbers as fit the SRAM */
static size_t piece_length, piece_sent, message_left;   /* message_left: bytes of it behind the piece */
static uint64_t next_byte_at;
static int finished, xon = 1;

static void fail(const char *text) { fprintf(stderr, "simrun: %s\n", text); exit(2); }

static void put_hex(const uint8_t *bytes, unsigned count) { while (count--) printf("%02x", *bytes++); }

static void inject(avr_t *avr, unsigned stage)
{
    const uint8_t *from = vectors + vector_now * vector_bytes;
    for (unsigned i = 0; i < input_count; ++i) {
        if (inputs[i].stage == stage) memcpy(avr->data + inputs[i].address, from, inputs[i].length);
        from += inputs[i].length;
    }
}

static void report(avr_t *avr)
{
    fputs("V ", stdout);
    for (unsigned i = 0; i < input_count; ++i) put_hex(avr->data + inputs[i].address, inputs[i].length);
    putchar(' ');
    for (unsigned i = 0; i < output_count; ++i) put_hex(avr->data + outputs[i].address, outputs[i].length);
    for (unsigned k = 0; k < stage_count; ++k) { printf(" %llu", (unsigned long long)stage_cycles[k]); stage_cycles[k] = 0; }
    putchar('\n');
    if (!vectors) return;
    for (unsigned i = 0; i < output_count; ++i) memset(avr->data + outputs[i].address, 0, outputs[i].length);
    if (++vector_now == vector_count) finished = 1;
}

/* Takes the next piece of a message; says whether there was any. */
static int next_piece(avr_t *avr)
{
    if (vectors) piece_length = (size_t)snprintf(piece, sizeof piece, "%s\n", wake);
    else {
        piece_length = fread(piece, 1, message_left < sizeof piece ? message_left : sizeof piece, stdin);
        if (!piece_length) return 0;
        message_left -= piece_length;
    }
    piece_sent = 0;
    next_byte_at = avr->cycle + UART_BYTE_CYCLES;
    return 1;
}

static void ready(avr_t *avr)
{
    puts("R");
    fflush(stdout);
    while (message_left && getchar() != EOF) --message_left;   /* what the firmware did not wait for is lost */
    if (!vectors && scanf("%zu%*c", &message_left) != 1) finished = 1;
    else if (!next_piece(avr)) finished = 1;
}

/* Vectors wait for their wake line and its answer, of which nothing is measured: the line takes 2 Mbaud there. */
static void hurry(avr_t *avr)
{
    avr->io[AVR_DATA_TO_IO(UBRR0L_ADDRESS)].w.c(avr, UBRR0L_ADDRESS, 0, avr->io[AVR_DATA_TO_IO(UBRR0L_ADDRESS)].w.param);
}

static void type_byte(avr_t *avr, avr_irq_t *uart)
{
    avr_raise_irq(uart, (uint8_t)piece[piece_sent++]);
    next_byte_at = avr->cycle + (vectors ? FASTEST_BYTE_CYCLES : UART_BYTE_CYCLES);
    if (piece_sent == piece_length && message_left && !next_piece(avr)) finished = 1;
}

static void mark(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused)
{
    (void)unused;
    avr->data[address] = value;
    const unsigned stage = value & 15;
    if (value == MARK_READY) { if (vectors) hurry(avr); ready(avr); }
    else if (value == MARK_DONE) finished = 1;
    else if (stage >= MOST_AREAS) fail("a stage number is too large");
    else if ((value & 0xf0) == MARK_STARTS) { if (vectors) inject(avr, stage); stage_started[stage] = avr->cycle; }
    else if ((value & 0xf0) == MARK_ENDS) {
        stage_cycles[stage] += avr->cycle - stage_started[stage] - 1;   /* the first OUT itself */
        if (stage == stage_count - 1) report(avr);
    }
}

static void sent(struct avr_irq_t *irq, uint32_t value, void *unused) { (void)irq; (void)unused; printf("T %02x\n", value & 255u); fflush(stdout); }
static void set_xon(struct avr_irq_t *irq, uint32_t value, void *unused) { (void)irq; (void)value; (void)unused; xon = 1; }
static void set_xoff(struct avr_irq_t *irq, uint32_t value, void *unused) { (void)irq; (void)value; (void)unused; xon = 0; }

static void read_vectors(const char *path, const char *count)
{
    vector_count = strtoul(count, 0, 10);
    for (unsigned i = 0; i < input_count; ++i) vector_bytes += inputs[i].length;
    vectors = malloc(vector_count * vector_bytes);
    FILE *file = fopen(path, "rb");
    if (!file || !vectors || fread(vectors, vector_bytes, vector_count, file) != vector_count) fail("cannot read the vectors");
    fclose(file);
}

static avr_irq_t *connect(avr_t *avr)
{
    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_register_io_write(avr, GPIOR0_ADDRESS, mark, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), sent, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), set_xon, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), set_xoff, 0);
    return avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
}

int main(int argc, char **argv)
{
    const char *elf = 0, *mcu = "atmega328p", *vector_path = 0, *vector_total = 0;
    unsigned long hz = 16000000;
    uint64_t most_cycles = UINT64_MAX;
    for (int i = 1; i < argc; ++i) {
        if (argv[i][0] != '-') { elf = argv[i]; continue; }
        if (i + 1 >= argc) fail("an option lacks its value");
        const char option = argv[i][1], *value = argv[++i];
        area_t *input = &inputs[input_count % MOST_AREAS], *output = &outputs[output_count % MOST_AREAS];
        if (option == 'm') mcu = value;
        else if (option == 'f') hz = strtoul(value, 0, 10);
        else if (option == 'c') most_cycles = strtoull(value, 0, 10);
        else if (option == 'i' && sscanf(value, "%u:%u:%u", &input->stage, &input->address, &input->length) == 3) {
            ++input_count;
            if (input->stage + 1 > stage_count) stage_count = input->stage + 1;
        }
        else if (option == 'o' && sscanf(value, "%u:%u", &output->address, &output->length) == 2) ++output_count;
        else if (option == 'l' && strlen(value) + 2 <= sizeof piece) wake = value;
        else if (option == 'v' && i + 1 < argc) { vector_path = value; vector_total = argv[++i]; }
        else fail("an option is unknown or malformed");
    }
    if (!elf || input_count > MOST_AREAS || output_count > MOST_AREAS) fail("no ELF file, or too many areas");
    if (vector_path) read_vectors(vector_path, vector_total);

    elf_firmware_t firmware = {0};
    if (elf_read_firmware(elf, &firmware)) fail("cannot read the ELF file");
    avr_t *avr = avr_make_mcu_by_name(mcu);
    if (!avr) fail("unknown mcu");
    avr_init(avr);
    avr->log = LOG_ERROR;
    firmware.frequency = hz;
    avr_load_firmware(avr, &firmware);
    avr->frequency = hz;
    avr_irq_t *uart = connect(avr);

    int state = cpu_Running, torn = 0;
    unsigned lowest = avr->ramend;
    while (!finished && state != cpu_Done && state != cpu_Crashed && avr->cycle < most_cycles) {
        if (piece_sent < piece_length && xon && avr->cycle >= next_byte_at) type_byte(avr, uart);
        const unsigned instruction = avr->flash[avr->pc] | (unsigned)avr->flash[avr->pc + 1] << 8;
        state = avr_run(avr);
        if ((instruction & 0xfe0f) == 0xbe0e) { torn = 1; continue; }   /* OUT SPH: the low byte is still that of the old pointer */
        if ((instruction & 0xfe0f) == 0xbe0d) torn = 0;   /* OUT SPL */
        if (torn) continue;
        const unsigned sp = avr->data[R_SPL] | (unsigned)avr->data[R_SPH] << 8;
        if (sp < lowest && sp >= 0x100) lowest = sp;
    }
    const char *reason = finished ? "done" : state == cpu_Crashed || state == cpu_Done ? "crash" : "cap";
    printf("E %s %llu %u\n", reason, (unsigned long long)avr->cycle, avr->ramend - lowest);
    return 0;
}
