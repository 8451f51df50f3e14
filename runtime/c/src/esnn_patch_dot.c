/* Dot products of int8 weights and gathered inputs. Rows of weights share the loads of a patch; where the registers
 * suffice, two patches share those of the weights, and four inputs a turn make counting cheap. Where compilers find
 * vectors, or have few registers, one input at a time is faster. */
#include "esnn_patch.h"

/* One row of W. */
static int32_t dot1(const int16_t *x, const int8_t *w, uint32_t fan_in) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < fan_in; i++) {
        sum += x[i] * w[i];
    }
    return sum;
}

#if (defined(__thumb2__) && !defined(__ARM_NEON)) || (defined(__riscv) && !defined(__riscv_vector))
enum { INPUTS = 4 }; /* of a turn */

/* sum[r] += row r of W times an input, for four rows. */
static ESNN_INLINE void add4(int32_t sum[4], const int16_t *x, const int8_t *w0, const int8_t *w1, const int8_t *w2,
                             const int8_t *w3) {
    const int32_t value = *x;
    sum[0] += value * *w0;
    sum[1] += value * *w1;
    sum[2] += value * *w2;
    sum[3] += value * *w3;
}

/* Four rows of W. */
static ESNN_NOINLINE void dot4(const int16_t *x, const int8_t *w0, uint32_t fan_in, int32_t *a, uint32_t stride) {
    const int8_t *w1 = w0 + fan_in, *w2 = w1 + fan_in, *w3 = w2 + fan_in;
    const int16_t *end = x + fan_in, *whole = x + fan_in / INPUTS * INPUTS;
    int32_t sum[4] = {0, 0, 0, 0};
    ESNN_ONE_TURN
    for (; x != whole; x += INPUTS, w0 += INPUTS, w1 += INPUTS, w2 += INPUTS, w3 += INPUTS) {
        ESNN_OWN_REGISTER(x);
        ESNN_OWN_REGISTER(w0);
        ESNN_OWN_REGISTER(w1);
        ESNN_OWN_REGISTER(w2);
        ESNN_OWN_REGISTER(w3);
        add4(sum, x, w0, w1, w2, w3);
        ESNN_IN_ORDER();
        add4(sum, x + 1, w0 + 1, w1 + 1, w2 + 1, w3 + 1);
        ESNN_IN_ORDER();
        add4(sum, x + 2, w0 + 2, w1 + 2, w2 + 2, w3 + 2);
        ESNN_IN_ORDER();
        add4(sum, x + 3, w0 + 3, w1 + 3, w2 + 3, w3 + 3);
    }
    ESNN_ONE_TURN
    for (; x != end; x++, w0++, w1++, w2++, w3++) {
        add4(sum, x, w0, w1, w2, w3);
    }
    a[0] = sum[0];
    a[stride] = sum[1];
    a[2 * stride] = sum[2];
    a[3 * stride] = sum[3];
}

/* sum[2*r + p] += row r of W times an input of patch p, for two of each. */
static ESNN_INLINE void add2x2(int32_t sum[4], const int16_t *x, const int16_t *y, const int8_t *w0, const int8_t *w1) {
    const int32_t x0 = *x, y0 = *y, row0 = *w0, row1 = *w1;
    sum[0] += x0 * row0;
    sum[1] += y0 * row0;
    sum[2] += x0 * row1;
    sum[3] += y0 * row1;
}

/* Two rows of W for two patches. */
static ESNN_NOINLINE void dot2x2(const int16_t *x, const int16_t *y, const int8_t *w0, uint32_t fan_in, int32_t *a,
                                 uint32_t stride) {
    const int8_t *w1 = w0 + fan_in;
    const int16_t *end = x + fan_in, *whole = x + fan_in / INPUTS * INPUTS;
    int32_t sum[4] = {0, 0, 0, 0};
    ESNN_ONE_TURN
    for (; x != whole; x += INPUTS, y += INPUTS, w0 += INPUTS, w1 += INPUTS) {
        ESNN_OWN_REGISTER(x);
        ESNN_OWN_REGISTER(y);
        ESNN_OWN_REGISTER(w0);
        ESNN_OWN_REGISTER(w1);
        add2x2(sum, x, y, w0, w1);
        ESNN_IN_ORDER();
        add2x2(sum, x + 1, y + 1, w0 + 1, w1 + 1);
        ESNN_IN_ORDER();
        add2x2(sum, x + 2, y + 2, w0 + 2, w1 + 2);
        ESNN_IN_ORDER();
        add2x2(sum, x + 3, y + 3, w0 + 3, w1 + 3);
    }
    ESNN_ONE_TURN
    for (; x != end; x++, y++, w0++, w1++) {
        add2x2(sum, x, y, w0, w1);
    }
    a[0] = sum[0];
    a[1] = sum[1];
    a[stride] = sum[2];
    a[stride + 1] = sum[3];
}

void esnn_patch_dot_pair(const int16_t *patch0, const int16_t *patch1, const int8_t *w, int32_t *a, uint32_t fan_in,
                         uint32_t outputs, uint32_t stride) {
    for (; outputs >= 2; outputs -= 2, w += 2 * fan_in, a += 2 * stride) {
        dot2x2(patch0, patch1, w, fan_in, a, stride);
    }
    if (outputs > 0) {
        a[0] = dot1(patch0, w, fan_in);
        a[1] = dot1(patch1, w, fan_in);
    }
}

#else

/* Four rows of W. */
static ESNN_NOINLINE void dot4(const int16_t *x, const int8_t *w, uint32_t fan_in, int32_t *a, uint32_t stride) {
    const uint32_t row1 = fan_in, row2 = 2 * fan_in, row3 = 3 * fan_in;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < fan_in; i++, w++) {
        const int32_t value = x[i];
        sum0 += value * w[0];
        sum1 += value * w[row1];
        sum2 += value * w[row2];
        sum3 += value * w[row3];
    }
    a[0] = sum0;
    a[stride] = sum1;
    a[2 * stride] = sum2;
    a[3 * stride] = sum3;
}

void esnn_patch_dot_pair(const int16_t *patch0, const int16_t *patch1, const int8_t *w, int32_t *a, uint32_t fan_in,
                         uint32_t outputs, uint32_t stride) {
    esnn_patch_dot(patch0, w, a, fan_in, outputs, stride);
    esnn_patch_dot(patch1, w, a + 1, fan_in, outputs, stride);
}

#endif

void esnn_patch_dot(const int16_t *patch, const int8_t *w, int32_t *a, uint32_t fan_in, uint32_t outputs,
                    uint32_t stride) {
    for (; outputs >= 4; outputs -= 4, w += 4 * fan_in, a += 4 * stride) {
        dot4(patch, w, fan_in, a, stride);
    }
    for (; outputs > 0; outputs--, w += fan_in, a += stride) {
        *a = dot1(patch, w, fan_in);
    }
}
