/* Online softmax regression of the readout, in integers, with counter-based stochastic rounding. */
#include "esnn_arith.h"
#include "esnn_kernels.h"

/* EXP_Q15[d] = round(2^15 * exp(-d/16)) */
static const uint16_t EXP_Q15[256] = {
    32768, 30783, 28918, 27166, 25520, 23974, 22521, 21157, 19875, 18671, 17539, 16477, 15479, 14541, 13660, 12832,
    12055, 11324, 10638, 9994,  9388,  8819,  8285,  7783,  7312,  6869,  6452,  6061,  5694,  5349,  5025,  4721,
    4435,  4166,  3914,  3676,  3454,  3244,  3048,  2863,  2690,  2527,  2374,  2230,  2095,  1968,  1849,  1737,
    1631,  1533,  1440,  1352,  1271,  1194,  1121,  1053,  990,   930,   873,   820,   771,   724,   680,   639,
    600,   564,   530,   498,   467,   439,   412,   387,   364,   342,   321,   302,   283,   266,   250,   235,
    221,   207,   195,   183,   172,   162,   152,   143,   134,   126,   118,   111,   104,   98,    92,    86,
    81,    76,    72,    67,    63,    59,    56,    52,    49,    46,    43,    41,    38,    36,    34,    32,
    30,    28,    26,    25,    23,    22,    21,    19,    18,    17,    16,    15,    14,    13,    12,    12,
    11,    10,    10,    9,     9,     8,     8,     7,     7,     6,     6,     6,     5,     5,     5,     4,
    4,     4,     4,     3,     3,     3,     3,     3,     2,     2,     2,     2,     2,     2,     2,     2,
    1,     1,     1,     1,     1,     1,     1,     1,     1,     1,     1,     1,     1,     1,     1,     1,
    1,     1,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,
    0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,
    0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,
    0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,
    0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,     0,
};

uint32_t esnn_mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

uint32_t esnn_random_key(uint32_t seed, uint32_t count) {
    return esnn_mix(esnn_mix(seed) ^ count);
}

uint32_t esnn_random(uint32_t key, uint32_t i) {
    return esnn_mix(key ^ i);
}

/* W (K,C) @ trace (C,) -> z (K,), Q10 nats; returns the largest. */
static int32_t logits(const int8_t *weight, const int32_t *bias, const int32_t *trace, int32_t *z,
                      const esnn_readout *r) {
    int32_t largest = INT32_MIN;
    for (uint32_t c = 0; c < r->classes; c++) {
        int32_t a = 0;
        for (uint32_t i = 0; i < r->inputs; i++) {
            a += *weight++ * trace[i];
        }
        z[c] = (int32_t)(esnn_scale(a, r->multiplier[c], r->shift) + bias[c]);
        largest = z[c] > largest ? z[c] : largest;
    }
    return largest;
}

/* z (K,) -> e (K,) in place: e = softmax(z) - onehot(label), Q15. */
static void softmax_error(int32_t *z, uint32_t classes, int32_t largest, int32_t label) {
    uint32_t sum = 0;
    for (uint32_t c = 0; c < classes; c++) {
        const uint32_t below = ((uint32_t)largest - (uint32_t)z[c]) >> 6; /* 1/16 nat */
        z[c] = EXP_Q15[below < 255 ? below : 255];
        sum += (uint32_t)z[c];
    }
    for (uint32_t c = 0; c < classes; c++) {
        z[c] = (int32_t)(((uint32_t)z[c] << 15) / sum) - (c == (uint32_t)label ? 1 << 15 : 0);
    }
}

/* clamp(value - product / 2^shift, low, high); the quotient is rounded up with the probability of its fraction. */
static int64_t descend(int64_t value, int64_t product, uint32_t shift, uint32_t random, int64_t low, int64_t high) {
    const int64_t delta = esnn_asr64(product + (random >> (32 - shift)), shift);
    return esnn_clamp64(value - delta, low, high);
}

void esnn_readout_error(const int8_t *weight, const int32_t *bias, const int32_t *trace, int32_t label, int32_t *e,
                        const esnn_readout *r) {
    softmax_error(e, r->classes, logits(weight, bias, trace, e, r), label);
}

void esnn_learn_readout(int8_t *weight, int32_t *bias, const int32_t *trace, int32_t label, int32_t *count,
                        int32_t *scratch, const esnn_readout *r) {
    const uint32_t key = esnn_random_key(r->seed, (uint32_t)*count);
    const uint32_t weights = r->classes * r->inputs;
    int32_t *e = scratch;

    esnn_readout_error(weight, bias, trace, label, e, r);
    for (uint32_t c = 0, n = 0; c < r->classes; c++) {
        for (uint32_t i = 0; i < r->inputs; i++, n++) {
            weight[n] =
                (int8_t)descend(weight[n], (int64_t)e[c] * trace[i], r->weight_shift, esnn_random(key, n), -127, 127);
        }
        bias[c] = (int32_t)descend(bias[c], (int64_t)e[c] * (1 << 15), r->bias_shift, esnn_random(key, weights + c),
                                   -8388608, 8388607);
    }
    *count = (int32_t)(((uint32_t)*count + 1) & 0x7fffffffu);
}
