/* Synapses for AArch64.
 *
 * 1-bit weights: sixteen bits of a row become a mask of sixteen bytes, each of which tests its bit; the inputs that it
 * leaves are added up in pairs. With S the sum of the inputs whose bit is set and B that of all:  sum of w*x = 2S - B.
 * int8 weights: widened, and multiplied by widened inputs.
 */
#include "esnn_patch.h"

#if ESNN_NEON
#include <arm_neon.h>

enum { LANES = 16, ROWS = 4, MOST_VECTORS = 128 }; /* 128 pairs of 510, or of -256, fit 16 bits */

/* The low bytes of n elements, rounded up to whole vectors, in place. */
static void narrow(int16_t *patch, uint32_t n) {
    uint8_t *to = (uint8_t *)patch;
    for (uint32_t i = 0; i < n; i += LANES) {
        const uint8x8_t low = vmovn_u16(vreinterpretq_u16_s16(vld1q_s16(patch + i)));
        const uint8x8_t high = vmovn_u16(vreinterpretq_u16_s16(vld1q_s16(patch + i + 8)));
        vst1q_u8(to + i, vcombine_u8(low, high));
    }
}

/* 0xff in the bytes whose bit of a word is set. */
static ESNN_INLINE uint8x16_t chosen(uint16_t word) {
    static const uint8_t half[LANES] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint8_t bit[LANES] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t repeated = vqtbl1q_u8(vreinterpretq_u8_u16(vdupq_n_u16(word)), vld1q_u8(half));
    return vtstq_u8(repeated, vld1q_u8(bit));
}

/* The same for two bytes of a row. */
static ESNN_INLINE uint8x16_t chosen2(const uint8_t *w) {
    uint16_t word;
    __builtin_memcpy(&word, w, 2);
    return chosen(word);
}

/* sum + the chosen inputs, in pairs; `sum` is of int16_t for int8_t inputs. */
static ESNN_INLINE uint16x8_t add_pairs(uint16x8_t sum, uint8x16_t x, int is_signed) {
    return is_signed ? vreinterpretq_u16_s16(vpadalq_s8(vreinterpretq_s16_u16(sum), vreinterpretq_s8_u8(x)))
                     : vpadalq_u8(sum, x);
}

static ESNN_INLINE int32x4_t add_total(int32x4_t total, uint16x8_t sum, int is_signed) {
    return is_signed ? vpadalq_s16(total, vreinterpretq_s16_u16(sum))
                     : vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(total), sum));
}

/* The sums of the elements of four vectors. */
static ESNN_INLINE int32x4_t reduce4(const int32x4_t v[ROWS]) {
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* The sums of four vectors of pairs, at most MOST_VECTORS added to each, to four totals; they begin anew. */
static ESNN_INLINE void move_sums(int32x4_t total[ROWS], uint16x8_t sum[ROWS], int is_signed) {
    for (uint32_t r = 0; r < ROWS; r++) {
        total[r] = add_total(total[r], sum[r], is_signed);
        sum[r] = vdupq_n_u16(0);
    }
}

/* sum[r] += sixteen inputs that row r chooses, of four rows `stride` bytes apart. */
static ESNN_INLINE void add_rows(uint16x8_t sum[ROWS], const uint8_t *x, const uint8_t *w, size_t stride, int odd,
                                 int is_signed) {
    const uint8x16_t inputs = vld1q_u8(x);
    for (uint32_t r = 0; r < ROWS; r++, w += stride) {
        sum[r] = add_pairs(sum[r], vandq_u8(inputs, odd ? chosen(*w) : chosen2(w)), is_signed);
    }
}

/* sum[p] += sixteen inputs of patch p that a row chooses, of four patches `apart` bytes apart. */
static ESNN_INLINE void add_patches(uint16x8_t sum[ROWS], const uint8_t *x, size_t apart, uint8x16_t mask,
                                    int is_signed) {
    for (uint32_t p = 0; p < ROWS; p++, x += apart) {
        sum[p] = add_pairs(sum[p], vandq_u8(vld1q_u8(x), mask), is_signed);
    }
}

/* S of four rows of weights, `stride` bytes apart (0 takes one row four times), for one patch; with `apart`, of one row
 * for four patches. Which of the two is a constant where this is inlined. */
static ESNN_INLINE int32x4_t binary4(const uint8_t *x, size_t apart, const uint8_t *w, size_t stride,
                                     uint32_t row_bytes, int patches, int is_signed) {
    int32x4_t total[ROWS] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    uint16x8_t sum[ROWS] = {vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0)};
    for (uint32_t left = row_bytes / 2; left > 0;) {
        const uint32_t n = left < MOST_VECTORS - 1 ? left : MOST_VECTORS - 1; /* one more may follow */
        move_sums(total, sum, is_signed);
        for (const uint8_t *end = w + 2 * n; w != end; w += 2, x += LANES) {
            if (patches) {
                add_patches(sum, x, apart, chosen2(w), is_signed);
            } else {
                add_rows(sum, x, w, stride, 0, is_signed);
            }
        }
        left -= n;
    }
    if (row_bytes % 2 != 0 && patches) {
        add_patches(sum, x, apart, chosen(*w), is_signed);
    } else if (row_bytes % 2 != 0) {
        add_rows(sum, x, w, stride, 1, is_signed);
    }
    move_sums(total, sum, is_signed);
    return reduce4(total);
}

