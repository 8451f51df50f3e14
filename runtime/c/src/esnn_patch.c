/* Gathering the inputs of a synapse, and the dot products with int8 and with 1-bit weights. */
#include "esnn_patch.h"

#include "esnn_arith.h"
#include "esnn_memory.h"

/* to[0..n) = x[start..start + n), widened. */
static void widen(const void *x, esnn_format format, uint32_t start, int16_t *to, uint32_t n) {
    if (format == ESNN_U8) {
        const uint8_t *from = (const uint8_t *)x + start;
        ESNN_ONE_TURN
        for (uint32_t i = 0; i < n; i++) {
            to[i] = from[i];
        }
    } else {
        const int8_t *from = (const int8_t *)x + start;
        ESNN_ONE_TURN
        for (uint32_t i = 0; i < n; i++) {
            to[i] = from[i];
        }
    }
}

static void zero(int16_t *to, uint32_t n) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = 0;
    }
}

void esnn_patch_row(const void *x, esnn_format format, int16_t *patch, uint32_t n) {
    widen(x, format, 0, patch, n);
    zero(patch + n, ESNN_PATCH(n) - n);
}

void esnn_patch_window(const void *x, esnn_format format, int16_t *patch, const esnn_window *g, uint32_t row,
                       uint32_t column) {
    /* Columns [first, last) of the window are inside the image; left is its left edge in padded coordinates. */
    const uint32_t kernel = g->kernel_width, left = column * g->stride_width, end = g->width + g->padding_left;
    const uint32_t outside = g->padding_left > left ? g->padding_left - left : 0;
    const uint32_t first = outside < kernel ? outside : kernel;
    const uint32_t inside = end > left ? end - left : 0;
    const uint32_t last = inside < kernel ? inside : kernel;
    int16_t *to = patch;

    for (uint32_t c = 0; c < g->channels; c++) {
        for (uint32_t i = 0; i < g->kernel_height; i++, to += kernel) {
            /* Unsigned: a row above the image wraps around and is outside as well. */
            const uint32_t h = row * g->stride_height + i - g->padding_top;
            if (h >= g->height || first >= last) {
                zero(to, kernel);
                continue;
            }
            zero(to, first);
            widen(x, format, (c * g->height + h) * g->width + left + first - g->padding_left, to + first, last - first);
            zero(to + last, kernel - last);
        }
    }
    const uint32_t n = g->channels * g->kernel_height * kernel;
    zero(to, ESNN_PATCH(n) - n);
}

/* Four rows of W, which share the loads of the inputs. */
static ESNN_NOINLINE void dot4(const int16_t *patch, const int8_t *w, uint32_t fan_in, int32_t *a, uint32_t stride) {
    const uint32_t row1 = fan_in, row2 = 2 * fan_in, row3 = 3 * fan_in;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < fan_in; i++, w++) {
        const int32_t x = patch[i];
        sum0 += x * w[0];
        sum1 += x * w[row1];
        sum2 += x * w[row2];
        sum3 += x * w[row3];
    }
    a[0] = sum0;
    a[stride] = sum1;
    a[2 * stride] = sum2;
    a[3 * stride] = sum3;
}

void esnn_patch_dot(const int16_t *patch, const int8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                    uint32_t stride) {
    for (; outputs >= 4; outputs -= 4, w += 4 * fan_in, a += 4 * stride) {
        dot4(patch, w, fan_in, a, stride);
    }
    for (; outputs > 0; outputs--, w += fan_in, a += stride) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < fan_in; i++) {
            sum += patch[i] * w[i];
        }
        *a = sum;
    }
}

/* 1-bit weights: eight of a row are two indices into tables of all signed sums of four inputs. Tables for two bytes of
 * the rows are filled at a time and serve every output. Inputs beyond the fan-in are zero, so that what their bits say
 * does not matter. */
typedef struct {
    int32_t sum[4][16];
} tables;

