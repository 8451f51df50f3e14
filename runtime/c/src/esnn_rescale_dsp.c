/* Rescaling for the Arm DSP extension: (a*M + 2^(n-1)) >> n is (a * 2^(32-n)*M + 2^31) >> 32, one SMMULR, where the
 * shifted multiplier fits 32 bits; elsewhere the formula as it stands. */
#include "esnn_arith.h"
#include "esnn_dsp.h"

#if ESNN_DSP

static ESNN_NOINLINE void rescale_wide(const int32_t *a, int32_t m, int32_t b, int32_t *current, uint32_t pixels,
                                       uint32_t shift) {
    for (; pixels > 0; pixels--) {
        *current++ = (int32_t)(esnn_scale(*a++, m, shift) + b);
    }
}

void esnn_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current, uint32_t outputs,
                  uint32_t pixels, uint32_t shift) {
    const uint32_t up = shift <= 32 ? 32 - shift : 0;
    ESNN_ONE_TURN
    for (uint32_t o = 0; o < outputs; o++) {
        const int32_t m = multiplier[o], b = bias[o], high = (int32_t)((uint32_t)m << up);
        if (shift > 32 || esnn_asr32(high, up) != m) {
            rescale_wide(a, m, b, current, pixels, shift);
            a += pixels;
            current += pixels;
            continue;
        }
        const int32_t *end = a + pixels;
        ESNN_ONE_TURN
        do {
            *current++ = (int32_t)((uint32_t)esnn_smmulr(*a++, high) + (uint32_t)b);
        } while (a != end);
    }
}

#endif
