/* Linear synapses with 1-bit weights for Helium (Cortex-M55): weight bits become predicates.
 *
 * Sixteen bytes of a row of weights fill a vector; bit j of lane l is that of input 8l + j. Its top bit is the sign of
 * the lane, so `vpt.s8 lt` turns sixteen weights into a predicate, under which VADDVA adds up the inputs whose weight
 * is +1; a shift brings the next bit to the top. The inputs are kept in blocks of 128: eight vectors, from bit 7 down
 * to bit 0, with input 8l + j in lane l. With S the sum of the chosen inputs and B that of all:  sum of w*x = 2S - B.
 */
#include "esnn_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

enum { BLOCK = 128, ROWS = 4 };

/* One vector of inputs for four rows of weights; the last bit of a block needs no shift after it. */
#define CHOOSE(type, x, shift)                                                                                         \
    "vpt.s8 lt, q4, zr\n\tvaddvat." type " r0, " x                                                                     \
    "\n\t" shift("q4") "vpt.s8 lt, q5, zr\n\tvaddvat." type " r2, " x                                                  \
                       "\n\t" shift("q5") "vpt.s8 lt, q6, zr\n\tvaddvat." type " r4, " x                               \
                                          "\n\t" shift("q6") "vpt.s8 lt, q7, zr\n\tvaddvat." type " r6, " x            \
                                                             "\n\t" shift("q7")
#define SHIFT(q) "vshl.i8 " q ", " q ", #1\n\t"
#define STAY(q) ""

/* a[0..4*quads) = 2S - all for rows of weights `stride` bytes apart. Registers: sums r0 r2 r4 r6, which VADDVA wants
 * even; rows r3 r5 r7 r8, inputs r1, stride r9, a r10, all r11, quads r12. The tail-predicated loop reads no byte
 * beyond a row, and the lanes beyond it hold no weight. */
void esnn_mve_rows_u8(const uint8_t *blocks, const uint8_t *w, int32_t *a, uint32_t quads, uint32_t stride,
                      uint32_t row_bytes, int32_t all);
void esnn_mve_rows_s8(const uint8_t *blocks, const uint8_t *w, int32_t *a, uint32_t quads, uint32_t stride,
                      uint32_t row_bytes, int32_t all);

/* clang-format off */
#define ROWS_OF(name, type) \
    ESNN_MVE_FUNCTION(name, \
        "push {r4-r11, lr}\n\t" \
        "vpush {d8-d15}\n\t" \
        "ldrd r9, r5, [sp, #100]\n\t" /* past 9 words and 8 double words */ \
        "ldr r11, [sp, #108]\n\t" \
        "mov r10, r2\n\t" \
        "mov r12, r3\n\t" \
        "mov r3, r1\n\t" \
        "add r4, r5, #15\n\t" /* the way from where the loop leaves a row to the next four */ \
        "bic r4, r4, #15\n\t" \
        "rsb r4, r4, r9, lsl #2\n\t" \
        "push {r0, r4, r5}\n\t" \
        "1:\n\t" \
        "ldr r1, [sp]\n\t" \
        "add r5, r3, r9\n\t" \
        "add r7, r5, r9\n\t" \
        "add r8, r7, r9\n\t" \
        "movs r0, #0\n\t" \
        "movs r2, #0\n\t" \
        "movs r4, #0\n\t" \
        "movs r6, #0\n\t" \
        "ldr lr, [sp, #8]\n\t" \
        "dlstp.8 lr, lr\n\t" \
        "2:\n\t" \
        "vldrb.u8 q4, [r3], #16\n\t" \
        "vldrb.u8 q5, [r5], #16\n\t" \
        "vldrb.u8 q6, [r7], #16\n\t" \
        "vldrb.u8 q7, [r8], #16\n\t" \
        "vldmia r1!, {d0-d7}\n\t" \
        CHOOSE(type, "q0", SHIFT) CHOOSE(type, "q1", SHIFT) CHOOSE(type, "q2", SHIFT) CHOOSE(type, "q3", SHIFT) \
        "vldmia r1!, {d0-d7}\n\t" \
        CHOOSE(type, "q0", SHIFT) CHOOSE(type, "q1", SHIFT) CHOOSE(type, "q2", SHIFT) CHOOSE(type, "q3", STAY) \
        "letp lr, 2b\n\t" \
        "vmov q0[2], q0[0], r0, r4\n\t" \
        "vmov q0[3], q0[1], r2, r6\n\t" \
        "vadd.i32 q0, q0, q0\n\t" \
        "vsub.i32 q0, q0, r11\n\t" \
        "vstrw.32 q0, [r10], #16\n\t" \
        "ldr r0, [sp, #4]\n\t" \
        "add r3, r0\n\t" \
        "subs r12, #1\n\t" \
        "bne 1b\n\t" \
        "add sp, #12\n\t" \
        "vpop {d8-d15}\n\t" \
        "pop {r4-r11, pc}")
/* clang-format on */

ROWS_OF("esnn_mve_rows_u8", "u8");
ROWS_OF("esnn_mve_rows_s8", "s8");

/* x (n,) -> blocks, filled up with zeros; returns B. */
static inline int32_t make_blocks(const uint8_t *x, esnn_format format, uint8_t *blocks, uint32_t n) {
    const uint8x16_t lanes = vidupq_n_u8(0, 8); /* 0, 8, .. 120 */
    int32_t sum = 0;
    for (; n > 0; x += BLOCK, n -= n < BLOCK ? n : BLOCK) {
        /* Input 8l + j is below n in the lanes below (n - j + 7) / 8; n + 7 - j is never negative. */
        ESNN_ONE_TURN
        for (uint32_t j = 8; j-- > 0; blocks += 16) {
            const uint8x16_t v = vldrbq_gather_offset_z_u8(x + j, lanes, vctp8q((n + 7 - j) / 8));
            vst1q_u8(blocks, v);
            sum = format == ESNN_U8 ? (int32_t)vaddvaq_u8((uint32_t)sum, v) : vaddvaq_s8(sum, vreinterpretq_s8_u8(v));
        }
    }
    return sum;
}

void esnn_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                        uint32_t inputs, uint32_t outputs) {
    /* W (O,ceil(C/8)) bits @ x (C,) -> a (O,) */
    uint8_t one_block[BLOCK];
    uint8_t *const blocks = 2 * ESNN_PATCH(inputs) < BLOCK ? one_block : (uint8_t *)patch;
    const uint32_t row_bytes = (inputs + 7) / 8, quads = outputs / ROWS;
    const int32_t all =
        format == ESNN_U8 ? make_blocks(x, ESNN_U8, blocks, inputs) : make_blocks(x, ESNN_S8, blocks, inputs);
    void (*const rows)(const uint8_t *, const uint8_t *, int32_t *, uint32_t, uint32_t, uint32_t, int32_t) =
        format == ESNN_U8 ? esnn_mve_rows_u8 : esnn_mve_rows_s8;

    if (quads > 0) {
        rows(blocks, w, a, quads, row_bytes, row_bytes, all);
    }
    for (uint32_t o = quads * ROWS; o < outputs; o++) {
        int32_t same[ROWS]; /* one row taken four times */
        rows(blocks, w + o * row_bytes, same, 1, 0, row_bytes, all);
        a[o] = same[0];
    }
}

#endif
