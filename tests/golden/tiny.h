/* golden
   Made by Levsha; do not edit. Exact integers: every target computes the same bits.
   in   net_x[4]  0..255; when it has changed, call net_run_x() and those after it
   out  net_act1[3]  0..255
   out  net_best[1]  0..2 */
#include <stdint.h>
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define LEVSHA_FLASH PROGMEM
#define LEVSHA_U8(p) pgm_read_byte(p)
#define LEVSHA_I16(p) ((int16_t)pgm_read_word(p))
#else
#define LEVSHA_FLASH
#define LEVSHA_U8(p) (*(p))
#define LEVSHA_I16(p) (*(p))
#endif
#if defined(__AVR__) && defined(__GNUC__)   /* the inner loops want registers and speed, the rest wants to be small */
#define LEVSHA_KERNEL __attribute__((noinline, optimize("O2")))
#else
#define LEVSHA_KERNEL
#endif

static const uint8_t net_fc1_weight[4] LEVSHA_FLASH = {
1,5,5,4};
static const int16_t net_act1_multiplier[3] LEVSHA_FLASH = {
9,-7,5};
static const int16_t net_act1_bias[3] LEVSHA_FLASH = {
1,2,3};
static uint8_t net_x[4];
static int16_t net_int16[3];
static uint8_t net_uint8[4];
#define net_fc1 (net_int16 + 0)
#define net_act1 (net_uint8 + 0)
#define net_best (net_uint8 + 3)

/* Sums of 8 outputs, from weights -1, +1; 8 weights a byte; zero inputs are skipped. Returns the end of the weights. */
static LEVSHA_KERNEL const uint8_t *dense_binary_uint8_block16(const uint8_t *w, const uint8_t *v, const uint8_t *v_end, uint16_t *sums)
{
    uint16_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    do {
        const uint8_t a = *v++;
        if (a) {
            const uint8_t b = LEVSHA_U8(w);
            if (b & 1) s0 += (uint16_t)a;
            if (b & 2) s1 += (uint16_t)a;
            if (b & 4) s2 += (uint16_t)a;
            if (b & 8) s3 += (uint16_t)a;
            if (b & 16) s4 += (uint16_t)a;
            if (b & 32) s5 += (uint16_t)a;
            if (b & 64) s6 += (uint16_t)a;
            if (b & 128) s7 += (uint16_t)a;
        }
        w += 1;
    } while (v != v_end);
    sums[0] = s0; sums[1] = s1; sums[2] = s2; sums[3] = s3; sums[4] = s4; sums[5] = s5; sums[6] = s6; sums[7] = s7;
    return w;
}

/* y[o] = sum of weight[o][i] * x[i] */
static void dense_binary_uint8_int16(const uint8_t *w, const uint8_t *x, uint16_t inputs, int16_t *y, uint16_t outputs)
{
    const uint8_t *const x_end = x + inputs;
    uint16_t sums[8];
    uint16_t total = 0;
    for (const uint8_t *v = x; v != x_end; ++v) total = (uint16_t)(total + (uint16_t)*v);
    total = (uint16_t)(total * 1u);
    for (uint16_t o = 0, k = 8; o < outputs; ++o, ++k) {
        if (k == 8) {
            w = dense_binary_uint8_block16(w, x, x_end, sums);
            k = 0;
        }
        *y++ = (int16_t)(uint16_t)(sums[k] * 2u - total);
    }
}

/* y = clip((x * m + (b << 2) + 8) >> 4, 0, 255) */
static void requantize_int16_uint8_2_4_8_0_255(const int16_t *x, const int16_t *m, const int16_t *b, uint8_t *y, uint16_t n)
{
    do {
        int32_t v = (int32_t)*x++ * LEVSHA_I16(m++);
        v += (int32_t)LEVSHA_I16(b++) * 4L + 8L;
        v >>= 4;
        if (v < 0L) v = 0L;
        if (v > 255L) v = 255L;
        *y++ = (uint8_t)v;
    } while (--n);
}

static void net_run_x(void)
{
    dense_binary_uint8_int16(net_fc1_weight, net_x, 4, net_fc1 + 0, 3);
    requantize_int16_uint8_2_4_8_0_255(net_fc1, net_act1_multiplier, net_act1_bias, net_act1, 3);
    net_best[0] = 0;
    for (uint16_t i = 1; i < 3; ++i)
        if (net_act1[i] > net_act1[net_best[0]]) net_best[0] = (uint8_t)i;
}
