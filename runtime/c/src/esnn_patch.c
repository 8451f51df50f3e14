/* Gathering the inputs of a synapse, and the dot products with 1-bit weights. */
#include "esnn_patch.h"

#include "esnn_arith.h"

/* What a byte of x stands for: flip is 0 for uint8_t and 0x80 for int8_t. */
static inline int16_t widened(uint8_t byte, int32_t flip) {
    return (int16_t)((byte ^ flip) - flip);
}

static inline void widen(const uint8_t *x, int32_t flip, int16_t *to, uint32_t n) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = widened(x[i], flip);
    }
}

static ESNN_NOINLINE void zero(int16_t *to, uint32_t n) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = 0;
    }
}

void esnn_patch_row(const void *x, esnn_format format, int16_t *patch, uint32_t n) {
    if (format == ESNN_U8) {
        widen(x, 0, patch, n);
    } else {
        widen(x, 0x80, patch, n);
    }
    zero(patch + n, ESNN_PATCH(n) - n);
}

/* Rows of three columns, by far the most frequent. */
static ESNN_NOINLINE void widen_rows3(const uint8_t *x, int32_t flip, int16_t *to, uint32_t width, uint32_t rows) {
    ESNN_ONE_TURN
    for (; rows > 0; rows--, x += width, to += 3) {
        to[0] = widened(x[0], flip);
        to[1] = widened(x[1], flip);
        to[2] = widened(x[2], flip);
    }
}

/* Rows of the columns inside the image, with zeros around. */
static ESNN_NOINLINE void widen_rows(const uint8_t *x, int32_t flip, int16_t *to, uint32_t width, uint32_t rows,
                                     uint32_t kernel, esnn_span columns) {
    for (; rows > 0; rows--, x += width, to += kernel) {
        zero(to, columns.first);
        widen(x, flip, to + columns.first, columns.last - columns.first);
        zero(to + columns.last, kernel - columns.last);
    }
}

static int16_t *widen_window(const uint8_t *x, int32_t flip, int16_t *to, const esnn_window *g, uint32_t row,
                             uint32_t column) {
    const uint32_t top = row * g->stride_height, left = column * g->stride_width, kernel = g->kernel_width;
    const esnn_span rows = esnn_inside(top, g->kernel_height, g->padding_top, g->height);
    const esnn_span columns = esnn_inside(left, kernel, g->padding_left, g->width);

    if (rows.first < rows.last && columns.first < columns.last) {
        x += (top + rows.first - g->padding_top) * g->width + left + columns.first - g->padding_left;
    }
    for (uint32_t c = 0; c < g->channels; c++, x += g->height * g->width, to += g->kernel_height * kernel) {
        zero(to, rows.first * kernel);
        if (kernel == 3 && columns.first == 0 && columns.last == 3) {
            widen_rows3(x, flip, to + rows.first * 3, g->width, rows.last - rows.first);
        } else {
            widen_rows(x, flip, to + rows.first * kernel, g->width, rows.last - rows.first, kernel, columns);
        }
        zero(to + rows.last * kernel, (g->kernel_height - rows.last) * kernel);
    }
    return to;
}

void esnn_patch_window(const void *x, esnn_format format, int16_t *patch, const esnn_window *g, uint32_t row,
                       uint32_t column) {
    const int16_t *end = widen_window(x, format == ESNN_U8 ? 0 : 0x80, patch, g, row, column);
    const uint32_t n = (uint32_t)(end - patch);
    zero(patch + n, ESNN_PATCH(n) - n);
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
