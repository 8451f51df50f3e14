/* Convolutions with weights of 2 and 4 bits for AArch64, stored as in esnn_packed.c.
 *
 * Sixteen output pixels in the order of the image are the lanes of two vectors, for each input one after the other; MLA
 * multiplies them by a weight that is an element of a vector of eight outputs. 16-bit sums have room for the products
 * of some inputs, and are then added to the outputs.
 */
#include "esnn_grouped.h"

#if ESNN_NEON
#include <arm_neon.h>

enum { PIXELS = 16, OUTPUTS = 8, MOST_INPUTS = 64, TURN = 4 };
/* Inputs at a time: 16*255*8 and 64*255*2 are below 2^15. */
#define CHUNK(bits) ((bits) == 4 ? 16u : 64u)

/* Some inputs of sixteen pixels, widened, and room for a vector beyond. */
typedef struct {
    int16_t of[MOST_INPUTS * PIXELS + PIXELS];
} chunk;

/* A convolution of one group, and the bytes of all its inputs from this group on. */
typedef struct {
    const uint8_t *x, *end;
    uint8_t flip; /* x = (byte ^ flip) - flip */
    uint32_t bits;
    esnn_window one;
    uint32_t dilation_height, dilation_width;
} conv;

/* to[0..n) = the inputs x[first + p*stride] of a row of the image, zero outside; lanes beyond may be written. `row` is
 * NULL for a row outside. */
static ESNN_INLINE void gather(const conv *c, const uint8_t *row, int32_t first, uint32_t n, int16_t *to) {
    const int32_t stride = (int32_t)c->one.stride_width, width = (int32_t)c->one.width;
    const uint32_t before = first < 0 ? (uint32_t)((stride - 1 - first) / stride) : 0;
    const uint32_t until = width > first ? (uint32_t)((width - first + stride - 1) / stride) : 0;
    const uint32_t last = until < n ? until : n;
    if (row == NULL || before >= last) {
        vst1q_s16(to, vdupq_n_s16(0));
        vst1q_s16(to + 8, vdupq_n_s16(0));
        return;
    }
    row += first + (int32_t)before * stride;
    if (stride == 1 && c->end - row >= PIXELS) {
        const uint8x16_t bytes = veorq_u8(vld1q_u8(row), vdupq_n_u8(c->flip));
        const int16x8_t flip = vdupq_n_s16(c->flip);
        vst1q_s16(to + before, vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), flip));
        vst1q_s16(to + before + 8, vsubq_s16(vreinterpretq_s16_u16(vmovl_high_u8(bytes)), flip));
    } else {
        for (uint32_t p = before; p < last; p++, row += stride) {
            to[p] = (int16_t)((*row ^ c->flip) - c->flip);
        }
    }
    for (uint32_t p = 0; p < before; p++) {
        to[p] = 0;
    }
    for (uint32_t p = last; p < n; p++) {
        to[p] = 0;
    }
}

/* One input, at kernel row i and column j of the channel at x, of n pixels from (row, column) of the output on. */
static ESNN_INLINE void gather_pixels(const conv *c, const uint8_t *x, uint32_t i, uint32_t j, uint32_t row,
                                      uint32_t column, uint32_t n, int16_t *to) {
    const esnn_window *g = &c->one;
    while (n > 0) {
        const uint32_t left = g->out_width - column, here = left < n ? left : n;
        const uint32_t y = row * g->stride_height + i * c->dilation_height - g->padding_top; /* wraps around above */
        const uint32_t first = column * g->stride_width + j * c->dilation_width - g->padding_left;
        gather(c, y < g->height ? x + y * g->width : NULL, (int32_t)first, here, to);
        to += here;
        n -= here;
        column = 0;
        row++;
    }
}

/* The inputs from `first` on, m of them, in the order [C, kh, kw], of n pixels from `pixel` on. */
static void gather_chunk(const conv *c, uint32_t first, uint32_t m, uint32_t pixel, uint32_t n, chunk *to) {
    const esnn_window *g = &c->one;
    const uint32_t area = g->kernel_height * g->kernel_width, place = first % area, size = g->height * g->width;
    const uint32_t row = pixel / g->out_width, column = pixel % g->out_width;
    const uint8_t *x = c->x + first / area * size;
    uint32_t i = place / g->kernel_width, j = place % g->kernel_width;
    for (uint32_t k = 0; k < m; k++) {
        gather_pixels(c, x, i, j, row, column, n, to->of + k * PIXELS);
        if (++j == g->kernel_width) {
            j = 0;
            if (++i == g->kernel_height) {
                i = 0;
                x += size;
            }
        }
    }
}

