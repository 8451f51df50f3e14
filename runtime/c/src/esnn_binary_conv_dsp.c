/* Convolutions with 1-bit weights for the Arm DSP extension: four neighbouring pixels of a row at a time.
 *
 * Bytes are unsigned: b = x + z, with z = 0 for uint8_t and z = 128 for int8_t. A mask m holds 255 in each byte whose
 * weight is +1, else 0; USADA8 adds up |b - m|, which is 255 - b or b. With N weights of +1 in a row of n:
 *   sum of w*b = 255*N - sum of |b - m|,   sum of w*x = sum of w*b - z*(2N - n).
 * A mask serves four pixels. Inputs are in blocks of 32 as in esnn_binary_dsp.c, but with bit 0 first and the words of
 * the four pixels side by side: word 4j + q of a block holds inputs 8l + j of pixel q in byte l.
 */
#include "esnn_dsp.h"
#include "esnn_patch.h"
#include "esnn_table.h"

#if ESNN_DSP && !ESNN_MVE

enum { PIXELS = 4 };

/* The input rows under a row of windows: [C, kh, width] bytes b, with the padding, and one more row of z for inputs
 * that fill a block. Windows of four pixels are beside each other, so the width goes as far as the last four reach. */
typedef struct {
    uint8_t *rows;
    uint32_t width;
    uint32_t z; /* four times */
} band;

static ESNN_NOINLINE void blank(uint8_t *to, uint32_t z, uint32_t n) {
    ESNN_ONE_TURN
    for (; n > 0; n--) {
        *to++ = (uint8_t)z;
    }
}

/* Rows of n bytes: `width` bytes apart in the image, `to_width` in the band. */
static ESNN_NOINLINE void copy_rows(uint8_t *to, uint32_t to_width, const uint8_t *x, uint32_t width, uint32_t z,
                                    uint32_t n, uint32_t rows) {
    ESNN_ONE_TURN
    for (; rows > 0; rows--, to += to_width, x += width) {
        uint32_t i = 0;
        ESNN_ONE_TURN
        for (; i + 4 <= n; i += 4) {
            esnn_store4(to + i, esnn_load4(x + i) ^ z);
        }
        ESNN_ONE_TURN
        for (; i < n; i++) {
            to[i] = (uint8_t)(x[i] ^ z);
        }
    }
}

/* `top` is where the windows start, in padded coordinates. The band holds z in the columns beside the image. */
static void fill_band(const band *to, const uint8_t *x, const esnn_window *g, uint32_t top) {
    const esnn_span rows = esnn_inside(top, g->kernel_height, g->padding_top, g->height);
    const esnn_span columns = esnn_inside(0, to->width, g->padding_left, g->width);
    const uint32_t n = columns.last - columns.first, count = rows.last - rows.first;
    uint8_t *channel = to->rows + columns.first;
    x += count > 0 ? (top + rows.first - g->padding_top) * g->width : 0;
    ESNN_ONE_TURN
    for (uint32_t c = 0; c < g->channels; c++, channel += g->kernel_height * to->width, x += g->height * g->width) {
        ESNN_ONE_TURN
        for (uint32_t i = 0; i < g->kernel_height; i++) {
            if (i < rows.first || i >= rows.last) {
                blank(channel + i * to->width, to->z, n);
            }
        }
        copy_rows(channel + rows.first * to->width, to->width, x, g->width, to->z, n, count);
    }
}

/* Where each input of a window is in a band, in the order of the blocks: input 8l + j at 4j + l. */
static void find_inputs(const esnn_window *g, uint32_t width, uint32_t count, uint32_t *offset) {
    const uint32_t n = g->channels * g->kernel_height * g->kernel_width;
    uint32_t row = 0, column = 0;
    for (uint32_t i = 0; i < 32 * count; i++) {
        offset[i / 32 * 32 + i % 8 * 4 + i / 8 % 4] = i < n ? row + column : g->channels * g->kernel_height * width;
        if (++column == g->kernel_width) {
            column = 0;
            row += width;
        }
    }
}

