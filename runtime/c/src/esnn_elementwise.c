/* Pooling and rescaling: what stands between a synapse and a neuron. */
#include "esnn_arith.h"
#include "esnn_kernels.h"

void esnn_maxpool2d(const uint8_t *x, uint8_t *y, const esnn_window *g) {
    /* x (C,H,W) -> y (C,H',W') */
    for (uint32_t c = 0; c < g->channels; c++, x += g->height * g->width) {
        for (uint32_t row = 0; row < g->out_height; row++) {
            for (uint32_t column = 0; column < g->out_width; column++) {
                uint8_t most = 0;
                for (uint32_t i = 0; i < g->kernel_height; i++) {
                    for (uint32_t j = 0; j < g->kernel_width; j++) {
                        const uint8_t value = x[(row * g->stride_height + i) * g->width + column * g->stride_width + j];
                        most = value > most ? value : most;
                    }
                }
                *y++ = most;
            }
        }
    }
}

#if !ESNN_DSP
void esnn_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current, uint32_t outputs,
                  uint32_t pixels, uint32_t shift) {
    ESNN_ONE_TURN
    for (uint32_t o = 0; o < outputs; o++, a += pixels, current += pixels) {
        const int32_t m = multiplier[o], b = bias[o];
        ESNN_ONE_TURN
        for (uint32_t p = 0; p < pixels; p++) {
            current[p] = (int32_t)(esnn_scale(a[p], m, shift) + b);
        }
    }
}
#endif
