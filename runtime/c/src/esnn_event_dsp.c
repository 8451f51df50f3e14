/* Adding up rows of weights with the Arm DSP extension: UXTAB16 adds two bytes of a word to two sums of 16 bits. */
#include "esnn_event.h"

#if ESNN_DSP && !ESNN_MVE

/* Input *list++: its row, from r2 + 16*input, to the even sums r4 to r7 and the odd sums r8 to r11. */
#define ADD_ROW                                                                                                        \
    "ldrh r1, [r0], #2\n\t"                                                                                            \
    "add r1, r2, r1, lsl #4\n\t"                                                                                       \
    "ldm r1, {r1, r3, r12, lr}\n\t"                                                                                    \
    "uxtab16 r4, r4, r1\n\t"                                                                                           \
    "uxtab16 r8, r8, r1, ror #8\n\t"                                                                                   \
    "uxtab16 r5, r5, r3\n\t"                                                                                           \
    "uxtab16 r9, r9, r3, ror #8\n\t"                                                                                   \
    "uxtab16 r6, r6, r12\n\t"                                                                                          \
    "uxtab16 r10, r10, r12, ror #8\n\t"                                                                                \
    "uxtab16 r7, r7, lr\n\t"                                                                                           \
    "uxtab16 r11, r11, lr, ror #8\n"

/* Four outputs, from the sums `even` and `odd`, to r3 on; the stride is in r2, the bias in r1. */
#define PUT(even, odd)                                                                                                 \
    "uxtah r0, r1, " even "\n\t"                                                                                       \
    "str r0, [r3]\n\t"                                                                                                 \
    "uxtah r0, r1, " odd "\n\t"                                                                                        \
    "str r0, [r3, r2]\n\t"                                                                                             \
    "add r3, r3, r2, lsl #1\n\t"                                                                                       \
    "add r0, r1, " even ", lsr #16\n\t"                                                                                \
    "str r0, [r3]\n\t"                                                                                                 \
    "add r0, r1, " odd ", lsr #16\n\t"                                                                                 \
    "str r0, [r3, r2]\n\t"                                                                                             \
    "add r3, r3, r2, lsl #1\n\t"

/* Naked, as it takes all registers: eight sums, four words of a row, the list and the block; the end of the list is on
 * the stack. Four rows a turn; what is beyond a multiple of four comes first, from the middle of the loop. */
__attribute__((naked)) void esnn_event_wide(__attribute__((unused)) const uint16_t *list,
                                            __attribute__((unused)) uint32_t n,
                                            __attribute__((unused)) const uint32_t *block,
                                            __attribute__((unused)) int32_t *a, __attribute__((unused)) uint32_t stride,
                                            __attribute__((unused)) int32_t bias) {
    __asm__ volatile("push {r3-r11, lr}\n\t"
                     "add r3, r0, r1, lsl #1\n\t"
                     "push {r3}\n\t"
                     "movs r4, #0\n\t"
                     "movs r5, #0\n\t"
                     "movs r6, #0\n\t"
                     "movs r7, #0\n\t"
                     "mov r8, r4\n\t"
                     "mov r9, r4\n\t"
                     "mov r10, r4\n\t"
                     "mov r11, r4\n\t"
                     "ands r1, r1, #3\n\t"
                     "beq 1f\n\t"
                     "cmp r1, #2\n\t"
                     "bhi 2f\n\t"
                     "beq 3f\n\t"
                     "b 4f\n"
                     "1:\n\t" ADD_ROW "2:\n\t" ADD_ROW "3:\n\t" ADD_ROW "4:\n\t" ADD_ROW "\tldr r1, [sp]\n\t"
                     "cmp r0, r1\n\t"
                     "bne 1b\n\t"
                     "pop {r2, r3}\n\t"
                     "ldrd r2, r1, [sp, #36]\n\t"
                     "lsls r2, r2, #2\n\t" PUT("r4", "r8") PUT("r5", "r9") PUT("r6", "r10")
                         PUT("r7", "r11") "pop {r4-r11, pc}");
}

#endif
