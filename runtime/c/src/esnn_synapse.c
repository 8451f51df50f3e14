/* Linear and convolutional synapses: the portable kernels, the reference of every variant. */
#define ESNN_NAMED_PORTABLE
#include "esnn_patch.h"
#include "esnn_table.h"
#include "esnn_x86.h"

#if !ESNN_DSP && !ESNN_NEON

void esnn_linear(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, uint32_t inputs,
                 uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    esnn_patch_row(x, format, patch, inputs);
    esnn_patch_dot(patch, w, a, inputs, outputs, 1);
}

void esnn_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,ceil(C/8)) bits @ x (C,) -> a (O,) */
    if (outputs >= ESNN_TABLE_OUTPUTS) {
        esnn_table_linear(x, format, w, (uint32_t *)(void *)patch, a, inputs, outputs);
        return;
    }
    esnn_patch_row(x, format, patch, inputs);
    esnn_patch_binary_dot(patch, w, a, inputs, outputs, 1);
}

static uint32_t fan_in(const esnn_window *g) {
    return g->channels * g->kernel_height * g->kernel_width;
}

void esnn_conv2d(const void *x, esnn_format format, const int8_t *w, int16_t *patch, int32_t *a, const esnn_window *g) {
    /* W (O,C*kh*kw) @ patch (C*kh*kw,) -> a (O,P), two pixels at a time */
    const uint32_t pixels = g->out_height * g->out_width, n = fan_in(g);
    int16_t *second = patch + ESNN_PATCH(n);
    for (uint32_t p = 0; p < pixels; p += 2) {
        esnn_patch_window(x, format, patch, g, p / g->out_width, p % g->out_width);
        if (p + 1 < pixels) {
            esnn_patch_window(x, format, second, g, (p + 1) / g->out_width, (p + 1) % g->out_width);
            esnn_patch_dot_pair(patch, second, w, a + p, n, g->out_channels, pixels);
        } else {
            esnn_patch_dot(patch, w, a + p, n, g->out_channels, pixels);
        }
    }
}

void esnn_binary_conv2d(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        const esnn_window *g) {
    /* W (O,ceil(C*kh*kw/8)) bits @ patch (C*kh*kw,) -> a (O,P), two pixels at a time */
    const uint32_t pixels = g->out_height * g->out_width, n = fan_in(g);
    int16_t *second = patch + ESNN_PATCH(n);
    if (esnn_table_conv_pays(g)) {
        esnn_table_conv2d(x, format, w, (uint32_t *)(void *)patch, a, g);
        return;
    }
    for (uint32_t p = 0; p < pixels; p += 2) {
        esnn_patch_window(x, format, patch, g, p / g->out_width, p % g->out_width);
        if (p + 1 < pixels) {
            esnn_patch_window(x, format, second, g, (p + 1) / g->out_width, (p + 1) % g->out_width);
            esnn_patch_binary_dot_pair(patch, second, w, a + p, n, g->out_channels, pixels);
        } else {
            esnn_patch_binary_dot(patch, w, a + p, n, g->out_channels, pixels);
        }
    }
}

#endif