/* sum[j][b] = sum over n of (bit n of b set ? x[4j + n] : -x[4j + n]): one addition away from an earlier entry. */
static void fill(tables *t, const int32_t *x) {
    for (uint32_t j = 0; j < 4; j++, x += 4) {
        int32_t *sum = t->sum[j];
        sum[0] = -x[0] - x[1] - x[2] - x[3];
        for (uint32_t n = 0; n < 4; n++) {
            for (uint32_t b = 0; b < 1u << n; b++) {
                sum[(1u << n) + b] = sum[b] + 2 * x[n];
            }
        }
    }
}

static inline int32_t look_up1(const tables *t, const uint8_t *bits) {
    return t->sum[0][bits[0] & 15] + t->sum[1][bits[0] >> 4];
}

static inline int32_t look_up2(const tables *t, const uint8_t *bits) {
    return look_up1(t, bits) + t->sum[2][bits[1] & 15] + t->sum[3][bits[1] >> 4];
}

/* a[o*stride] += the sums of one or two bytes of each row. */
static ESNN_NOINLINE void accumulate(const tables *t, const uint8_t *bits, uint32_t row_bytes, int whole, int32_t *a,
                                     uint32_t outputs, uint32_t stride) {
    if (whole) {
        ESNN_ONE_TURN
        for (; outputs > 0; outputs--, bits += row_bytes, a += stride) {
            *a += look_up2(t, bits);
        }
    } else {
        ESNN_ONE_TURN
        for (; outputs > 0; outputs--, bits += row_bytes, a += stride) {
            *a += look_up1(t, bits);
        }
    }
}

static void clear(int32_t *a, uint32_t outputs, uint32_t stride) {
    for (; outputs > 0; outputs--, a += stride) {
        *a = 0;
    }
}

void esnn_patch_binary_dot(const int16_t *patch, const uint8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                           uint32_t stride) {
    const uint32_t row_bytes = (fan_in + 7) / 8;
    clear(a, outputs, stride);
    for (uint32_t i = 0; i < row_bytes; i += 2) {
        tables t;
        int32_t x[16];
        for (uint32_t n = 0; n < 16; n++) {
            x[n] = patch[8 * i + n];
        }
        fill(&t, x);
        accumulate(&t, w + i, row_bytes, i + 1 < row_bytes, a, outputs, stride);
    }
}

/* a[0] and a[1] += the two halves of a sum. */
static inline void add_pair(int32_t *a, int32_t sum) {
    const int32_t low = esnn_low16(sum);
    a[0] += low;
    a[1] += esnn_asr32(sum - low, 16);
}

static ESNN_NOINLINE void accumulate_pair(const tables *t, const uint8_t *bits, uint32_t row_bytes, int whole,
                                          int32_t *a, uint32_t outputs, uint32_t stride) {
    if (whole) {
        ESNN_ONE_TURN
        for (; outputs > 0; outputs--, bits += row_bytes, a += stride) {
            add_pair(a, look_up2(t, bits));
        }
    } else {
        ESNN_ONE_TURN
        for (; outputs > 0; outputs--, bits += row_bytes, a += stride) {
            add_pair(a, look_up1(t, bits));
        }
    }
}

/* Two patches are packed as x0 + 2^16*x1: a sum over sixteen inputs of 8 bits fits 16 bits. */
void esnn_patch_binary_dot_pair(const int16_t *patch0, const int16_t *patch1, const uint8_t *w, int32_t *a,
                                uint32_t fan_in, uint32_t outputs, uint32_t stride) {
    const uint32_t row_bytes = (fan_in + 7) / 8;
    clear(a, outputs, stride);
    clear(a + 1, outputs, stride);
    for (uint32_t i = 0; i < row_bytes; i += 2) {
        tables t;
        int32_t x[16];
        for (uint32_t n = 0; n < 16; n++) {
            x[n] = patch0[8 * i + n] + patch1[8 * i + n] * 65536;
        }
        fill(&t, x);
        accumulate_pair(&t, w + i, row_bytes, i + 1 < row_bytes, a, outputs, stride);
    }
}
