/* Gradient descent on the weights of convolutions: the steps of all windows are added up, and taken at once. */
#include "esnn_descent.h"
#include "esnn_grouped.h"
#include "esnn_memory.h"
#include "esnn_window.h"

/* A sum of 64 bits in scratch, which is aligned for 32. */
typedef struct {
    uint32_t low, high;
} wide;

static inline int64_t value(const wide *sum) {
    return (int64_t)((uint64_t)sum->high << 32 | sum->low);
}

static inline void add(wide *sum, int32_t product) {
    const uint64_t total = (uint64_t)(value(sum) + product);
    sum->low = (uint32_t)total;
    sum->high = (uint32_t)(total >> 32);
}

/* total[c,i,j] += step*x under a window. */
static ESNN_INLINE void add_window(wide *total, const void *x, esnn_format format, int32_t step, const esnn_view *view,
                                   const esnn_window *g, esnn_gaps gaps) {
    uint32_t channel = view->at;
    for (uint32_t c = 0; c < g->channels; c++, channel += g->height * g->width) {
        uint32_t from = channel;
        for (uint32_t i = view->rows.first; i < view->rows.last; i++, from += g->width * gaps.rows) {
            wide *to = total + (c * g->kernel_height + i) * g->kernel_width + view->columns.first;
            const wide *end = to + view->columns.last - view->columns.first;
            ESNN_ONE_TURN
            for (uint32_t j = from; to != end; j += gaps.columns) {
                add(to++, step * esnn_value_at(x, format, j));
            }
        }
    }
}

/* The steps of one output; returns 0 if all are 0. */
static ESNN_INLINE int add_windows(wide *total, const void *x, esnn_format format, const int32_t *step, int32_t limit,
                                   const esnn_window *g, esnn_gaps gaps) {
    int moves = 0;
    for (uint32_t row = 0; row < g->out_height; row++) {
        for (uint32_t column = 0; column < g->out_width; column++) {
            const int32_t q = esnn_clamp32(*step++, -limit, limit);
            if (q != 0) {
                const esnn_view view = esnn_view_of(g, gaps, row, column);
                add_window(total, x, format, q, &view, g, gaps);
                moves = 1;
            }
        }
    }
    return moves;
}

/* A row of weights moves by its total; `random` holds the numbers of the columns, `row` is that of the row. */
static void move(int8_t *weight, uint8_t *bits, const wide *total, const uint32_t *random, uint32_t row,
                 const esnn_descent *d) {
    const uint32_t unused = 32 - d->shift;
    for (uint32_t i = 0; i < d->inputs; i++) {
        const int64_t by = esnn_asr64(value(&total[i]) + ((row + random[i]) >> unused), d->shift);
        if (by != 0) {
            weight[i] = (int8_t)esnn_clamp64(weight[i] - by, -ESNN_MOST_WEIGHT, ESNN_MOST_WEIGHT);
            esnn_patch_bit(bits, i, weight[i]);
        }
    }
}

/* `bits` is NULL, or the packed 1-bit weights. */
static ESNN_INLINE void descend(int8_t *weight, uint8_t *bits, const uint8_t *x, esnn_format format,
                                const int32_t *step, uint32_t count, uint32_t *random, const esnn_descent *d,
                                const esnn_grouped_window *g, esnn_gaps gaps) {
    const esnn_window one = esnn_one_group(g);
    const uint32_t key = esnn_random_key(d->seed, count), windows = one.out_height * one.out_width;
    wide *total = (wide *)(void *)(random + d->inputs);
    for (uint32_t i = 0; i < d->inputs; i++) {
        random[i] = esnn_random(key, ESNN_COLUMNS + i);
    }
    for (uint32_t o = 0; o < d->outputs; o++, weight += d->inputs, step += windows) {
        const uint8_t *seen = x + o / one.out_channels * one.channels * one.height * one.width;
        memset(total, 0, sizeof *total * d->inputs);
        if (format == ESNN_U8 ? add_windows(total, seen, ESNN_U8, step, d->limit, &one, gaps)
                              : add_windows(total, seen, ESNN_S8, step, d->limit, &one, gaps)) {
            move(weight, bits, total, random, esnn_random(key, o), d);
        }
        bits = bits == NULL ? NULL : bits + (d->inputs + 7) / 8;
    }
}

static void descend_close(int8_t *weight, uint8_t *bits, const void *x, esnn_format format, const int32_t *step,
                          int32_t count, uint32_t *random, const esnn_descent *d, const esnn_grouped_window *g) {
    const esnn_gaps none = {1, 1};
    descend(weight, bits, x, format, step, (uint32_t)count, random, d, g, none);
}

static void descend_apart(int8_t *weight, uint8_t *bits, const void *x, esnn_format format, const int32_t *step,
                          int32_t count, uint32_t *random, const esnn_descent *d, const esnn_grouped_window *g) {
    const esnn_gaps gaps = {g->dilation_height, g->dilation_width};
    descend(weight, bits, x, format, step, (uint32_t)count, random, d, g, gaps);
}

void esnn_learn_conv2d(int8_t *weight, const void *x, esnn_format format, const int32_t *step, int32_t count,
                       uint32_t *scratch, const esnn_descent *d, const esnn_grouped_window *g) {
    descend_close(weight, NULL, x, format, step, count, scratch, d, g);
}

void esnn_learn_binary_conv2d(uint8_t *weight, int8_t *latent, const void *x, esnn_format format, const int32_t *step,
                              int32_t count, uint32_t *scratch, const esnn_descent *d, const esnn_grouped_window *g) {
    descend_close(latent, weight, x, format, step, count, scratch, d, g);
}

void esnn_learn_dilated_conv2d(int8_t *weight, const void *x, esnn_format format, const int32_t *step, int32_t count,
                               uint32_t *scratch, const esnn_descent *d, const esnn_grouped_window *g) {
    descend_apart(weight, NULL, x, format, step, count, scratch, d, g);
}

void esnn_learn_dilated_binary_conv2d(uint8_t *weight, int8_t *latent, const void *x, esnn_format format,
                                      const int32_t *step, int32_t count, uint32_t *scratch, const esnn_descent *d,
                                      const esnn_grouped_window *g) {
    descend_apart(latent, weight, x, format, step, count, scratch, d, g);
}
