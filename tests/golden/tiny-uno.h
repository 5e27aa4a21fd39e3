/* golden
   Made by Levsha; do not edit. Exact integers: every target computes the same bits.
   in   x[4]  0..255; when it has changed, call net_run_x and those after it
   out  act1[3]  0..255
   out  best[1]  0..2
   
   Example:
       #include <stdio.h>
       #include "net.h"
       int main(void)
       {
           net_instance.x[0] = 0;
           net_run();
           printf("%d\n", (int)net_act1()[0]);
           return 0;
       } */
#ifndef NET_H
#define NET_H
#include <stdint.h>

#define NET_X_SIZE 4
#define NET_X_LOWS {0}
#define NET_X_HIGHS {255}
#define NET_ACT1_SIZE 3
#define NET_ACT1_LOWS {0}
#define NET_ACT1_HIGHS {255}
#define NET_BEST_SIZE 1
#define NET_BEST_LOWS {0}
#define NET_BEST_HIGHS {2}

typedef struct net_state {
    uint8_t x[4];
    union { uint8_t bytes[6]; int16_t alignment; } arena;   /* everything between, and the outputs */
} net_state;

static net_state net_instance;

/* 3 integers, 0..255. */
static inline const uint8_t *net_act1(void)
{
    return (const uint8_t *)(const void *)(net_instance.arena.bytes + 0);
}

/* 1 integers, 0..2. */
static inline const uint8_t *net_best(void)
{
    return (const uint8_t *)(const void *)(net_instance.arena.bytes + 3);
}

#include <stdint.h>
#include <avr/pgmspace.h>
#define net_FLASH PROGMEM
#define net_U8(p) pgm_read_byte(p)
#define net_I16(p) ((int16_t)pgm_read_word(p))
#define net_I32(p) ((int32_t)pgm_read_dword(p))
#define net_BRANCHES 1
#define net_KERNEL __attribute__((noinline, optimize("O2")))   /* inner loops want registers and speed, the rest wants to be small */
#if defined(__GNUC__)   /* the arena's bytes are elements of one type, then of another */
#define net_ALIAS __attribute__((__may_alias__))
#else
#define net_ALIAS
#endif
typedef int16_t net_ALIAS net_i16;
typedef int32_t net_ALIAS net_i32;

static const uint8_t net_fc1_weight[4] net_FLASH = {
1,5,5,4};
static const int16_t net_act1_multiplier[3] net_FLASH = {
9,-7,5};
static const int16_t net_act1_bias[3] net_FLASH = {
1,2,3};
/* Sums of 8 outputs, from weights -1, +1; 8 weights a byte; zero inputs are skipped where branches are cheap. Returns the end of the weights. */
static net_KERNEL const uint8_t *net_dense_binary_uint8_block16(const uint8_t *w, const uint8_t *v, const uint8_t *v_end, unsigned *sums)
{
    unsigned s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    do {
        const uint8_t a = *v++;
        if (a || !net_BRANCHES) {
            const uint8_t b = net_U8(w);
            if (b & 1) s0 += (unsigned)a;
            if (b & 2) s1 += (unsigned)a;
            if (b & 4) s2 += (unsigned)a;
            if (b & 8) s3 += (unsigned)a;
            if (b & 16) s4 += (unsigned)a;
            if (b & 32) s5 += (unsigned)a;
            if (b & 64) s6 += (unsigned)a;
            if (b & 128) s7 += (unsigned)a;
        }
        w += 1;
    } while (v != v_end);
    sums[0] = s0; sums[1] = s1; sums[2] = s2; sums[3] = s3; sums[4] = s4; sums[5] = s5; sums[6] = s6; sums[7] = s7;
    return w;
}

/* y[o] = sum of weight[o][i] * x[i] */
static void net_dense_binary_uint8_int16(const uint8_t *w, const uint8_t *x, uint16_t inputs, net_i16 *y, uint16_t outputs)
{
    const uint8_t *const x_end = x + inputs;
    unsigned sums[8];
    unsigned total = 0;
    for (const uint8_t *v = x; v != x_end; ++v) {
        const unsigned u = (unsigned)*v;
        total += u;
    }
    total *= 1u;
    for (uint16_t o = 0, k = 8; o < outputs; ++o, ++k) {
        if (k == 8) {
            w = net_dense_binary_uint8_block16(w, x, x_end, sums);
            k = 0;
        }
        *y++ = (int16_t)(uint16_t)(sums[k] * 2u - total);
    }
}

/* y = clip((x * m + (b << 2) + 8) >> 4, 0, 255) */
static void net_requantize_int16_uint8_2_4_8_0_255(const net_i16 *x, const int16_t *m, const int16_t *b, uint8_t *y, uint16_t n)
{
    uint8_t *const end = y + n;
    do {
        int32_t v = (int32_t)*x++ * net_I16(m++);
        v += (int32_t)net_I16(b++) * 4 + 8;
        v >>= 4;
        if (v < 0) v = 0;
        if (v > 255) v = 255;
        *y++ = (uint8_t)v;
    } while (y != end);
}

static void net_run_x(void)
{
    const uint8_t *const x_ = net_instance.x;
    net_i16 *const fc1_ = (net_i16 *)(void *)(net_instance.arena.bytes + 0);
    uint8_t *const act1_ = (uint8_t *)(void *)(net_instance.arena.bytes + 0);
    uint8_t *const best_ = (uint8_t *)(void *)(net_instance.arena.bytes + 3);
    net_dense_binary_uint8_int16(net_fc1_weight, x_, 4, fc1_ + 0, 3);
    net_requantize_int16_uint8_2_4_8_0_255(fc1_, net_act1_multiplier, net_act1_bias, act1_, 3);
    best_[0] = 0;
    for (uint16_t i = 1; i < 3; ++i)
        if (act1_[i] > act1_[best_[0]]) best_[0] = (uint8_t)i;
}

static inline void net_run(void)
{
    net_run_x();
}

#endif
