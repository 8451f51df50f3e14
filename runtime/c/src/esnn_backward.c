/* Spatial backward of one step: the error at the readout, through weights and neurons, in integers. */
#include "esnn_descent.h"

/* Four columns of W, `inputs` apart from row to row. */
static void four_columns(const int32_t *g, const int32_t *end, const int8_t *w, int32_t *back, uint32_t inputs) {
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    ESNN_ONE_TURN
    for (; g != end; w += inputs) {
        const int32_t error = *g++;
        sum0 += error * w[0];
        sum1 += error * w[1];
        sum2 += error * w[2];
        sum3 += error * w[3];
    }
    back[0] = sum0;
    back[1] = sum1;
    back[2] = sum2;
    back[3] = sum3;
}

void esnn_backward_linear(const int32_t *g, const int8_t *w, int32_t *back, uint32_t outputs, uint32_t inputs) {
    /* g (O,) @ W (O,C) -> back (C,) */
    uint32_t i = 0;
    for (; i + 4 <= inputs; i += 4) {
        four_columns(g, g + outputs, w + i, back + i, inputs);
    }
    for (; i < inputs; i++) {
        back[i] = 0;
        for (uint32_t o = 0; o < outputs; o++) {
            back[i] += g[o] * w[o * inputs + i];
        }
    }
}

/* back[0..n) += g where the bit of a byte of weights is set */
static inline void add_where_set(int32_t *back, uint32_t bits, int32_t g, uint32_t n) {
    for (uint32_t j = 0; j < n; j++) {
        back[j] += g & -(int32_t)(bits >> j & 1);
    }
}

void esnn_backward_binary_linear(const int32_t *g, const uint8_t *w, int32_t *back, uint32_t outputs, uint32_t inputs) {
    /* With S the sum of g where a weight is +1, and B that of all: the sum of +-g is 2S - B. */
    int32_t all = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        back[i] = 0;
    }
    for (uint32_t o = 0; o < outputs; o++, w += (inputs + 7) / 8) {
        const int32_t error = g[o];
        if (error != 0) {
            const uint8_t *byte = w;
            uint32_t i = 0;
            all += error;
            for (; i + 8 <= inputs; i += 8) {
                add_where_set(back + i, *byte++, error, 8);
            }
            if (i < inputs) {
                add_where_set(back + i, *byte, error, inputs - i);
            }
        }
    }
    for (uint32_t i = 0; i < inputs; i++) {
        back[i] = 2 * back[i] - all;
    }
}

void esnn_clamp_gradient(const int32_t *g, const void *y, esnn_format format, int32_t *to, uint32_t n, int32_t low,
                         int32_t high) {
    for (uint32_t i = 0; i < n; i++) {
        const int32_t value = esnn_value_at(y, format, i);
        to[i] = low < value && value < high ? g[i] : 0;
    }
}

void esnn_empf_gradient(const int32_t *g, const int32_t *v, int32_t *to, uint32_t n, int32_t theta, uint32_t k) {
    const int32_t half = (int32_t)1 << (k - 1);
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        const int32_t distance = v[i] - theta;
        to[i] = distance >= -half && distance < half ? g[i] : 0;
    }
}

void esnn_parallel_empf_gradient(const int32_t *g, const int32_t *current, int32_t *to, uint32_t n, int32_t theta,
                                 uint32_t k, uint32_t bits) {
    const int32_t half = (int32_t)1 << (k - 1), top = ((int32_t)1 << (k + bits)) - half;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t distance = esnn_sat24(current[i]) - theta;
        to[i] = distance >= -half && distance < top ? g[i] : 0;
    }
}

/* The surrogate's triangle; `above` is m - theta. */
static inline int32_t triangle(int32_t g, int32_t above, int32_t width, uint32_t shift) {
    const int32_t slope = width - (above < 0 ? -above : above);
    return slope > 0 ? (int32_t)esnn_scale(g, slope, shift) : 0;
}

void esnn_lif_gradient(const int32_t *g, const int32_t *v, const uint8_t *s, int32_t *to, uint32_t n, int32_t theta,
                       int32_t width, uint32_t shift) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = triangle(g[i], s[i] ? v[i] : v[i] - theta, width, shift);
    }
}

void esnn_lif_drop_gradient(const int32_t *g, const int32_t *v, const uint8_t *s, int32_t *to, uint32_t n,
                            int32_t theta, int32_t drop, int32_t width, uint32_t shift) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = triangle(g[i], v[i] + (s[i] ? drop : 0) - theta, width, shift);
    }
}

void esnn_lif_clear_gradient(const int32_t *g, const int32_t *v, const int32_t *current, int32_t *to, uint32_t n,
                             int32_t lam, int32_t theta, int32_t width, uint32_t shift) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        to[i] = triangle(g[i], esnn_integrate(v[i], lam, current[i]) - theta, width, shift);
    }
}
