/* Adding up rows of weights of 2 and 4 bits for Helium.
 *
 * A row holds the fields of all outputs beside each other, the first in the lowest bits, and is filled up to words; the
 * generated C holds the weights in this order, too. Of the bits h of some neighbours, VADD adds up all, modulo a power
 * of two, and VQDMLAH, with a factor for the shift, h >> n, which are the upper ones alone. What is left of the first
 * sum without the second, shifted back, is the sum of the lower ones.
 *
 * 4 bits: h is a byte of an odd output, w, and the even one before it, w + 8. 32 outputs take three instructions a row;
 *     bytes are moved to 16 bits before they are full.
 * 2 bits: h is a byte of four outputs, each w + 2, widened to 16 bits. 32 outputs take five instructions a row.
 */
#include "esnn_event.h"

#if ESNN_MVE
#include <arm_mve.h>

/* 16 rows of bytes; 4096 * 8 of their sums, and 512 * 63 of 16 bits that are shifted by 2. */
enum { MOST_BYTES = 16, MOST_4 = 4096, MOST_2 = 512 };
enum { OUTPUTS = 32, VECTORS = 3 }; /* of a part of a row, and its vectors of bytes of 4 bits that are added at once */

/* Of a part: sums[c][j] is that of output 4j + c. */
typedef struct {
    int16_t of[4][8];
} part_sums;

/* Rows list[0..n) of weights, which are `row_bytes` apart. */
typedef struct {
    const uint16_t *list;
    uint32_t n;
    const uint8_t *w;
    uint32_t row_bytes;
} fired_rows;

/* Four sums to a, by `offsets`, of which some are kept; += with `add`. */
static ESNN_INLINE void put4(int32_t *a, uint32x4_t offsets, int32x4_t sums, mve_pred16_t some, int add) {
    if (add) {
        sums = vaddq_s32(sums, vldrwq_gather_offset_z_s32(a, offsets, some));
    }
    vstrwq_scatter_offset_p_s32(a, offsets, sums, some);
}

/* The sums of a part's outputs, n of them, to a[o*stride]. */
static ESNN_INLINE void put(const part_sums *from, int32_t *a, uint32_t stride, uint32_t n, int add) {
    const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 8), 4 * stride); /* of every eighth output */
    ESNN_ONE_TURN
    for (uint32_t c = 0; c < 4; c++, a += stride) {
        const int16x8_t sums = vld1q_s16(from->of[c]);
        put4(a, offsets, vmovlbq_s16(sums), vctp32q((n + 7 - c) / 8), add);
        put4(a + 4 * stride, offsets, vmovltq_s16(sums), vctp32q((n + 3 - c) / 8), add);
    }
}

static ESNN_INLINE void add_to(int16_t sums[8], uint16x8_t more) {
    vst1q_s16(sums, vaddq_s16(vld1q_s16(sums), vreinterpretq_s16_u16(more)));
}

/* Left alone, compilers make a loop of it, and keep sums in memory. */
#define EACH_VECTOR _Pragma("GCC unroll 3") for (uint32_t v = 0; v < vectors; v++)

/* Up to MOST_BYTES rows to the sums of so many parts, a constant where this is inlined; of the last one a row has some
 * bytes. */
static ESNN_INLINE void add_bytes(const fired_rows *rows, const uint32_t vectors, mve_pred16_t some, part_sums *to) {
    uint8x16_t all[VECTORS];
    int8x16_t odd[VECTORS];
    EACH_VECTOR {
        all[v] = vdupq_n_u8(0);
        odd[v] = vdupq_n_s8(0);
    }
    ESNN_ONE_TURN
    for (const uint16_t *at = rows->list, *end = at + rows->n; at != end; at++) {
        const uint8_t *row = rows->w + *at * rows->row_bytes;
        EACH_VECTOR {
            const uint8x16_t bytes = v + 1 < vectors ? vld1q_u8(row + 16 * v) : vld1q_z_u8(row + 16 * v, some);
            all[v] = vaddq_u8(all[v], bytes);
            odd[v] = vqdmlahq_n_s8(odd[v], vreinterpretq_s8_u8(bytes), 8);
        }
    }
    EACH_VECTOR {
        const uint8x16_t even = vmlaq_n_u8(all[v], vreinterpretq_u8_s8(odd[v]), 240); /* -16 */
        add_to(to[v].of[0], vmovlbq_u8(even));
        add_to(to[v].of[1], vreinterpretq_u16_s16(vmovlbq_s8(odd[v])));
        add_to(to[v].of[2], vmovltq_u8(even));
        add_to(to[v].of[3], vreinterpretq_u16_s16(vmovltq_s8(odd[v])));
    }
}

