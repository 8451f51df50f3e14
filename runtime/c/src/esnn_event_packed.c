/* Adding up rows of weights of 2 and 4 bits, stored as in esnn_packed.c: each spike that was fired adds its words to
 * the sums of sixteen outputs. Fields of 2 bits are added up in 4 bits for a turn of four rows; fields of 4 bits in
 * bytes for MOST rows, bytes in halves of words for MOST_ROWS of them.
 */
#include "esnn_event.h"

#if !ESNN_MVE /* Helium has its own: esnn_event_packed_mve.c */

#define NIBBLES 0x0f0f0f0fu
#define PAIRS 0x33333333u
#define BYTES_0_2 0x00ff00ffu

enum { TURN = 4, MOST_4 = 17, MOST_2 = 85, MOST_ROWS = 4096 }; /* 17*15 and 85*3 fit 8 bits, 4096*15 fits 16 */
enum { OUTPUTS = 16, SUMS = OUTPUTS / 4 };                     /* of a block, and words with a byte for each of them */

/* Sums of bytes 0 and 2, and of bytes 1 and 3. */
typedef struct {
    uint32_t even[SUMS], odd[SUMS];
} block_sums;

/* What was added up in bytes, to halves of words. */
static ESNN_INLINE void move_bytes(block_sums *sum, const uint32_t bytes[SUMS]) {
    for (uint32_t k = 0; k < SUMS; k++) {
        sum->even[k] += bytes[k] & BYTES_0_2;
        sum->odd[k] += bytes[k] >> 8 & BYTES_0_2;
    }
}

/* The words of a row are those of two blocks of 8 outputs of 4 bits: byte b of sum k is that of output 2b + k, and of 8
 * more where k is 2 or 3, which then is 2 less. */
static ESNN_INLINE void add_row4(uint32_t sum[SUMS], uint32_t word, uint32_t other) {
    sum[0] += word & NIBBLES;
    sum[1] += word >> 4 & NIBBLES;
    sum[2] += other & NIBBLES;
    sum[3] += other >> 4 & NIBBLES;
}

/* The rows list[0..n), n <= MOST_4. */
static ESNN_INLINE void add_rows4(const uint16_t *list, uint32_t n, const uint32_t *w, const uint32_t *next,
                                  block_sums *to) {
    uint32_t sum[SUMS] = {0};
    ESNN_ONE_TURN
    for (const uint16_t *fours = list + n % TURN; list != fours; list++) {
        add_row4(sum, w[*list], next[*list]);
    }
    ESNN_ONE_TURN
    for (const uint16_t *end = list + n / TURN * TURN; list != end; list += TURN) {
        add_row4(sum, w[list[0]], next[list[0]]);
        ESNN_IN_ORDER();
        add_row4(sum, w[list[1]], next[list[1]]);
        ESNN_IN_ORDER();
        add_row4(sum, w[list[2]], next[list[2]]);
        ESNN_IN_ORDER();
        add_row4(sum, w[list[3]], next[list[3]]);
    }
    move_bytes(to, sum);
}

/* One word a row: byte b of sum k is that of output 4b + k. */
static ESNN_INLINE void add_row2(uint32_t *even, uint32_t *odd, uint32_t word) {
    *even += word & PAIRS;
    *odd += word >> 2 & PAIRS;
}

/* The sums of a turn, of outputs 2i and 2i + 1 in bits 4i to 4i + 3. */
static ESNN_INLINE void add_turn2(uint32_t sum[SUMS], uint32_t even, uint32_t odd) {
    sum[0] += even & NIBBLES;
    sum[1] += odd & NIBBLES;
    sum[2] += even >> 4 & NIBBLES;
    sum[3] += odd >> 4 & NIBBLES;
}

