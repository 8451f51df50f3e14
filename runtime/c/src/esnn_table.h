/* Synapses with 1-bit weights by tables of sums. */
#ifndef ESNN_TABLE_H
#define ESNN_TABLE_H

#include "esnn_kernels.h"

/* An entry is this much more than the signed sum of up to eight inputs of 8 bits, so that it is positive. */
enum { ESNN_TABLE_ENTRIES = 256, ESNN_TABLE_BASE = 2048, ESNN_TABLE_GROUPS = 4 };

/* to[b] = first + the sum of twice[n] for all bits n of b that are set, b < 128. */
static inline void esnn_table_spread(uint32_t *to, uint32_t first, const uint32_t twice[7]) {
    uint32_t low[16];
    low[0] = first;
    for (uint32_t n = 0; n < 4; n++) {
        const uint32_t half = 1u << n;
        for (uint32_t i = 0; i < half; i++) {
            low[half + i] = low[i] + twice[n];
        }
    }
    for (uint32_t i = 0; i < 16; i++) {
        to[i] = low[i];
    }
    const uint32_t d1 = twice[4], d2 = twice[5], d3 = d1 + d2;
    const uint32_t d4 = twice[6], d5 = d4 + d1, d6 = d4 + d2, d7 = d4 + d3;
    ESNN_ONE_TURN
    for (const uint32_t *end = to + 16; to != end; to += 2) {
        const uint32_t even = to[0], odd = to[1];
        to[16] = even + d1;
        to[17] = odd + d1;
        to[32] = even + d2;
        to[33] = odd + d2;
        to[48] = even + d3;
        to[49] = odd + d3;
        to[64] = even + d4;
        to[65] = odd + d4;
        to[80] = even + d5;
        to[81] = odd + d5;
        to[96] = even + d6;
        to[97] = odd + d6;
        to[112] = even + d7;
        to[113] = odd + d7;
    }
}

/* W (O,ceil(C/8)) bits @ x (C,) -> a (O,); `tables` is scratch of ESNN_TABLE_SCRATCH*2 bytes. Filling a
 * table takes as long as about 60 look-ups. */
void esnn_table_linear(const uint8_t *x, esnn_format format, const uint8_t *w, uint32_t *tables, int32_t *a,
                       uint32_t inputs, uint32_t outputs);

/* Whether the following is used for a convolution. */
static inline int esnn_table_conv_pays(const esnn_window *g) {
    return g->channels >= ESNN_TABLE_CONV_CHANNELS && g->out_height * g->out_width >= ESNN_TABLE_CONV_PIXELS &&
           g->out_channels * g->kernel_height * g->kernel_width >=
               ESNN_TABLE_CONV_USES * g->stride_height * g->stride_width;
}

/* W (O,ceil(C*kh*kw/8)) bits @ the windows of x -> a (O,P); `scratch` is that of tables, 4-byte aligned. */
void esnn_table_conv2d(const uint8_t *x, esnn_format format, const uint8_t *w, uint32_t *scratch, int32_t *a,
                       const esnn_window *g);

#endif
