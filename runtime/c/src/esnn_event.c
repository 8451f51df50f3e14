/* Event-driven synapses: int8 weights on binary spikes. Each spike that was fired adds its row of weights to the sums,
 * so that work is proportional to their number. How weights and sums are stored: esnn_event.h.
 */
#include "esnn_event.h"

#include "esnn_arith.h"

/* An input that did not fire is written as well; the next one takes its place. */
uint32_t esnn_event_list(const uint8_t *x, uint32_t n, uint16_t *list) {
    const uint8_t *from = x, *whole = x + n / 4 * 4;
    uint16_t *to = list;
    ESNN_ONE_TURN
    while (from != whole) {
        const uint32_t spikes = esnn_load_aligned(from);
        from += 4;
        if (spikes != 0) {
            const uint32_t next = (uint32_t)(from - x);
            *to = (uint16_t)(next - 4);
            to += spikes & 1;
            *to = (uint16_t)(next - 3);
            to += spikes >> 8 & 1;
            *to = (uint16_t)(next - 2);
            to += spikes >> 16 & 1;
            *to = (uint16_t)(next - 1);
            to += spikes >> 24;
        }
    }
    for (; from != x + n; from++) {
        *to = (uint16_t)(from - x);
        to += *from;
    }
    return (uint32_t)(to - list);
}

#if !ESNN_MVE /* Helium has its own: esnn_event_mve.c */
#define BYTES_0_2 0x00ff00ffu

/* Four outputs from a word of sums. */
static inline void put(int32_t *a, uint32_t stride, uint32_t even, uint32_t odd, int32_t bias) {
    a[0] = bias + (int32_t)(even & 0xffffu);
    a[stride] = bias + (int32_t)(odd & 0xffffu);
    a[2 * stride] = bias + (int32_t)(even >> 16);
    a[3 * stride] = bias + (int32_t)(odd >> 16);
}

#if !ESNN_DSP && !ESNN_NEON && !ESNN_X86
/* Words are added to `odd` shifted by a byte, with byte 2 between bytes 1 and 3: a shift is part of an addition on Arm,
 * a mask is not. What byte 2 adds up to is known from `even` and taken off at the end. */
static inline uint32_t odd_sums(uint32_t odd, uint32_t even) {
    return odd - (even >> 16 << 8);
}

/* The sums of a wide block. */
typedef struct {
    uint32_t even[ESNN_WIDE / 4], odd[ESNN_WIDE / 4];
} wide_sums;

/* A row of 16 weights, four words. */
static ESNN_INLINE void add_row(wide_sums *sum, const uint32_t *row) {
    const uint32_t w0 = row[0], w1 = row[1], w2 = row[2], w3 = row[3];
    sum->even[0] += w0 & BYTES_0_2;
    sum->odd[0] += w0 >> 8;
    sum->even[1] += w1 & BYTES_0_2;
    sum->odd[1] += w1 >> 8;
    sum->even[2] += w2 & BYTES_0_2;
    sum->odd[2] += w2 >> 8;
    sum->even[3] += w3 & BYTES_0_2;
    sum->odd[3] += w3 >> 8;
}

void esnn_event_wide(const uint16_t *list, uint32_t n, const uint32_t *block, int32_t *a, uint32_t stride,
                     int32_t bias) {
    const uint32_t words = ESNN_WIDE / 4;
    wide_sums sum = {{0}, {0}};
    ESNN_ONE_TURN
    for (const uint16_t *fours = list + n % 4; list != fours; list++) {
        add_row(&sum, block + *list * words);
    }
    ESNN_ONE_TURN
    for (const uint16_t *end = list + n / 4 * 4; list != end; list += 4) {
        add_row(&sum, block + list[0] * words);
        ESNN_IN_ORDER();
        add_row(&sum, block + list[1] * words);
        ESNN_IN_ORDER();
        add_row(&sum, block + list[2] * words);
        ESNN_IN_ORDER();
        add_row(&sum, block + list[3] * words);
    }
    for (uint32_t i = 0; i < words; i++, a += 4 * stride) {
        put(a, stride, sum.even[i], odd_sums(sum.odd[i], sum.even[i]), bias);
    }
}
#endif

/* The same for a narrow block. */
static ESNN_NOINLINE void narrow(const uint16_t *list, uint32_t n, const uint32_t *block, int32_t *a, uint32_t stride,
                                 int32_t bias) {
    uint32_t even = 0, odd = 0;
    ESNN_ONE_TURN
    for (const uint16_t *end = list + n; list != end; list++) {
        even += block[*list] & BYTES_0_2;
        odd += block[*list] >> 8 & BYTES_0_2;
    }
    put(a, stride, even, odd, bias);
}

static void copy(int32_t *a, uint32_t stride, const int32_t *from, uint32_t n, int add) {
    ESNN_ONE_TURN
    for (uint32_t i = 0; i < n; i++, a += stride) {
        *a = add ? *a + from[i] : from[i];
    }
}

/* a[o*stride] = the rows list[0..n) of output o added up, 0 < n <= ESNN_MOST_ROWS. With `add`, += instead. */
static void sum_rows(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows, int add) {
    const int32_t bias = -(int32_t)(ESNN_WEIGHT_BIAS * n);
    const uint32_t *w = rows->w;
    const uint32_t stride = rows->stride;
    uint32_t outputs = rows->outputs;
    int32_t sum[ESNN_WIDE];
    ESNN_ONE_TURN
    for (; outputs >= ESNN_WIDE; outputs -= ESNN_WIDE, a += ESNN_WIDE * stride, w += ESNN_WIDE / 4 * rows->inputs) {
        if (add) {
            esnn_event_wide(list, n, w, sum, 1, bias);
            copy(a, stride, sum, ESNN_WIDE, 1);
        } else {
            esnn_event_wide(list, n, w, a, stride, bias);
        }
    }
    ESNN_ONE_TURN
    for (uint32_t o = 0; o < outputs; o += 4, w += rows->inputs) {
        narrow(list, n, w, sum, 1, bias);
        copy(a + o * stride, stride, sum, outputs - o < 4 ? outputs - o : 4, add);
    }
}

void esnn_event_sum(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows) {
    if (n == 0) {
        ESNN_ONE_TURN
        for (uint32_t o = 0; o < rows->outputs; o++) {
            a[o * rows->stride] = 0;
        }
    }
    ESNN_ONE_TURN
    for (uint32_t at = 0; at < n; at += ESNN_MOST_ROWS) {
        const uint32_t left = n - at;
        sum_rows(list + at, left < ESNN_MOST_ROWS ? left : ESNN_MOST_ROWS, a, rows, at != 0);
    }
}

void esnn_event_linear(const uint8_t *x, const uint32_t *w, uint16_t *scratch, int32_t *a, uint32_t inputs,
                       uint32_t outputs) {
    const esnn_event_rows rows = {w, inputs, outputs, 1};
    esnn_event_sum(scratch, esnn_event_list(x, inputs, scratch), a, &rows);
}
#endif