/* The rows list[0..n), n <= MOST_2. */
static ESNN_INLINE void add_rows2(const uint16_t *list, uint32_t n, const uint32_t *w, block_sums *to) {
    uint32_t sum[SUMS] = {0}, even = 0, odd = 0;
    ESNN_ONE_TURN
    for (const uint16_t *fours = list + n % TURN; list != fours; list++) {
        add_row2(&even, &odd, w[*list]);
    }
    add_turn2(sum, even, odd);
    ESNN_ONE_TURN
    for (const uint16_t *end = list + n / TURN * TURN; list != end; list += TURN) {
        even = 0;
        odd = 0;
        add_row2(&even, &odd, w[list[0]]);
        ESNN_IN_ORDER();
        add_row2(&even, &odd, w[list[1]]);
        ESNN_IN_ORDER();
        add_row2(&even, &odd, w[list[2]]);
        ESNN_IN_ORDER();
        add_row2(&even, &odd, w[list[3]]);
        add_turn2(sum, even, odd);
    }
    move_bytes(to, sum);
}

/* All rows of a block, n <= MOST_ROWS; `next` holds outputs 8 to 15. */
static ESNN_NOINLINE void add_block4(const uint16_t *list, uint32_t n, const uint32_t *w, const uint32_t *next,
                                     block_sums *sum) {
    for (; n > MOST_4; n -= MOST_4, list += MOST_4) {
        add_rows4(list, MOST_4, w, next, sum);
    }
    add_rows4(list, n, w, next, sum);
}

static ESNN_NOINLINE void add_block2(const uint16_t *list, uint32_t n, const uint32_t *w, block_sums *sum) {
    for (; n > MOST_2; n -= MOST_2, list += MOST_2) {
        add_rows2(list, MOST_2, w, sum);
    }
    add_rows2(list, n, w, sum);
}

/* a[o*stride] = bias + the sum of output o of a block. */
static void put_block(const block_sums *sum, uint32_t bits, int32_t *a, uint32_t stride, int32_t bias) {
    const uint32_t lanes = 8 / bits, step = lanes * stride;
    for (uint32_t k = 0; k < SUMS; k++) {
        int32_t *to = a + (k / lanes * (32 / bits) + k % lanes) * stride;
        to[0] = bias + (int32_t)(sum->even[k] & 0xffffu);
        to[step] = bias + (int32_t)(sum->odd[k] & 0xffffu);
        to[2 * step] = bias + (int32_t)(sum->even[k] >> 16);
        to[3 * step] = bias + (int32_t)(sum->odd[k] >> 16);
    }
}

/* a = the rows list[0..n) added up, n <= MOST_ROWS. With `add`, += instead. */
static void sum_rows(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows, uint32_t bits,
                     int add) {
    const int32_t bias = -(int32_t)(n << (bits - 1));
    const uint32_t *w = rows->w;
    for (uint32_t left = rows->outputs; left > 0; w += OUTPUTS * bits / 32 * rows->inputs) {
        const uint32_t *next = left > OUTPUTS / 2 ? w + rows->inputs : w; /* there may be no other block of 4 bits */
        const uint32_t outputs = left < OUTPUTS ? left : OUTPUTS;
        block_sums sum = {{0}, {0}};
        if (bits == 4) {
            add_block4(list, n, w, next, &sum);
        } else {
            add_block2(list, n, w, &sum);
        }
        if (outputs == OUTPUTS && !add) {
            put_block(&sum, bits, a, rows->stride, bias);
        } else {
            int32_t all[OUTPUTS];
            put_block(&sum, bits, all, 1, bias);
            ESNN_ONE_TURN
            for (uint32_t o = 0; o < outputs; o++) {
                a[o * rows->stride] = (add ? a[o * rows->stride] : 0) + all[o];
            }
        }
        a += outputs * rows->stride;
        left -= outputs;
    }
}

void esnn_event_packed_sum(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows, uint32_t bits) {
    const uint32_t first = n < MOST_ROWS ? n : MOST_ROWS;
    sum_rows(list, first, a, rows, bits, 0);
    for (uint32_t at = first; at < n; at += MOST_ROWS) {
        sum_rows(list + at, n - at < MOST_ROWS ? n - at : MOST_ROWS, a, rows, bits, 1);
    }
}

void esnn_event_packed_linear(const uint8_t *x, const uint32_t *w, uint32_t bits, uint16_t *scratch, int32_t *a,
                              uint32_t inputs, uint32_t outputs) {
    /* W (O,C) @ x (C,) -> a (O,) */
    const esnn_event_rows rows = {w, inputs, outputs, 1};
    esnn_event_packed_sum(scratch, esnn_event_list(x, inputs, scratch), a, &rows, bits);
}
#endif