/* Blocks of the windows at `from` and the next three: every turn, four inputs of four pixels. */
static ESNN_NOINLINE void gather(const uint8_t *from, const uint32_t *offset, const uint32_t *end, uint32_t *blocks) {
    ESNN_ONE_TURN
    for (; offset != end; offset += 4, blocks += 4) {
        esnn_transpose4(esnn_load4(from + offset[0]), esnn_load4(from + offset[1]), esnn_load4(from + offset[2]),
                        esnn_load4(from + offset[3]), blocks);
    }
}

/* The same for windows that are `stride` apart. */
static ESNN_NOINLINE void gather_apart(const uint8_t *from, const uint32_t *offset, const uint32_t *end,
                                       uint32_t stride, uint32_t *blocks) {
    for (; offset != end; offset += 4, blocks += 4) {
        uint32_t word[4];
        for (uint32_t l = 0; l < 4; l++) {
            const uint8_t *x = from + offset[l];
            word[l] = x[0] | (uint32_t)x[stride] << 8 | (uint32_t)x[2 * stride] << 16 | (uint32_t)x[3 * stride] << 24;
        }
        esnn_transpose4(word[0], word[1], word[2], word[3], blocks);
    }
}

static uint32_t bits_set(uint32_t w) {
    w -= w >> 1 & 0x55555555u;
    w = (w & 0x33333333u) + (w >> 2 & 0x33333333u);
    return ((w + (w >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

/* What is left of a sum when no |b - m| is subtracted: 255*N - z*(2N - n). */
static int32_t constant(const uint8_t *w, uint32_t row_bytes, uint32_t z, uint32_t n) {
    uint32_t set = row_bytes % 4 != 0 ? bits_set(esnn_load_tail(w + row_bytes / 4 * 4, row_bytes % 4)) : 0;
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < row_bytes / 4; i++) {
        set += bits_set(esnn_load4(w + 4 * i));
    }
    return 255 * (int32_t)set - (int32_t)(z & 0xffu) * (2 * (int32_t)set - (int32_t)n);
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

/* A bit of every byte of r3 as a mask in r12, four words of inputs, and what they add to the sums r4 to r7. */
#define ADD_MASK(bit)                                                                                                  \
    "and r12, lr, r3, " bit "\n\t"                                                                                     \
    "ldmia r0!, {r8, r9, r10, r11}\n\t"                                                                                \
    "rsb r12, r12, r12, lsl #8\n\t"                                                                                    \
    "usada8 r4, r8, r12, r4\n\t"                                                                                       \
    "usada8 r5, r9, r12, r5\n\t"                                                                                       \
    "usada8 r6, r10, r12, r6\n\t"                                                                                      \
    "usada8 r7, r11, r12, r7\n\t"

/* a[q] -= the sums of a row and pixel q over the blocks [x, end), one at least; then a and w go on by `stride` and
 * `skip` bytes, for `outputs` rows. Naked, as it takes all registers: the stack holds x, end, skip, what is saved, and
 * the last three arguments. */
__attribute__((naked)) static void
four_pixels(__attribute__((unused)) const uint32_t *x, __attribute__((unused)) const uint32_t *end,
            __attribute__((unused)) const uint8_t *w, __attribute__((unused)) uint32_t skip,
            __attribute__((unused)) int32_t *a, __attribute__((unused)) uint32_t outputs,
            __attribute__((unused)) uint32_t stride) {
    __asm__ volatile("push {r0, r1, r3-r11, lr}\n\t"
                     "mov lr, #0x01010101\n"
                     "1:\n\t"
                     "ldr r0, [sp]\n\t"
                     "movs r4, #0\n\t"
                     "movs r5, #0\n\t"
                     "movs r6, #0\n\t"
                     "movs r7, #0\n"
                     "2:\n\t"
                     "ldr r3, [r2], #4\n\t" ADD_MASK("lsl #0") ADD_MASK("lsr #1") ADD_MASK("lsr #2") ADD_MASK("lsr #3")
                         ADD_MASK("lsr #4") ADD_MASK("lsr #5") ADD_MASK("lsr #6")
                             ADD_MASK("lsr #7") "cmp r0, r1\n\t"
                                                "bne 2b\n\t"
                                                "ldr r12, [sp, #48]\n\t"
                                                "ldm r12, {r8, r9, r10, r11}\n\t"
                                                "subs r8, r8, r4\n\t"
                                                "subs r9, r9, r5\n\t"
                                                "subs r10, r10, r6\n\t"
                                                "subs r11, r11, r7\n\t"
                                                "stm r12, {r8, r9, r10, r11}\n\t"
                                                "ldr r3, [sp, #56]\n\t"
                                                "add r12, r12, r3\n\t"
                                                "str r12, [sp, #48]\n\t"
                                                "ldr r3, [sp, #8]\n\t"
                                                "add r2, r2, r3\n\t"
                                                "ldr r3, [sp, #52]\n\t"
                                                "subs r3, r3, #1\n\t"
                                                "str r3, [sp, #52]\n\t"
                                                "bne 1b\n\t"
                                                "add sp, sp, #12\n\t"
                                                "pop {r4-r11, pc}");
}

/* a[o*stride + q] -= the sums of row o and pixel q over the blocks [x, end), for all rows. */
static ESNN_NOINLINE void whole_words(const uint32_t *x, const uint32_t *end, const uint8_t *w, uint32_t row_bytes,
                                      int32_t *a, uint32_t outputs, uint32_t stride, uint32_t pixels) {
    if (pixels == PIXELS) {
        four_pixels(x, end, w, row_bytes % 4, a, outputs, stride * (uint32_t)sizeof *a);
        return;
    }
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
    if (esnn_table_conv_pays(g)) {
        esnn_table_conv2d(x, format, w, (uint32_t *)(void *)patch, a, g);
        return;
    }
    const uint32_t pixels = g->out_height * g->out_width, n = g->channels * g->kernel_height * g->kernel_width;
    const uint32_t row_bytes = (n + 7) / 8, count = (n + 31) / 32, rest = row_bytes % 4, stride = g->stride_width;
    uint32_t *blocks = (uint32_t *)(void *)patch, *offset = blocks + 32 * count;
    const uint32_t *end = blocks + row_bytes / 4 * 32, *offset_end = offset + 32 * count;
    const band rows = {(uint8_t *)(offset + 32 * count), ESNN_BAND_WIDTH(g->out_width, stride, g->kernel_width),
                       format == ESNN_U8 ? 0 : 0x80808080u};

    find_inputs(g, rows.width, count, offset);
    blank(rows.rows, rows.z, (g->channels * g->kernel_height + 1) * rows.width);
    for (uint32_t o = 0; o < g->out_channels; o++) {
        const int32_t start = constant(w + o * row_bytes, row_bytes, rows.z, 32 * count);
        for (uint32_t p = 0; p < pixels; p++) {
            a[o * pixels + p] = start;
        }
    }
    for (uint32_t row = 0; row < g->out_height; row++, a += g->out_width) {
        fill_band(&rows, x, g, row * g->stride_height);
        for (uint32_t column = 0; column < g->out_width; column += PIXELS) {
            const uint32_t left = g->out_width - column, kept = left < PIXELS ? left : PIXELS;
            if (stride == 1) {
                gather(rows.rows + column, offset, offset_end, blocks);
            } else {
                gather_apart(rows.rows + column * stride, offset, offset_end, stride, blocks);
            }
            if (end != blocks) {
                whole_words(blocks, end, w, row_bytes, a + column, g->out_channels, pixels, kept);
            }
            if (rest != 0) {
                rest_of_rows(end, w + row_bytes - rest, rest, row_bytes, a + column, g->out_channels, pixels, kept);
            }
        }
    }
}

#endif
