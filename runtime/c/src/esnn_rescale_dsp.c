/* Rescaling for the Arm DSP extension: (a*M + 2^(n-1)) >> n is (2^i*a * 2^j*M + 2^31) >> 32 with i + j = 32 - n: one
 * SMMULR, where both factors fit 32 bits. M takes as much of the shift as it can; elsewhere the formula as it stands.
 */
#include "esnn_arith.h"
#include "esnn_dsp.h"

#if ESNN_DSP && !ESNN_MVE

/* How far m can be shifted left. */
static inline uint32_t room(int32_t m) {
    return (uint32_t)__clz((uint32_t)(m < 0 ? ~m : m)) - 1;
}

void esnn_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current, uint32_t outputs,
                  uint32_t pixels, uint32_t shift) {
    if (shift > 32) {
        ESNN_ONE_TURN
        for (uint32_t o = 0; o < outputs; o++) {
            for (uint32_t p = 0; p < pixels; p++) {
                *current++ = (int32_t)(esnn_scale(*a++, multiplier[o], shift) + bias[o]);
            }
        }
        return;
    }
    ESNN_ONE_TURN
    for (uint32_t o = 0; o < outputs; o++) {
        const int32_t m = multiplier[o], b = bias[o];
        const uint32_t up = 32 - shift, j = up < room(m) ? up : room(m), i = up - j;
        const int32_t high = (int32_t)((uint32_t)m << j), *end = a + pixels;
        ESNN_ONE_TURN
        while (a != end) {
            const int32_t x = *a++, shifted = (int32_t)((uint32_t)x << i);
            *current++ = esnn_asr32(shifted, i) == x ? (int32_t)((uint32_t)esnn_smmulr(shifted, high) + (uint32_t)b)
                                                     : (int32_t)(esnn_scale(x, m, shift) + b);
        }
    }
}

#endif