/* B: the inputs, n of them, with zeros up to whole vectors. */
static int32_t sum_inputs(const int16_t *patch, uint32_t n) {
    int32x4_t sum = vdupq_n_s32(0);
    for (uint32_t i = 0; i < n; i += 8) {
        sum = vpadalq_s16(sum, vld1q_s16(patch + i));
    }
    return vaddvq_s32(sum);
}

/* a[0], a[stride], ... = n elements of a vector. */
static ESNN_INLINE void put(int32_t *a, size_t stride, int32x4_t v, uint32_t n) {
    int32_t element[ROWS];
    vst1q_s32(element, v);
    for (uint32_t r = 0; r < n; r++) {
        a[r * stride] = element[r];
    }
}

static ESNN_INLINE void binary_rows(const uint8_t *x, int32_t all, const uint8_t *w, int32_t *a, uint32_t row_bytes,
                                    uint32_t outputs, size_t stride, int is_signed) {
    const int32x4_t b = vdupq_n_s32(all);
    for (; outputs >= ROWS; outputs -= ROWS, w += (size_t)ROWS * row_bytes, a += ROWS * stride) {
        const int32x4_t s = binary4(x, 0, w, row_bytes, row_bytes, 0, is_signed);
        put(a, stride, vsubq_s32(vaddq_s32(s, s), b), ROWS);
    }
    for (; outputs > 0; outputs--, w += row_bytes, a += stride) {
        const int32x4_t s = binary4(x, 0, w, 0, row_bytes, 0, is_signed);
        put(a, stride, vsubq_s32(vaddq_s32(s, s), b), 1);
    }
}

/* a[o*stride] = W[o] . patch, which is overwritten, for all o. */
static void binary_dot(int16_t *patch, esnn_format format, const uint8_t *w, int32_t *a, uint32_t fan_in,
                       uint32_t outputs, size_t stride) {
    const int32_t all = sum_inputs(patch, fan_in);
    const uint8_t *x = (const uint8_t *)patch;
    narrow(patch, fan_in);
    if (format == ESNN_U8) {
        binary_rows(x, all, w, a, (fan_in + 7) / 8, outputs, stride, 0);
    } else {
        binary_rows(x, all, w, a, (fan_in + 7) / 8, outputs, stride, 1);
    }
}

/* The same for four patches, `apart` elements apart, into a[o*stride] to a[o*stride + 3]. */
static ESNN_INLINE void binary_patches(const uint8_t *x, size_t apart, int32x4_t all, const uint8_t *w, int32_t *a,
                                       uint32_t row_bytes, uint32_t outputs, size_t stride, int is_signed) {
    for (; outputs > 0; outputs--, w += row_bytes, a += stride) {
        const int32x4_t s = binary4(x, 2 * apart, w, 0, row_bytes, 1, is_signed);
        vst1q_s32(a, vsubq_s32(vaddq_s32(s, s), all));
    }
}

