/* Synapses with weights of 2 and 4 bits for AArch64, stored as in esnn_packed.c.
 *
 * Dense: a mask leaves a field of each byte of the words of four inputs, UMLAL multiplies it by these inputs and adds
 * up 16-bit sums by byte. What was added to the weights is taken off at the end.
 */
#include "esnn_kernels.h"

#if ESNN_NEON
#include <arm_neon.h>

enum { INPUTS = 16, OUTPUTS = 16, SUMS = 4 };
/* Turns of four inputs, which 16-bit sums have room for: 2*8*255*15 and 2*40*255*3 are below 2^16, with 128 for 255
 * below 2^15. */
#define TURNS(bits) ((bits) == 4 ? 8u : 40u)

/* sum + the products of inputs and fields, which are below 128, by byte of a word. */
static ESNN_INLINE uint16x8_t add(uint16x8_t sum, uint8x16_t x, uint8x16_t fields, int is_signed) {
    if (is_signed) {
        const int8x16_t values = vreinterpretq_s8_u8(x), weights = vreinterpretq_s8_u8(fields);
        int16x8_t all = vmlal_s8(vreinterpretq_s16_u16(sum), vget_low_s8(values), vget_low_s8(weights));
        all = vmlal_high_s8(all, values, weights);
        return vreinterpretq_u16_s16(all);
    }
    return vmlal_high_u8(vmlal_u8(sum, vget_low_u8(x), vget_low_u8(fields)), x, fields);
}

/* Four inputs, each four times in `x`, and their words; of 4 bits the words are those of two blocks. */
static ESNN_INLINE void add4(uint16x8_t sum[SUMS], uint8x16_t x, const uint32_t *w, const uint32_t *next, uint32_t bits,
                             int is_signed) {
    const uint8x16_t mask = vdupq_n_u8(bits == 4 ? 15 : 3), words = vreinterpretq_u8_u32(vld1q_u32(w));
    if (bits == 4) {
        const uint8x16_t others = vreinterpretq_u8_u32(vld1q_u32(next));
        sum[0] = add(sum[0], x, vandq_u8(words, mask), is_signed);
        sum[1] = add(sum[1], x, vshrq_n_u8(words, 4), is_signed);
        sum[2] = add(sum[2], x, vandq_u8(others, mask), is_signed);
        sum[3] = add(sum[3], x, vshrq_n_u8(others, 4), is_signed);
    } else {
        sum[0] = add(sum[0], x, vandq_u8(words, mask), is_signed);
        sum[1] = add(sum[1], x, vandq_u8(vshrq_n_u8(words, 2), mask), is_signed);
        sum[2] = add(sum[2], x, vandq_u8(vshrq_n_u8(words, 4), mask), is_signed);
        sum[3] = add(sum[3], x, vshrq_n_u8(words, 6), is_signed);
    }
}

/* total + the 16-bit sums, which begin anew. */
static ESNN_INLINE void move_sums(int32x4_t total[SUMS], uint16x8_t sum[SUMS], int is_signed) {
    for (uint32_t k = 0; k < SUMS; k++) {
        if (is_signed) {
            const int16x8_t s = vreinterpretq_s16_u16(sum[k]);
            total[k] = vaddw_high_s16(vaddw_s16(total[k], vget_low_s16(s)), s);
        } else {
            const uint32x4_t low = vaddw_u16(vreinterpretq_u32_s32(total[k]), vget_low_u16(sum[k]));
            total[k] = vreinterpretq_s32_u32(vaddw_high_u16(low, sum[k]));
        }
        sum[k] = vdupq_n_u16(0);
    }
}

/* to[0..16) = the sums of sixteen outputs, whose words start at w; `next` are those of the last eight of 4 bits. `bits`
 * and `is_signed` are constants where this is inlined. */
static ESNN_INLINE void sum16(const uint8_t *x, uint32_t inputs, const uint32_t *w, const uint32_t *next, uint32_t bits,
                              int is_signed, int32_t *to) {
    static const uint8_t four_times[INPUTS] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    const uint8x16_t repeat = vld1q_u8(four_times);
    int32x4_t total[SUMS] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    uint16x8_t sum[SUMS] = {vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0)};
    uint32_t i = 0;
    while (inputs - i >= INPUTS) {
        const uint32_t left = (inputs - i) / INPUTS, n = left < TURNS(bits) / 4 ? left : TURNS(bits) / 4;
        for (const uint32_t end = i + n * INPUTS; i < end; i += INPUTS) {
            const uint8x16_t values = vld1q_u8(x + i);
            for (uint32_t k = 0; k < 4; k++) {
                const uint8x16_t four = vqtbl1q_u8(values, vaddq_u8(repeat, vdupq_n_u8((uint8_t)(4 * k))));
                add4(sum, four, w + i + 4 * k, next + i + 4 * k, bits, is_signed);
            }
        }
        move_sums(total, sum, is_signed);
    }
    if (i < inputs) {
        uint8_t last[INPUTS] = {0};
        uint32_t words[INPUTS] = {0}, others[INPUTS] = {0};
        for (uint32_t k = 0; i + k < inputs; k++) {
            last[k] = x[i + k];
            words[k] = w[i + k];
            others[k] = next[i + k];
        }
        for (uint32_t k = 0; k < INPUTS; k += 4) {
            const uint8x16_t four = vqtbl1q_u8(vld1q_u8(last), vaddq_u8(repeat, vdupq_n_u8((uint8_t)k)));
            add4(sum, four, words + k, others + k, bits, is_signed);
        }
        move_sums(total, sum, is_signed);
    }
    if (bits == 4) { /* field k of byte b is that of output 2b + k, */
        vst2q_s32(to, ((int32x4x2_t){{total[0], total[1]}}));
        vst2q_s32(to + 8, ((int32x4x2_t){{total[2], total[3]}}));
    } else { /* or 4b + k */
        vst4q_s32(to, ((int32x4x4_t){{total[0], total[1], total[2], total[3]}}));
    }
}

static ESNN_INLINE void linear(const uint8_t *x, const uint32_t *w, int32_t *a, uint32_t inputs, uint32_t outputs,
                               uint32_t bits, int is_signed) {
    int32_t all = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        all += is_signed ? (int8_t)x[i] : x[i];
    }
    const int32_t excess = all * (1 << (bits - 1));
    for (uint32_t o = 0; o < outputs; o += OUTPUTS, w += (size_t)OUTPUTS * bits / 32 * inputs) {
        const uint32_t left = outputs - o, n = left < OUTPUTS ? left : OUTPUTS;
        int32_t sum[OUTPUTS];
        sum16(x, inputs, w, bits == 4 && left > OUTPUTS / 2 ? w + inputs : w, bits, is_signed, sum);
        for (uint32_t k = 0; k < n; k++) {
            a[o + k] = sum[k] - excess;
        }
    }
}

void esnn_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    (void)patch;
    if (bits == 4 && format == ESNN_U8) {
        linear(x, w, a, inputs, outputs, 4, 0);
    } else if (bits == 4) {
        linear(x, w, a, inputs, outputs, 4, 1);
    } else if (format == ESNN_U8) {
        linear(x, w, a, inputs, outputs, 2, 0);
    } else {
        linear(x, w, a, inputs, outputs, 2, 1);
    }
}

#endif
