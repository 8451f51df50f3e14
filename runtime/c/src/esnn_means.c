/* Nearest class means with a guard: decide by the factory's or the learned means, learn, and compare both on labels. */
#include "esnn_arith.h"
#include "esnn_kernels.h"
#if ESNN_DSP
#include "esnn_dsp.h"
#endif

enum { RUN_LIMIT = 1 << 30, COUNT_LIMIT = 1 << 30, SEEN_LIMIT = 1 << 12, SEEN_ENOUGH = 64 };

/* weight (C,) . trace (C,) + bias */
static int32_t score(const int8_t *weight, int32_t bias, const int32_t *trace, uint32_t inputs) {
    int32_t a = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        a += weight[i] * trace[i];
    }
    return a + bias;
}

/* The highest score of `count` groups; its index, the lowest on ties, goes to *best. */
static int32_t highest(const int8_t *weight, const int32_t *bias, const int32_t *trace, uint32_t count, uint32_t inputs,
                       uint32_t *best) {
    int32_t top = INT32_MIN;
    for (uint32_t g = 0; g < count; g++, weight += inputs) {
        const int32_t a = score(weight, bias[g], trace, inputs);
        if (a > top) {
            top = a;
            *best = g;
        }
    }
    return top;
}

void esnn_guarded_means(const int32_t *trace, const int8_t *weight, const int32_t *bias, int32_t use, int32_t *y,
                        const esnn_means *m) {
    const int8_t *w = use ? weight : m->factory_weight;
    const int32_t *b = use ? bias : m->factory_bias;
    uint32_t best = 0;
    for (uint32_t k = 0; k < m->classes; k++, w += m->means * m->inputs, b += m->means) {
        y[k] = (int32_t)esnn_scale(highest(w, b, trace, m->means, m->inputs, &best), m->multiplier, m->shift);
    }
}

static int32_t is_wrong(const int32_t *trace, const int8_t *weight, const int32_t *bias, int32_t label,
                        const esnn_means *m) {
    uint32_t best = 0;
    highest(weight, bias, trace, m->classes * m->means, m->inputs, &best);
    return best / m->means != (uint32_t)label;
}

void esnn_guard_check(const int32_t *trace, const int8_t *weight, const int32_t *bias, int32_t label,
                      const esnn_guard *guard, const esnn_means *m) {
    *guard->run = *guard->last != label ? 1 : *guard->run < RUN_LIMIT ? *guard->run + 1 : RUN_LIMIT;
    *guard->last = label;
    if (*guard->run < (int32_t)m->check) {
        return;
    }
    *guard->seen += 1;
    *guard->factory_errors += is_wrong(trace, m->factory_weight, m->factory_bias, label, m);
    *guard->learned_errors += is_wrong(trace, weight, bias, label, m);
    if (*guard->seen >= SEEN_LIMIT) { /* the past fades */
        *guard->seen /= 2;
        *guard->factory_errors /= 2;
        *guard->learned_errors /= 2;
    }
}

/* row (n,) . mean (n,) */
static int64_t dot(const int16_t *row, const int16_t *mean, uint32_t n) {
    int64_t sum = 0;
#if ESNN_DSP
    for (; n >= 2; n -= 2, row += 2, mean += 2) {
        sum = esnn_smlald(esnn_load4(row), esnn_load4(mean), sum);
    }
#endif
    for (; n > 0; n--) {
        sum += *row++ * *mean++;
    }
    return sum;
}

/* Adds the trace to group g; the new mean goes to `mean` (C,). */
static void add(int32_t *sum, int32_t *count, const int32_t *trace, int16_t *mean, uint32_t g, const esnn_means *m) {
    const int16_t *factory = m->factory_mean + (size_t)g * m->inputs;
    int32_t *s = sum + (size_t)g * m->inputs;
    const int32_t labels = (int32_t)esnn_clamp64(count[g], 0, COUNT_LIMIT) + 1;
    const int32_t divisor = labels >= (int32_t)m->most ? 2 : 1;
    count[g] = labels / divisor;
    const int64_t reciprocal = (1 << 30) / ((int32_t)m->prior + count[g]);
    for (uint32_t i = 0; i < m->inputs; i++) {
        s[i] = (s[i] + trace[i]) / divisor;
        mean[i] = (int16_t)((((int32_t)m->prior * factory[i] + s[i]) * reciprocal) >> 30);
    }
}

/* weight (C,), *bias: the scores of a group from its mean m and the metric P: round(P m / 2^shift), and the bias with
 * which the score at the mean itself is m P m / 2^(shift+1), however the weights were rounded. */
static void refresh(int8_t *weight, int32_t *bias, const int16_t *mean, const esnn_means *m) {
    const int16_t *row = m->metric;
    int64_t energy = 0, rounded = 0;
    for (uint32_t i = 0; i < m->inputs; i++, row += m->inputs) {
        const int64_t u = dot(row, mean, m->inputs);
        weight[i] =
            (int8_t)esnn_clamp64(esnn_asr64(u + ((int64_t)1 << (m->metric_shift - 1)), m->metric_shift), -127, 127);
        energy += u * mean[i];
        rounded += weight[i] * mean[i];
    }
    energy = energy > 0 ? energy : 0;
    *bias = (int32_t)esnn_clamp64((energy >> (m->metric_shift + 1)) - rounded, -m->bias_limit, m->bias_limit);
}

void esnn_learn_means(int8_t *weight, int32_t *bias, int32_t *sum, int32_t *count, const int32_t *trace, int32_t label,
                      int32_t run, int16_t *scratch, const esnn_means *m) {
    if (run < (int32_t)m->settle) {
        return;
    }
    const uint32_t first = (uint32_t)label * m->means;
    uint32_t nearest = 0;
    highest(weight + (size_t)first * m->inputs, bias + first, trace, m->means, m->inputs, &nearest);
    const uint32_t g = first + nearest;
    add(sum, count, trace, scratch, g, m);
    refresh(weight + (size_t)g * m->inputs, bias + g, scratch, m);
}

int32_t esnn_guard_decide(const int32_t *count, int32_t seen, int32_t factory_errors, int32_t learned_errors,
                          uint32_t classes, uint32_t means) {
    for (uint32_t k = 0; k < classes; k++) {
        int32_t labelled = 0;
        for (uint32_t q = 0; q < means; q++) {
            labelled |= *count++;
        }
        if (labelled == 0) {
            return 0;
        }
    }
    return seen >= SEEN_ENOUGH && factory_errors * 32 > seen && factory_errors * 4 >= learned_errors * 5 &&
           seen >= learned_errors * 4;
}
