/* Neurons and the leaky readout for Helium, four at a time; the formulas are those of esnn_neuron.c. */
#include "esnn_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

/* m = sat24(((leak*v + 2^14) >> 15) + current) for 24-bit v and 0 <= leak <= 2^15; the first part is
 * (4v * 2^15*leak + 2^31) >> 32. Where the sum saturates at 32 bits it does so at 24. */
static inline int32x4_t integrate(int32x4_t v, int32x4_t current, int32_t leak) {
    const int32x4_t m = vqaddq_s32(vrmulhq_s32(vshlq_n_s32(v, 2), vdupq_n_s32(leak * (1 << 15))), current);
    return vminq_s32(vmaxq_s32(m, vdupq_n_s32(-8388608)), vdupq_n_s32(8388607));
}

void esnn_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta, uint32_t k,
               uint32_t bits) {
    const int32_t lowest = theta - (1 << (k - 1));
    const int32x4_t zero = vdupq_n_s32(0), most = vdupq_n_s32((1 << bits) - 1);
    ESNN_ONE_TURN
    for (int32_t left = (int32_t)n; left > 0; left -= 4, v += 4, current += 4, s += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)left);
        const int32x4_t m = integrate(vld1q_z_s32(v, some), vld1q_z_s32(current, some), lam);
        const int32x4_t level = vshlq_r_s32(vsubq_n_s32(m, lowest), -(int32_t)k);
        const int32x4_t spike = vminq_s32(vmaxq_s32(level, zero), most);
        /* What is emitted is what is subtracted. */
        vst1q_p_s32(v, vsubq_s32(m, vshlq_r_s32(spike, (int32_t)k)), some);
        vstrbq_p_u32(s, vreinterpretq_u32_s32(spike), some);
    }
}

void esnn_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta) {
    const uint32x4_t zero = vdupq_n_u32(0), one = vdupq_n_u32(1);
    ESNN_ONE_TURN
    for (int32_t left = (int32_t)n; left > 0; left -= 4, v += 4, current += 4, s += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)left);
        const int32x4_t m = integrate(vld1q_z_s32(v, some), vld1q_z_s32(current, some), lam);
        const mve_pred16_t fires = vcmpgeq_n_s32(m, theta);
        vst1q_p_s32(v, vsubq_m_n_s32(m, m, theta, fires), some);
        vstrbq_p_u32(s, vpselq_u32(one, zero, fires), some);
    }
}

void esnn_leaky_integrate(int32_t *acc, const int32_t *current, uint32_t n, int32_t leak) {
    ESNN_ONE_TURN
    for (int32_t left = (int32_t)n; left > 0; left -= 4, acc += 4, current += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)left);
        vst1q_p_s32(acc, integrate(vld1q_z_s32(acc, some), vld1q_z_s32(current, some), leak), some);
    }
}

#endif