/* The sums of so many parts for up to MOST_4 rows. */
static ESNN_INLINE void sum_parts4(const fired_rows *rows, const uint32_t vectors, mve_pred16_t some, part_sums *to) {
    const int16x8_t start[2] = {vdupq_n_s16((int16_t)(-8 * (int32_t)rows->n)), vdupq_n_s16(0)};
    fired_rows now = *rows;
    EACH_VECTOR {
        for (uint32_t c = 0; c < 4; c++) {
            vst1q_s16(to[v].of[c], start[c % 2]);
        }
    }
    ESNN_ONE_TURN
    for (uint32_t left = rows->n; left > 0; left -= now.n, now.list += now.n) {
        now.n = left < MOST_BYTES ? left : MOST_BYTES;
        add_bytes(&now, vectors, some, to);
    }
}

/* The sums of a part, of which a row has some bytes, for up to MOST_2 rows. */
static ESNN_INLINE void sum_part2(const fired_rows *rows, mve_pred16_t some, part_sums *to) {
    int16x8_t sum[4] = {vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
    const int16x8_t excess = vdupq_n_s16((int16_t)(2 * rows->n));
    ESNN_ONE_TURN
    for (const uint16_t *at = rows->list, *end = at + rows->n; at != end; at++) {
        const int16x8_t bytes = vreinterpretq_s16_u16(vldrbq_z_u16(rows->w + *at * rows->row_bytes, some));
        sum[0] = vaddq_s16(sum[0], bytes);
        sum[1] = vqdmlahq_n_s16(sum[1], bytes, 1 << 13); /* >> 2 */
        sum[2] = vqdmlahq_n_s16(sum[2], bytes, 1 << 11);
        sum[3] = vqdmlahq_n_s16(sum[3], bytes, 1 << 9);
    }
    vst1q_s16(to->of[0], vsubq_s16(vmlaq_n_s16(sum[0], sum[1], -4), excess));
    vst1q_s16(to->of[1], vsubq_s16(vmlaq_n_s16(sum[1], sum[2], -4), excess));
    vst1q_s16(to->of[2], vsubq_s16(vmlaq_n_s16(sum[2], sum[3], -4), excess));
    vst1q_s16(to->of[3], vsubq_s16(sum[3], excess));
}

/* a = the rows added up for all outputs; += with `add`. */
static ESNN_INLINE void sum_rows(fired_rows rows, uint32_t bits, int32_t *a, uint32_t outputs, uint32_t stride,
                                 int add) {
    const uint32_t part_bytes = OUTPUTS * bits / 8;
    uint32_t bytes = rows.row_bytes;
    while (outputs > 0) {
        const uint32_t vectors = bits == 4 && outputs > OUTPUTS * (VECTORS - 1) ? VECTORS : 1;
        part_sums sums[VECTORS];
        if (bits == 2) {
            sum_part2(&rows, vctp16q(bytes), sums);
        } else if (vectors == 1) {
            sum_parts4(&rows, 1, vctp8q(bytes), sums);
        } else {
            sum_parts4(&rows, VECTORS, vctp8q(bytes - part_bytes * (VECTORS - 1)), sums);
        }
        ESNN_ONE_TURN
        for (uint32_t v = 0; v < vectors; v++) {
            const uint32_t n = outputs < OUTPUTS ? outputs : OUTPUTS;
            put(sums + v, a, stride, n, add);
            a += n * stride;
            outputs -= n;
        }
        rows.w += part_bytes * vectors;
        bytes -= part_bytes * vectors;
    }
}

void esnn_event_packed_sum(const uint16_t *list, uint32_t n, int32_t *a, const esnn_event_rows *rows, uint32_t bits) {
    const uint32_t most = bits == 4 ? MOST_4 : MOST_2, row_bytes = (rows->outputs * bits + 31) / 32 * 4;
    for (uint32_t at = 0; at == 0 || at < n; at += most) {
        const fired_rows now = {list + at, n - at < most ? n - at : most, (const uint8_t *)rows->w, row_bytes};
        if (bits == 4) {
            sum_rows(now, 4, a, rows->outputs, rows->stride, at != 0);
        } else {
            sum_rows(now, 2, a, rows->outputs, rows->stride, at != 0);
        }
    }
}

#endif