/* The weights of eight outputs for four inputs, by input, of which the words of 4 bits are these. */
static ESNN_INLINE void weights4(uint8x16_t words, int16x8_t to[TURN]) {
    const int8x16_t excess = vdupq_n_s8(8);
    const int8x16_t even = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(words, vdupq_n_u8(15))), excess);
    const int8x16_t odd = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(words, 4)), excess);
    const int8x16_t low = vzip1q_s8(even, odd), high = vzip2q_s8(even, odd);
    to[0] = vmovl_s8(vget_low_s8(low));
    to[1] = vmovl_high_s8(low);
    to[2] = vmovl_s8(vget_low_s8(high));
    to[3] = vmovl_high_s8(high);
}

/* The same of 2 bits, for the first or the second half of a block of sixteen. */
static ESNN_INLINE void weights2(uint8x16_t words, int second, int16x8_t to[TURN]) {
    const uint8x16_t mask = vdupq_n_u8(3);
    const uint8x16_t by0 = vandq_u8(words, mask), by1 = vandq_u8(vshrq_n_u8(words, 2), mask);
    const uint8x16_t by2 = vandq_u8(vshrq_n_u8(words, 4), mask), by3 = vshrq_n_u8(words, 6);
    const uint8x16_t low01 = vzip1q_u8(by0, by1), low23 = vzip1q_u8(by2, by3);
    const uint8x16_t high01 = vzip2q_u8(by0, by1), high23 = vzip2q_u8(by2, by3);
    const uint16x8_t pairs[4] = {vreinterpretq_u16_u8(low01), vreinterpretq_u16_u8(low23), vreinterpretq_u16_u8(high01),
                                 vreinterpretq_u16_u8(high23)};
    const uint16x8_t inputs[TURN] = {vzip1q_u16(pairs[0], pairs[1]), vzip2q_u16(pairs[0], pairs[1]),
                                     vzip1q_u16(pairs[2], pairs[3]), vzip2q_u16(pairs[2], pairs[3])};
    for (uint32_t q = 0; q < TURN; q++) {
        const int8x16_t all = vsubq_s8(vreinterpretq_s8_u16(inputs[q]), vdupq_n_s8(2));
        to[q] = second ? vmovl_high_s8(all) : vmovl_s8(vget_low_s8(all));
    }
}

/* As vmlaq_laneq_s16: left to choose, compilers repeat the element in a vector first. */
#define MLA(sum, x, w, o) __asm__("mla %0.8h, %1.8h, %2.h[" #o "]" : "+w"(sum) : "w"(x), "x"(w))
#define ADD(o)                                                                                                         \
    MLA(sum[o][0], x0, w, o);                                                                                          \
    MLA(sum[o][1], x1, w, o)

/* sum[o] += an input of sixteen pixels times its weight for output o. */
static ESNN_INLINE void add_input(int16x8_t sum[OUTPUTS][2], const int16_t *x, int16x8_t w) {
    const int16x8_t x0 = vld1q_s16(x), x1 = vld1q_s16(x + 8);
    ADD(0);
    ADD(1);
    ADD(2);
    ADD(3);
    ADD(4);
    ADD(5);
    ADD(6);
    ADD(7);
}

/* The sums of eight outputs for some inputs, m of them, whose words are at w; `second` is the half of words of 2 bits.
 */
static ESNN_INLINE void sum_chunk(int16x8_t sum[OUTPUTS][2], const int16_t *x, uint32_t m, const uint32_t *w,
                                  uint32_t bits, int second) {
    int16x8_t weights[TURN], part[OUTPUTS][2]; /* in registers, unlike sums that are indexed */
    for (uint32_t o = 0; o < OUTPUTS; o++) {
        part[o][0] = part[o][1] = vdupq_n_s16(0);
    }
    for (; m >= TURN; m -= TURN, w += TURN) {
        const uint8x16_t words = vreinterpretq_u8_u32(vld1q_u32(w));
        if (bits == 4) {
            weights4(words, weights);
        } else {
            weights2(words, second, weights);
        }
        _Pragma("GCC unroll 4") for (uint32_t q = 0; q < TURN; q++) {
            add_input(part, x + q * PIXELS, weights[q]);
        }
        x += TURN * PIXELS;
    }
    for (; m > 0; m--, w++, x += PIXELS) {
        const uint8x16_t words = vreinterpretq_u8_u32(vdupq_n_u32(*w));
        if (bits == 4) {
            weights4(words, weights);
        } else {
            weights2(words, second, weights);
        }
        add_input(part, x, weights[0]);
    }
    for (uint32_t o = 0; o < OUTPUTS; o++) {
        sum[o][0] = part[o][0];
        sum[o][1] = part[o][1];
    }
}

