/* What generated C calls for a convolution with 1-bit weights and its neurons, in one call. */
#include "esnn_kernels.h"

/* s (O,P) uint8 = spikes of the rescaled sums W . windows of x (C,H,W); a (O,P) is scratch, as is `patch`. */
void edgesnn_bench_conv_to_bytes(const uint8_t *x, const uint8_t *w, int16_t *patch, int32_t *a, uint8_t *s,
                                 const int32_t *multiplier, const int32_t *bias, const esnn_window *g, uint32_t shift,
                                 int32_t theta, uint32_t k, uint32_t bits);

void edgesnn_bench_conv_to_bytes(const uint8_t *x, const uint8_t *w, int16_t *patch, int32_t *a, uint8_t *s,
                                 const int32_t *multiplier, const int32_t *bias, const esnn_window *g, uint32_t shift,
                                 int32_t theta, uint32_t k, uint32_t bits) {
    const uint32_t pixels = g->out_height * g->out_width;
    esnn_binary_conv2d(x, ESNN_U8, w, patch, a, g);
    esnn_rescale(a, multiplier, bias, a, g->out_channels, pixels, shift, 0);
    esnn_parallel_empf(a, s, g->out_channels * pixels, theta, k, bits);
}