static void binary_dot_patches(int16_t *patches, uint32_t apart, esnn_format format, const uint8_t *w, int32_t *a,
                               uint32_t fan_in, uint32_t outputs, size_t stride) {
    const uint8_t *x = (const uint8_t *)patches;
    int32_t all[ROWS];
    for (uint32_t p = 0; p < ROWS; p++) {
        all[p] = sum_inputs(patches + p * apart, fan_in);
        narrow(patches + p * apart, fan_in);
    }
    if (format == ESNN_U8) {
        binary_patches(x, apart, vld1q_s32(all), w, a, (fan_in + 7) / 8, outputs, stride, 0);
    } else {
        binary_patches(x, apart, vld1q_s32(all), w, a, (fan_in + 7) / 8, outputs, stride, 1);
    }
}

/* Four rows of int8 weights times the patch. */
static int32x4_t dot4(const int16_t *patch, const int8_t *w, size_t stride, uint32_t fan_in) {
    const uint32_t whole = fan_in / LANES * LANES;
    int32x4_t sum[ROWS] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    int32_t rest[ROWS] = {0};
    for (uint32_t i = 0; i < whole; i += LANES) {
        const int16x8_t low = vld1q_s16(patch + i), high = vld1q_s16(patch + i + 8);
        for (uint32_t r = 0; r < ROWS; r++) {
            const int8x16_t bytes = vld1q_s8(w + r * stride + i);
            const int16x8_t w0 = vmovl_s8(vget_low_s8(bytes)), w1 = vmovl_high_s8(bytes);
            sum[r] = vmlal_s16(sum[r], vget_low_s16(low), vget_low_s16(w0));
            sum[r] = vmlal_high_s16(sum[r], low, w0);
            sum[r] = vmlal_s16(sum[r], vget_low_s16(high), vget_low_s16(w1));
            sum[r] = vmlal_high_s16(sum[r], high, w1);
        }
    }
    for (uint32_t i = whole; i < fan_in; i++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            rest[r] += patch[i] * w[r * stride + i];
        }
    }
    return vaddq_s32(reduce4(sum), vld1q_s32(rest));
}

static void dot(const int16_t *patch, const int8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs, size_t stride) {
    for (; outputs >= ROWS; outputs -= ROWS, w += (size_t)ROWS * fan_in, a += ROWS * stride) {
        put(a, stride, dot4(patch, w, fan_in, fan_in), ROWS);
    }
    for (; outputs > 0; outputs--, w += fan_in, a += stride) {
        put(a, stride, dot4(patch, w, 0, fan_in), 1);
    }
}

void esnn_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                 uint32_t outputs) {
    esnn_patch_row(x, format, patch, inputs);
    dot(patch, w, a, inputs, outputs, 1);
}

void esnn_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    esnn_patch_row(x, format, patch, inputs);
    binary_dot(patch, format, w, a, inputs, outputs, 1);
}

void esnn_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, const esnn_window *g) {
    const uint32_t pixels = g->out_height * g->out_width, fan_in = g->channels * g->kernel_height * g->kernel_width;
    for (uint32_t p = 0; p < pixels; p++) {
        esnn_patch_window(x, format, patch, g, p / g->out_width, p % g->out_width);
        dot(patch, w, a + p, fan_in, g->out_channels, pixels);
    }
}

void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    /* W (O,ceil(C*kh*kw/8)) bits @ patch (C*kh*kw,) -> a (O,P), four pixels at a time */
    const uint32_t pixels = g->out_height * g->out_width, fan_in = g->channels * g->kernel_height * g->kernel_width;
    const uint32_t apart = ESNN_PATCH(fan_in), fours = pixels / ROWS * ROWS;
    for (uint32_t p = 0; p < pixels; p++) {
        int16_t *const to = p < fours ? patch + p % ROWS * apart : patch;
        esnn_patch_window(x, format, to, g, p / g->out_width, p % g->out_width);
        if (p >= fours) {
            binary_dot(patch, format, w, a + p, fan_in, g->out_channels, pixels);
        } else if (p % ROWS == ROWS - 1) {
            binary_dot_patches(patch, apart, format, w, a + p - (ROWS - 1), fan_in, g->out_channels, pixels);
        }
    }
}

#endif
