/* The EM-PF neuron for the Arm DSP extension; the formulas are those of esnn_neuron.c. */
#include "esnn_arith.h"
#include "esnn_dsp.h"

#if ESNN_DSP && !ESNN_MVE

/* (leak*v + 2^14) >> 15 for 24-bit v and 0 <= leak <= 2^15, as (4v * 2^15*leak + 2^31) >> 32. */
static inline int32_t leak24(int32_t v, int32_t leak_high) {
    return esnn_smmulr((int32_t)((uint32_t)v << 2), leak_high);
}

void esnn_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta, uint32_t k,
               uint32_t bits) {
    const int32_t leak_high = lam * (1 << 15), lowest = theta - (1 << (k - 1)), most = (1 << bits) - 1;
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        /* QADD saturates to 32 bits, which SSAT to 24 bits does not see. */
        const int32_t m = __ssat(__qadd(leak24(v[i], leak_high), current[i]), 24);
        const int32_t level = esnn_asr32(m - lowest, k);
        const int32_t positive = level < 0 ? 0 : level;
        const int32_t spike = positive > most ? most : positive;
        v[i] = m - (spike << k); /* what is emitted is what is subtracted */
        s[i] = (uint8_t)spike;
    }
}

#endif
