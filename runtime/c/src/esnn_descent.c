/* Gradient descent on integer weights, at once, with counter-based stochastic rounding.
 *
 * The random number of a weight is the sum of one of its row and one of its column, modulo 2^32. Only inputs that are
 * not 0 are visited, and only rows with a gradient; a weight is read and written only where it changes.
 */
#include "esnn_descent.h"

/* The inputs that are not 0; returns the end of the list. */
static const esnn_active *list_active(const void *x, esnn_format format, uint32_t n, uint32_t key, esnn_active *to) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++) {
        const int32_t value = esnn_value_at(x, format, i);
        if (value != 0) {
            to->random = esnn_random(key, ESNN_COLUMNS + i);
            to->index = (uint16_t)i;
            to->value = (int16_t)value;
            to++;
        }
    }
    return to;
}

/* One row of weights; `bits` are those of 1-bit weights whose latents the row holds, or NULL. */
static void descend(int8_t *row, uint8_t *bits, const esnn_active *at, const esnn_active *end, int32_t step,
                    uint32_t random, uint32_t shift) {
    const uint32_t unused = 32 - shift, one = 1u << shift;
    ESNN_ONE_TURN
    for (; at != end; at++) {
        const int32_t sum = step * at->value + (int32_t)((random + at->random) >> unused);
        if ((uint32_t)sum >= one) { /* a move of 1 at least, or below 0: most steps are none */
            const uint32_t i = at->index;
            row[i] = (int8_t)esnn_clamp32(row[i] - esnn_asr32(sum, shift), -ESNN_MOST_WEIGHT, ESNN_MOST_WEIGHT);
            esnn_patch_bit(bits, i, row[i]);
        }
    }
}

/* All rows; `bits` is NULL, or the packed 1-bit weights. */
static void descend_rows(int8_t *weight, uint8_t *bits, const void *x, esnn_format format, const int32_t *step,
                         uint32_t count, esnn_active *scratch, const esnn_descent *d) {
    const uint32_t key = esnn_random_key(d->seed, count);
    const esnn_active *end = list_active(x, format, d->inputs, key, scratch);
    for (uint32_t o = 0; o < d->outputs; o++, weight += d->inputs) {
        const int32_t q = esnn_clamp32(step[o], -d->limit, d->limit);
        if (q != 0) {
            descend(weight, bits, scratch, end, q, esnn_random(key, o), d->shift);
        }
        bits = bits == NULL ? NULL : bits + (d->inputs + 7) / 8;
    }
}

void esnn_learn_linear(int8_t *weight, const void *x, esnn_format format, const int32_t *step, int32_t count,
                       esnn_active *scratch, const esnn_descent *d) {
    descend_rows(weight, NULL, x, format, step, (uint32_t)count, scratch, d);
}

void esnn_learn_binary_linear(uint8_t *weight, int8_t *latent, const void *x, esnn_format format, const int32_t *step,
                              int32_t count, esnn_active *scratch, const esnn_descent *d) {
    descend_rows(latent, weight, x, format, step, (uint32_t)count, scratch, d);
}

/* The threshold of the neurons with these errors; `random` has 16 bits. */
static inline void move_threshold(int32_t *theta, const int32_t *g, uint32_t n, int64_t limit, int32_t multiplier,
                                  uint32_t random, uint32_t shift) {
    int64_t total = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += g[i];
    }
    total = esnn_clamp64(total, -limit, limit);
    const int64_t q = esnn_asr64(total * multiplier + ((int64_t)1 << (shift - 1)), shift);
    *theta = (int32_t)esnn_clamp64(*theta + esnn_asr64(q + random, 16), 0, 8388607);
}

void esnn_learn_threshold(int32_t *theta, const int32_t *g, uint32_t n, int64_t limit, int32_t multiplier,
                          int32_t count, uint32_t shift, uint32_t seed) {
    const uint32_t random = esnn_mix(esnn_random_key(seed, (uint32_t)count)) >> 16;
    move_threshold(theta, g, n, limit, multiplier, random, shift);
}

void esnn_learn_thresholds(int32_t *theta, uint32_t channels, const int32_t *g, uint32_t n, int64_t limit,
                           int32_t multiplier, int32_t count, uint32_t shift, uint32_t seed) {
    const uint32_t key = esnn_random_key(seed, (uint32_t)count);
    for (uint32_t c = 0; c < channels; c++) {
        move_threshold(theta + c, g + c * n, n, limit, multiplier, esnn_random(key, c) >> 16, shift);
    }
}

void esnn_learn_bias(int32_t *bias, const int32_t *e, uint32_t classes, int32_t *count, uint32_t shift, uint32_t seed) {
    const uint32_t key = esnn_random_key(seed, (uint32_t)*count);
    for (uint32_t k = 0; k < classes; k++) {
        const int64_t product = (int64_t)e[k] * (1 << 15) + (esnn_random(key, k) >> (32 - shift));
        bias[k] = (int32_t)esnn_clamp64(bias[k] - esnn_asr64(product, shift), -8388608, 8388607);
    }
    *count = (int32_t)(((uint32_t)*count + 1) & 0x7fffffffu);
}
