/* Convolutions with 1-bit weights for the Arm DSP extension: four neighbouring pixels of a row at a time.
 *
 * Bytes are unsigned: b = x + z, with z = 0 for uint8_t and z = 128 for int8_t. A mask m holds 255 in each byte whose
 * weight is +1, else 0; USADA8 adds up |b - m|, which is 255 - b or b. With N weights of +1 in a row of n:
 *   sum of w*b = 255*N - sum of |b - m|,   sum of w*x = sum of w*b - z*(2N - n).
 * A mask serves four pixels. Inputs are in blocks of 32 as in esnn_binary_dsp.c, but with bit 0 first and the words of
 * the four pixels side by side: word 4j + q of a block holds inputs 8l + j of pixel q in byte l.
 */
#include "esnn_dsp.h"

#if ESNN_DSP && !ESNN_MVE

enum { PIXELS = 4 };

/* Four pixels of an output row: the first column of their windows in the image, which may be outside. */
typedef struct {
    const uint8_t *x;
    const esnn_window *g;
    uint32_t row, column;
    uint32_t z;
} quad;

/* One byte of each pixel: input column `column + j` of four windows, 0 outside; h is inside the image. */
static uint32_t pixel_bytes(const quad *at, const uint8_t *row, uint32_t j) {
    const esnn_window *g = at->g;
    uint32_t word = 0;
    for (uint32_t q = 0; q < PIXELS; q++) {
        /* Unsigned: a column left of the image wraps around and is outside as well. */
        const uint32_t column = (at->column + q) * g->stride_width + j - g->padding_left;
        word |= column < g->width ? (uint32_t)row[column] << 8 * q : 0;
    }
    return word;
}

/* Where the bytes of kernel column j are for a stride of 1: one load, shifted to drop what is outside the image. */
typedef struct {
    uint32_t offset, left, right;
} source;

static source find(const quad *at, uint32_t j) {
    const uint32_t column = at->column + j, padding = at->g->padding_left, width = at->g->width;
    const uint32_t outside = padding > column ? padding - column : 0;
    const uint32_t start = column > padding ? column - padding : 0, last = width - PIXELS;
    const source from = {start < last ? start : last, 8 * outside, start > last ? 8 * (start - last) : 0};
    return from;
}

static int one_load_each(const quad *at, source from[3]) {
    const esnn_window *g = at->g;
    if (g->kernel_width != 3 || g->stride_width != 1 || g->width < PIXELS) {
        return 0;
    }
    for (uint32_t j = 0; j < 3; j++) {
        from[j] = find(at, j);
        if (from[j].left >= 32 || from[j].right >= 32) {
            return 0;
        }
    }
    return 1;
}

/* Rows of three columns, by far the most frequent. */
static ESNN_NOINLINE void gather3(const uint8_t *x, const source from[3], uint32_t z, uint32_t *to, uint32_t width,
                                  uint32_t rows) {
    const source s0 = from[0], s1 = from[1], s2 = from[2];
    ESNN_ONE_TURN
    for (; rows > 0; rows--, x += width, to += 3) {
        to[0] = (esnn_load4(x + s0.offset) << s0.left >> s0.right) ^ z;
        to[1] = (esnn_load4(x + s1.offset) << s1.left >> s1.right) ^ z;
        to[2] = (esnn_load4(x + s2.offset) << s2.left >> s2.right) ^ z;
    }
}

static void gather_columns(const quad *at, const uint8_t *row, uint32_t *to) {
    for (uint32_t j = 0; j < at->g->kernel_width; j++) {
        *to++ = pixel_bytes(at, row, j) ^ at->z;
    }
}

static ESNN_NOINLINE void fill(uint32_t *to, uint32_t z, uint32_t words) {
    ESNN_ONE_TURN
    for (; words > 0; words--) {
        *to++ = z;
    }
}

/* The inputs [C, kh, kw] of four pixels, a word each: byte q is that of pixel q. */
static void gather(const quad *at, uint32_t *to) {
    const esnn_window *g = at->g;
    const uint32_t columns = g->kernel_width, top = at->row * g->stride_height, end = g->height + g->padding_top;
    const uint32_t above = g->padding_top > top ? g->padding_top - top : 0;
    const uint32_t first = above < g->kernel_height ? above : g->kernel_height;
    const uint32_t until = end > top ? end - top : 0;
    const uint32_t last = until < first ? first : until < g->kernel_height ? until : g->kernel_height;
    const uint8_t *x = at->x + (first < last ? (top + first - g->padding_top) * g->width : 0);
    source from[3];
    const int fast = one_load_each(at, from);

    for (uint32_t c = 0; c < g->channels; c++, x += g->height * g->width, to += g->kernel_height * columns) {
        fill(to, at->z, first * columns);
        if (fast) {
            gather3(x, from, at->z, to + first * columns, g->width, last - first);
        } else {
            for (uint32_t i = first; i < last; i++) {
                gather_columns(at, x + (i - first) * g->width, to + i * columns);
            }
        }
        fill(to + last * columns, at->z, (g->kernel_height - last) * columns);
    }
}

