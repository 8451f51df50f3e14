/* Inputs of a synapse, widened to int16_t: what dense and convolutional layers share. */
#ifndef ESNN_PATCH_H
#define ESNN_PATCH_H

#include "esnn_kernels.h"

/* The part of a window that is inside the image: [first, last). */
typedef struct {
    uint32_t first, last;
} esnn_span;

/* Of a window of `kernel` rows or columns that starts at `start`, in padded coordinates; first = last if there is none.
 */
static inline esnn_span esnn_inside(uint32_t start, uint32_t kernel, uint32_t padding, uint32_t size) {
    const uint32_t outside = padding > start ? padding - start : 0, end = size + padding;
    const uint32_t until = end > start ? end - start : 0;
    const esnn_span part = {outside < kernel ? outside : kernel, until < kernel ? until : kernel};
    const esnn_span none = {kernel, kernel};
    return part.first < part.last ? part : none;
}

/* patch[0..n) = x, followed by zeros up to ESNN_PATCH(n). */
void esnn_patch_row(const void *x, esnn_format format, int16_t *patch, uint32_t n);

/* patch = the window of output pixel (row, column) as [C, kh, kw], zero outside the image, followed by zeros. */
void esnn_patch_window(const void *x, esnn_format format, int16_t *patch, const esnn_window *g, uint32_t row,
                       uint32_t column);

/* a[o*stride] = W[o] . patch for all o; W (O,C) int8, or 1 bit an input, LSB first, rows padded to bytes. */
void esnn_patch_dot(const int16_t *patch, const int8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                    uint32_t stride);
void esnn_patch_binary_dot(const int16_t *patch, const uint8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                           uint32_t stride);

/* The same for two patches at once, into a[o*stride] and a[o*stride + 1]: the weights are read once. */
void esnn_patch_dot_pair(const int16_t *patch0, const int16_t *patch1, const int8_t *w, int32_t *a, uint32_t fan_in,
                         uint32_t outputs, uint32_t stride);
void esnn_patch_binary_dot_pair(const int16_t *patch0, const int16_t *patch1, const uint8_t *w, int32_t *a,
                                uint32_t fan_in, uint32_t outputs, uint32_t stride);

#endif
