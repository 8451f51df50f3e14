/* Synapses with int8 weights for the Arm DSP extension: SMLAD adds two products of 16-bit halves at once.
 *
 * SXTB16 widens bytes 0 and 2, or 1 and 3, of a word of weights, so the inputs of a patch are kept in that order:
 * x0 x2 x1 x3, x4 x6 x5 x7, ...
 */
#include "esnn_dsp.h"

#if ESNN_DSP && !ESNN_MVE
#include "esnn_patch.h"

static uint32_t words_of(uint32_t fan_in) {
    return (fan_in + 3) / 4;
}

/* x0 x1 x2 x3 -> x0 x2 x1 x3, in place. */
static void pair(int16_t *patch, uint32_t words) {
    ESNN_ONE_TURN
    for (int16_t *end = patch + 4 * words; patch != end; patch += 4) {
        const int16_t x1 = patch[1];
        patch[1] = patch[2];
        patch[2] = x1;
    }
}

/* sum + the four products of a word of weights with even = x0 x2 and odd = x1 x3. */
static inline int32_t dot_word(uint32_t w, uint32_t even, uint32_t odd, int32_t sum) {
    sum = __smlad(__sxtb16((int8x4_t)w), (int16x2_t)even, sum);
    return __smlad(__sxtb16((int8x4_t)(w >> 8 | w << 24)), (int16x2_t)odd, sum);
}

/* One row of W. */
static int32_t dot1(const uint32_t *x, const int8_t *w, uint32_t fan_in) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < fan_in / 4; i++, x += 2, w += 4) {
        sum = dot_word(esnn_load4(w), x[0], x[1], sum);
    }
    return fan_in % 4 != 0 ? dot_word(esnn_load_tail(w, fan_in % 4), x[0], x[1], sum) : sum;
}

/* Four rows of W, which share the loads of the inputs. */
static void dot4(const uint32_t *x, const int8_t *w, uint32_t fan_in, int32_t *a) {
    const uint32_t *end = x + fan_in / 4 * 2, tail = fan_in % 4;
    int32_t sum[4] = {0, 0, 0, 0};
    const uint8_t *rest = esnn_dsp_rows4(x, end, (const uint8_t *)w, fan_in, sum);
    for (uint32_t r = 0; r < 4; r++, rest += fan_in) {
        a[r] = tail != 0 ? dot_word(esnn_load_tail(rest, tail), end[0], end[1], sum[r]) : sum[r];
    }
}

/* Two rows of W for two patches: a[0], a[1] and a[stride], a[stride + 1]. Widening serves two patches. */
static void dot2x2(const uint32_t *x, const uint32_t *y, const int8_t *w, uint32_t fan_in, int32_t *a,
                   uint32_t stride) {
    const uint32_t words = fan_in / 4 * 2, tail = fan_in % 4;
    int32_t sum[4] = {0, 0, 0, 0};
    const uint8_t *rest = esnn_dsp_rows2x2(x, y, x + words, (const uint8_t *)w, fan_in, sum);
    for (uint32_t r = 0; r < 2; r++, rest += fan_in, a += stride) {
        const uint32_t last = tail != 0 ? esnn_load_tail(rest, tail) : 0;
        a[0] = tail != 0 ? dot_word(last, x[words], x[words + 1], sum[r]) : sum[r];
        a[1] = tail != 0 ? dot_word(last, y[words], y[words + 1], sum[2 + r]) : sum[2 + r];
    }
}

void esnn_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                 uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    uint32_t *pairs = (uint32_t *)(void *)patch;
    esnn_patch_row(x, format, patch, inputs);
    pair(patch, words_of(inputs));
    for (; outputs >= 4; outputs -= 4, w += 4 * inputs, a += 4) {
        dot4(pairs, w, inputs, a);
    }
    for (; outputs > 0; outputs--, w += inputs) {
        *a++ = dot1(pairs, w, inputs);
    }
}

void esnn_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, const esnn_window *g) {
    /* W (O,C*kh*kw) @ patch (C*kh*kw,) -> a (O,P), two pixels at a time; the second of an odd last pair is not kept */
    const uint32_t pixels = g->out_height * g->out_width, n = g->channels * g->kernel_height * g->kernel_width;
    uint32_t *first = (uint32_t *)(void *)patch, *second = (uint32_t *)(void *)(patch + ESNN_PATCH(n));
    for (uint32_t p = 0; p < pixels; p += 2) {
        const uint32_t pair_of_pixels = p + 1 < pixels;
        esnn_patch_window(x, format, patch, g, p / g->out_width, p % g->out_width);
        pair(patch, words_of(n));
        if (pair_of_pixels) {
            esnn_patch_window(x, format, patch + ESNN_PATCH(n), g, (p + 1) / g->out_width, (p + 1) % g->out_width);
            pair(patch + ESNN_PATCH(n), words_of(n));
        }
        uint32_t o = pair_of_pixels ? g->out_channels / 2 * 2 : 0;
        for (uint32_t i = 0; i < o; i += 2) {
            dot2x2(first, second, w + i * n, n, a + i * pixels + p, pixels);
        }
        for (; o < g->out_channels; o++) {
            a[o * pixels + p] = dot1(first, w + o * n, n);
            if (pair_of_pixels) {
                a[o * pixels + p + 1] = dot1(second, w + o * n, n);
            }
        }
    }
}

#endif