/* Words of inputs -> blocks; block i may be written over words that come before those of block i. */
static ESNN_NOINLINE void make_blocks(const uint32_t *words, uint32_t *blocks, uint32_t count) {
    ESNN_ONE_TURN
    for (; count > 0; count--, words += 24) {
        ESNN_ONE_TURN
        for (const uint32_t *end = words + 8; words != end; words++, blocks += 4) {
            esnn_transpose4(words[0], words[8], words[16], words[24], blocks);
        }
    }
}

static uint32_t bits_set(uint32_t w) {
    w -= w >> 1 & 0x55555555u;
    w = (w & 0x33333333u) + (w >> 2 & 0x33333333u);
    return ((w + (w >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

/* What is left of a sum when no |b - m| is subtracted: 255*N - z*(2N - n). */
static int32_t constant(const uint8_t *w, uint32_t row_bytes, uint32_t z, uint32_t n) {
    int32_t set = 0;
    for (uint32_t i = 0; i < row_bytes; i++) {
        set += (int32_t)bits_set(w[i]);
    }
    return 255 * set - (int32_t)(z & 0xffu) * (2 * set - (int32_t)n);
}

static inline void subtract(int32_t *a, esnn_quad_sums sum, uint32_t pixels) {
    a[0] -= (int32_t)sum.pixel0;
    if (pixels == PIXELS) {
        a[1] -= (int32_t)sum.pixel1;
        a[2] -= (int32_t)sum.pixel2;
        a[3] -= (int32_t)sum.pixel3;
        return;
    }
    if (pixels > 1) {
        a[1] -= (int32_t)sum.pixel1;
    }
    if (pixels > 2) {
        a[2] -= (int32_t)sum.pixel2;
    }
}

/* a[o*stride + q] -= the sums of row o and pixel q over the blocks [x, end), for all rows. */
static ESNN_NOINLINE void whole_words(const uint32_t *x, const uint32_t *end, const uint8_t *w, uint32_t row_bytes,
                                      int32_t *a, uint32_t outputs, uint32_t stride, uint32_t pixels) {
    ESNN_ONE_TURN
    for (; outputs > 0; outputs--, a += stride, w += row_bytes) {
        subtract(a, esnn_dsp_masks(x, end, w), pixels);
    }
}

/* The same for the bytes of each row that fill no word; w is where they start in the first. */
static void rest_of_rows(const uint32_t *block, const uint8_t *w, uint32_t bytes, uint32_t row_bytes, int32_t *a,
                         uint32_t outputs, uint32_t stride, uint32_t pixels) {
    for (; outputs > 0; outputs--, a += stride, w += row_bytes) {
        const uint32_t word = esnn_load_tail(w, bytes);
        subtract(a, esnn_dsp_masks(block, block + 32, (const uint8_t *)&word), pixels);
    }
}

void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    /* W (O,ceil(C*kh*kw/8)) bits @ patch (C*kh*kw,) -> a (O,P) */
    const uint32_t pixels = g->out_height * g->out_width, n = g->channels * g->kernel_height * g->kernel_width;
    const uint32_t row_bytes = (n + 7) / 8, count = (n + 31) / 32;
    const uint32_t rest = row_bytes % 4;
    uint32_t *blocks = (uint32_t *)(void *)patch, *words = blocks + 32;
    const uint32_t *end = blocks + row_bytes / 4 * 32;
    quad at = {x, g, 0, 0, format == ESNN_U8 ? 0 : 0x80808080u};

    for (uint32_t o = 0; o < g->out_channels; o++) {
        const int32_t start = constant(w + o * row_bytes, row_bytes, at.z, 32 * count);
        for (uint32_t p = 0; p < pixels; p++) {
            a[o * pixels + p] = start;
        }
    }
    for (at.row = 0; at.row < g->out_height; at.row++) {
        for (at.column = 0; at.column < g->out_width; at.column += PIXELS, a += PIXELS) {
            const uint32_t left = g->out_width - at.column;
            gather(&at, words);
            fill(words + n, at.z, 32 * count - n);
            make_blocks(words, blocks, count);
            const uint32_t kept = left < PIXELS ? left : PIXELS;
            if (end != blocks) {
                whole_words(blocks, end, w, row_bytes, a, g->out_channels, pixels, kept);
            }
            if (rest != 0) {
                rest_of_rows(end, w + row_bytes - rest, rest, row_bytes, a, g->out_channels, pixels, kept);
            }
        }
        a -= (g->out_width + PIXELS - 1) / PIXELS * PIXELS - g->out_width;
    }
}

#endif
