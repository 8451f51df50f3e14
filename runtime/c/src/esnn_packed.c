/* Synapses with weights of 2 and 4 bits.
 *
 * A word holds a field w + 2^(bits-1) for each of so many outputs, the first in its lowest bits; outputs come in blocks
 * of a word, and a block holds a word for each input. Two fields that are 16 bits apart are multiplied at once: sums of
 * products have the room of 16 bits each for CHUNK inputs. What was added to the weights is taken off at the end.
 */
#define ESNN_NAMED_PORTABLE
#include "esnn_arith.h"
#include "esnn_grouped.h"
#include "esnn_patch.h"
#include "esnn_x86.h"

#if !ESNN_DSP && !ESNN_NEON

#define FIELDS(bits) (32u / (bits)) /* of a word */
#define MASK(bits) ((bits) == 4 ? 0x000f000fu : 0x00030003u)
#define CHUNK(bits) ((bits) == 4 ? 16u : 64u) /* 255*15*16 and 255*3*64 are below 2^16, with 128 for 255 below 2^15 */

/* sum[o] = the fields of output o times x, for a block. `bits` and `is_signed` are constants where this is inlined. */
static ESNN_INLINE void block(const int16_t *x, uint32_t inputs, const uint32_t *w, int32_t *sum, uint32_t bits,
                              int is_signed) {
    const uint32_t pairs = FIELDS(bits) / 2;
    for (uint32_t o = 0; o < FIELDS(bits); o++) {
        sum[o] = 0;
    }
    while (inputs > 0) {
        const uint32_t n = inputs < CHUNK(bits) ? inputs : CHUNK(bits);
        uint32_t both[8] = {0};
        ESNN_ONE_TURN
        for (const int16_t *end = x + n; x != end; x++, w++) {
            const uint32_t value = (uint32_t)(int32_t)*x, word = *w;
            for (uint32_t k = 0; k < pairs; k++) {
                both[k] += value * (word >> bits * k & MASK(bits));
            }
        }
        for (uint32_t k = 0; k < pairs; k++) {
            const int32_t low = is_signed ? esnn_low16((int32_t)both[k]) : (int32_t)(both[k] & 0xffffu);
            const uint32_t rest = both[k] - (uint32_t)low;
            sum[k] += low;
            sum[k + pairs] += is_signed ? esnn_asr32((int32_t)rest, 16) : (int32_t)(rest >> 16);
        }
        inputs -= n;
    }
}

/* a[o*stride] = W[o] . patch for all o. */
static void dots(const int16_t *patch, uint32_t fan_in, const uint32_t *w, uint32_t bits, esnn_format format,
                 int32_t *a, uint32_t outputs, uint32_t stride) {
    int32_t sum[16], total = 0;
    for (uint32_t i = 0; i < fan_in; i++) {
        total += patch[i];
    }
    for (; outputs > 0; w += fan_in) {
        const uint32_t n = outputs < FIELDS(bits) ? outputs : FIELDS(bits);
        if (bits == 4 && format == ESNN_U8) {
            block(patch, fan_in, w, sum, 4, 0);
        } else if (bits == 4) {
            block(patch, fan_in, w, sum, 4, 1);
        } else if (format == ESNN_U8) {
            block(patch, fan_in, w, sum, 2, 0);
        } else {
            block(patch, fan_in, w, sum, 2, 1);
        }
        for (uint32_t o = 0; o < n; o++, a += stride) {
            *a = sum[o] - total * (1 << (bits - 1));
        }
        outputs -= n;
    }
}

void esnn_packed_linear(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    esnn_patch_row(x, format, patch, inputs);
    dots(patch, inputs, w, bits, format, a, outputs, 1);
}

void esnn_packed_conv2d(const void *x, esnn_format format, const uint32_t *w, uint32_t bits, int16_t *patch, int32_t *a,
                        const esnn_grouped_window *g) {
    /* W (O,C/groups*kh*kw) @ windows of x (C,H,W) -> a (O,P), a pixel at a time */
    const esnn_window one = esnn_one_group(g);
    const uint32_t pixels = one.out_height * one.out_width,
                   fan_in = one.channels * one.kernel_height * one.kernel_width;
    const uint32_t blocks = (one.out_channels + FIELDS(bits) - 1) / FIELDS(bits);
    const uint8_t *from = x;
    for (uint32_t n = 0; n < g->groups; n++) {
        for (uint32_t p = 0; p < pixels; p++) {
            esnn_patch_group(from, format, patch, g, p / one.out_width, p % one.out_width);
            dots(patch, fan_in, w, bits, format, a + p, one.out_channels, pixels);
        }
        from += one.channels * one.height * one.width;
        w += blocks * fan_in;
        a += one.out_channels * pixels;
    }
}

#endif
