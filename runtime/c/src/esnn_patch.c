/* Widening of inputs and the two dot products, with int8 and with 1-bit weights. */
#include "esnn_patch.h"

#include "esnn_memory.h"

static int16_t load(const void *x, esnn_format format, uint32_t i) {
    return format == ESNN_U8 ? (int16_t)((const uint8_t *)x)[i] : (int16_t)((const int8_t *)x)[i];
}

static void pad(int16_t *patch, uint32_t n) {
    memset(patch + n, 0, (ESNN_PATCH(n) - n) * sizeof *patch);
}

void esnn_patch_row(const void *x, esnn_format format, int16_t *patch, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        patch[i] = load(x, format, i);
    }
    pad(patch, n);
}

void esnn_patch_window(const void *x, esnn_format format, int16_t *patch, const esnn_window *g, uint32_t row,
                       uint32_t column) {
    uint32_t n = 0;
    for (uint32_t c = 0; c < g->channels; c++) {
        for (uint32_t i = 0; i < g->kernel_height; i++) {
            /* Unsigned: a position above or left of the image wraps around and is outside as well. */
            const uint32_t h = row * g->stride_height + i - g->padding_top;
            for (uint32_t j = 0; j < g->kernel_width; j++, n++) {
                const uint32_t w = column * g->stride_width + j - g->padding_left;
                const int inside = h < g->height && w < g->width;
                patch[n] = inside ? load(x, format, (c * g->height + h) * g->width + w) : 0;
            }
        }
    }
    pad(patch, n);
}

void esnn_patch_dot(const int16_t *patch, const int8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                    uint32_t stride) {
    for (uint32_t o = 0; o < outputs; o++, w += fan_in) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < fan_in; i++) {
            sum += patch[i] * w[i];
        }
        a[o * stride] = sum;
    }
}

/* table[b] = sum over 4 inputs of (bit j of b set ? x[j] : -x[j]): each entry is one addition away from an earlier one.
 */
static void signed_sums(const int16_t *x, int16_t *table) {
    table[0] = (int16_t)(-x[0] - x[1] - x[2] - x[3]);
    for (uint32_t j = 0; j < 4; j++) {
        for (uint32_t b = 0; b < 1u << j; b++) {
            table[(1u << j) + b] = (int16_t)(table[b] + 2 * x[j]);
        }
    }
}

/* Eight (sixteen) weights and their inputs are two (four) table entries; the tables serve all outputs. Inputs beyond
 * the fan-in are zero, so their weights do not count. */
void esnn_patch_binary_dot(const int16_t *patch, const uint8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                           uint32_t stride) {
    const uint32_t row_bytes = (fan_in + 7) / 8;
    int16_t table[4][16];

    for (uint32_t o = 0; o < outputs; o++) {
        a[o * stride] = 0;
    }

    uint32_t i = 0;
    for (; i + 2 <= row_bytes; i += 2) {
        for (uint32_t j = 0; j < 4; j++) {
            signed_sums(patch + 8 * i + 4 * j, table[j]);
        }
        const uint8_t *bits = w + i;
        for (uint32_t o = 0; o < outputs; o++, bits += row_bytes) {
            a[o * stride] +=
                table[0][bits[0] & 15] + table[1][bits[0] >> 4] + table[2][bits[1] & 15] + table[3][bits[1] >> 4];
        }
    }
    if (i < row_bytes) {
        signed_sums(patch + 8 * i, table[0]);
        signed_sums(patch + 8 * i + 4, table[1]);
        const uint8_t *bits = w + i;
        for (uint32_t o = 0; o < outputs; o++, bits += row_bytes) {
            a[o * stride] += table[0][bits[0] & 15] + table[1][bits[0] >> 4];
        }
    }
}
