/* Adding up rows of weights for Helium: sixteen bytes of a row widen to two vectors of sums of 16 bits. Lists are made
 * from sixteen inputs, or eight channels of a pixel, at a time. */
#include "esnn_event.h"
#include "esnn_mve.h"

#if ESNN_MVE
#include <arm_mve.h>

/* Input *list++: its row, from r2 + 16*input, to the sums q0 (outputs 0 to 7) and q1 (8 to 15). */
#define ADD_ROW                                                                                                        \
    "ldrh r5, [r0], #2\n\t"                                                                                            \
    "add r4, r2, r5, lsl #4\n\t"                                                                                       \
    "vldrb.u16 q2, [r4]\n\t"                                                                                           \
    "vldrb.u16 q3, [r4, #8]\n\t"                                                                                       \
    "vadd.i16 q0, q0, q2\n\t"                                                                                          \
    "vadd.i16 q1, q1, q3\n\t"
/* The even and the odd outputs of a vector of sums, to r3 and to r4, + the offsets in q4. */
#define PUT(sums)                                                                                                      \
    "vmovlb.u16 q2, " sums "\n\tvmovlt.u16 q3, " sums "\n\t"                                                           \
    "vadd.i32 q2, q2, r5\n\tvadd.i32 q3, q3, r5\n\t"                                                                   \
    "vstrw.32 q2, [r3, q4]\n\tvstrw.32 q3, [r4, q4]\n\t"

/* Four rows a turn; what is beyond a multiple of four comes first. */
/* clang-format off */
ESNN_MVE_FUNCTION("esnn_event_wide",
    "push {r4-r6, lr}\n\t"
    "vpush {d8-d9}\n\t"
    "vmov.i32 q0, #0\n\t"
    "vmov.i32 q1, #0\n\t"
    "and r6, r1, #3\n\t"
    "wls lr, r6, 2f\n"
    "1:\n\t" ADD_ROW
    "le lr, 1b\n"
    "2:\n\t"
    "lsr r1, r1, #2\n\t"
    "wls lr, r1, 4f\n"
    "3:\n\t" ADD_ROW ADD_ROW ADD_ROW ADD_ROW
    "le lr, 3b\n"
    "4:\n\t"
    "ldrd r6, r5, [sp, #32]\n\t" /* past 4 words and 2 double words: stride and bias */
    "movs r4, #0\n\t"
    "vidup.u32 q4, r4, #8\n\t" /* two outputs further a lane */
    "vmul.i32 q4, q4, r6\n\t"
    "add r4, r3, r6, lsl #2\n\t"
    PUT("q0")
    "add r3, r3, r6, lsl #5\n\t"
    "add r4, r4, r6, lsl #5\n\t"
    PUT("q1")
    "vpop {d8-d9}\n\t"
    "pop {r4-r6, pc}");
/* clang-format on */

uint32_t esnn_event_list_inputs(const uint8_t *x, uint32_t n, uint16_t *list) {
    uint16_t *to = list;
    ESNN_ONE_TURN
    for (uint32_t at = 0; at < n; at += 16) {
        uint32_t fired = vcmpneq_n_u8(vld1q_z_u8(x + at, vctp8q(n - at)), 0);
        ESNN_ONE_TURN
        for (; fired != 0; fired &= fired - 1) {
            *to++ = (uint16_t)(at + (uint32_t)__builtin_ctz(fired));
        }
    }
    return (uint32_t)(to - list);
}

uint16_t *esnn_event_list_rows(const uint16_t *record, uint32_t pixels, uint32_t row, uint32_t channels, uint16_t *to) {
    ESNN_ONE_TURN
    for (; pixels > 0; pixels--, row += channels, record += 1 + channels) {
        const uint32_t n = record[0];
        ESNN_ONE_TURN
        for (uint32_t i = 0; i < n; i += 8) {
            const mve_pred16_t some = vctp16q(n - i);
            vst1q_p_u16(to + i, vaddq_n_u16(vld1q_z_u16(record + 1 + i, some), (uint16_t)row), some);
        }
        to += n;
    }
    return to;
}

#endif