/* a[0..n) = the sums, added to what was there unless this is the first chunk. */
static ESNN_INLINE void put(const int16x8_t sum[2], int32_t *a, uint32_t n, int first) {
    if (n == PIXELS) {
        const int32x4_t zero = vdupq_n_s32(0);
        vst1q_s32(a, vaddw_s16(first ? zero : vld1q_s32(a), vget_low_s16(sum[0])));
        vst1q_s32(a + 4, vaddw_high_s16(first ? zero : vld1q_s32(a + 4), sum[0]));
        vst1q_s32(a + 8, vaddw_s16(first ? zero : vld1q_s32(a + 8), vget_low_s16(sum[1])));
        vst1q_s32(a + 12, vaddw_high_s16(first ? zero : vld1q_s32(a + 12), sum[1]));
    } else {
        int16_t all[PIXELS];
        vst1q_s16(all, sum[0]);
        vst1q_s16(all + 8, sum[1]);
        for (uint32_t p = 0; p < n; p++) {
            a[p] = (first ? 0 : a[p]) + all[p];
        }
    }
}

/* Adds some inputs of n pixels, m from `first` on, to all outputs; `bits` is a constant where this is inlined. */
static ESNN_INLINE void add_chunk(const conv *c, const chunk *in, uint32_t first, uint32_t m, const uint32_t *w,
                                  uint32_t bits, int32_t *a, uint32_t n) {
    const esnn_window *g = &c->one;
    const uint32_t fan_in = g->channels * g->kernel_height * g->kernel_width, pixels = g->out_height * g->out_width;
    for (uint32_t o = 0; o < g->out_channels; o += OUTPUTS) {
        const uint32_t left = g->out_channels - o, outputs = left < OUTPUTS ? left : OUTPUTS;
        const uint32_t *words = w + o / (32 / bits) * fan_in + first;
        int16x8_t sum[OUTPUTS][2];
        if (bits == 2 && o % 16 != 0) {
            sum_chunk(sum, in->of, m, words, bits, 1);
        } else {
            sum_chunk(sum, in->of, m, words, bits, 0);
        }
        for (uint32_t k = 0; k < outputs; k++) {
            put(sum[k], a + (o + k) * pixels, n, first == 0);
        }
    }
}

static void conv2d(const conv *c, const uint32_t *w, int32_t *a) {
    const esnn_window *g = &c->one;
    const uint32_t fan_in = g->channels * g->kernel_height * g->kernel_width, pixels = g->out_height * g->out_width;
    for (uint32_t p = 0; p < pixels; p += PIXELS) {
        const uint32_t n = pixels - p < PIXELS ? pixels - p : PIXELS;
        for (uint32_t i = 0; i < fan_in; i += CHUNK(c->bits)) {
            const uint32_t m = fan_in - i < CHUNK(c->bits) ? fan_in - i : CHUNK(c->bits);
            chunk in;
            gather_chunk(c, i, m, p, n, &in);
            if (c->bits == 4) {
                add_chunk(c, &in, i, m, w, 4, a + p, n);
            } else {
                add_chunk(c, &in, i, m, w, 2, a + p, n);
            }
        }
    }
}

void esnn_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        const esnn_grouped_window *g) {
    /* W (O,C/groups*kh*kw) @ windows of x (C,H,W) -> a (O,P) */
    const esnn_window one = esnn_one_group(g);
    const uint32_t fan_in = one.channels * one.kernel_height * one.kernel_width, fields = 32 / bits;
    const uint32_t size = one.channels * one.height * one.width;
    const uint8_t *from = x;
    (void)patch;
    for (uint32_t n = 0; n < g->groups; n++) {
        const conv c = {from + n * size,    from + g->groups * size, format == ESNN_U8 ? 0 : 0x80, bits, one,
                        g->dilation_height, g->dilation_width};
        conv2d(&c, w, a);
        w += (one.out_channels + fields - 1) / fields * fan_in;
        a += one.out_channels * one.out_height * one.out_width;
    }
}

#endif
