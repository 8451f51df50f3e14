/* Rescaling for Helium, four numbers at a time: (a*M + 2^(n-1)) >> n is (2^i*a * 2^j*M + 2^31) >> 32 with i + j = 32 -
 * n: one VRMULH, where both factors fit 32 bits. M takes as much of the shift as it can; elsewhere the formula as it
 * stands.
 */
#include "esnn_arith.h"
#include "esnn_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

/* Multipliers of four numbers: M, 2^j*M, and i. */
typedef struct {
    int32x4_t plain, high, left;
} factors;

static inline factors prepare(int32x4_t m, int32_t up) {
    const int32x4_t j = vminq_s32(vclsq_s32(m), vdupq_n_s32(up)); /* M can be shifted by its redundant sign bits */
    const factors f = {m, vshlq_s32(m, j), vsubq_s32(vdupq_n_s32(up), j)};
    return f;
}

/* The four numbers one by one. */
static ESNN_NOINLINE int32x4_t scale_slowly(int32x4_t a, int32x4_t m, uint32_t shift) {
    int32_t x[4], multiplier[4];
    vst1q_s32(x, a);
    vst1q_s32(multiplier, m);
    for (uint32_t i = 0; i < 4; i++) {
        x[i] = (int32_t)esnn_scale(x[i], multiplier[i], shift);
    }
    return vld1q_s32(x);
}

static inline int32x4_t scale(int32x4_t a, factors f, uint32_t shift) {
    const int32x4_t shifted = vshlq_s32(a, f.left);
    const mve_pred16_t lost = vcmpneq_s32(vshlq_s32(shifted, vnegq_s32(f.left)), a);
    return lost == 0 ? vrmulhq_s32(shifted, f.high) : scale_slowly(a, f.plain, shift);
}

/* n numbers of one output. */
static void rescale_map(const int32_t *a, int32_t m, int32_t bias, int32_t *current, int32_t n, uint32_t shift) {
    const factors f = prepare(vdupq_n_s32(m), 32 - (int32_t)shift);
    ESNN_ONE_TURN
    for (; n > 0; n -= 4, a += 4, current += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        vst1q_p_s32(current, vaddq_n_s32(scale(vld1q_z_s32(a, some), f, shift), bias), some);
    }
}

/* n outputs of one number. */
static void rescale_row(const int32_t *a, const int32_t *m, const int32_t *bias, int32_t *current, int32_t n,
                        uint32_t shift) {
    ESNN_ONE_TURN
    for (; n > 0; n -= 4, a += 4, m += 4, bias += 4, current += 4) {
        const mve_pred16_t some = vctp32q((uint32_t)n);
        const factors f = prepare(vld1q_z_s32(m, some), 32 - (int32_t)shift);
        const int32x4_t scaled = scale(vld1q_z_s32(a, some), f, shift);
        vst1q_p_s32(current, vaddq_s32(scaled, vld1q_z_s32(bias, some)), some);
    }
}

void esnn_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current, uint32_t outputs,
                  uint32_t pixels, uint32_t shift, uint32_t lift) {
    (void)lift; /* every four numbers find their own */
    if (shift > 32) {
        for (uint32_t i = 0; i < outputs * pixels; i++) {
            current[i] = (int32_t)(esnn_scale(a[i], multiplier[i / pixels], shift) + bias[i / pixels]);
        }
    } else if (pixels == 1) {
        rescale_row(a, multiplier, bias, current, (int32_t)outputs, shift);
    } else {
        for (uint32_t o = 0; o < outputs; o++, a += pixels, current += pixels) {
            rescale_map(a, multiplier[o], bias[o], current, (int32_t)pixels, shift);
        }
    }
}

#endif
