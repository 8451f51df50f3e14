/* What the kernels for the Arm DSP extension share: memory access and instructions that compilers need help with. */
#ifndef ESNN_DSP_H
#define ESNN_DSP_H

#include "esnn_kernels.h"

#if ESNN_DSP
#include <arm_acle.h>

/* Four bytes at any address, lowest first: one LDR. The built-in, as a freestanding memcpy would be a call. */
static inline uint32_t esnn_load4(const void *from) {
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

static inline void esnn_store4(void *to, uint32_t word) {
    __builtin_memcpy(to, &word, sizeof word);
}

/* n < 4 bytes, lowest first; the other bytes are zero. */
static inline uint32_t esnn_load_tail(const void *from, uint32_t n) {
    const uint8_t *byte = from;
    uint32_t word = 0;
    for (uint32_t i = 0; i < n; i++) {
        word |= (uint32_t)byte[i] << 8 * i;
    }
    return word;
}

/* (x*y + 2^31) >> 32 */
static inline int32_t esnn_smmulr(int32_t x, int32_t y) {
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* sum + x0*y0 + x1*y1 of the signed halves of two words. */
static inline int64_t esnn_smlald(uint32_t x, uint32_t y, int64_t sum) {
    uint32_t low = (uint32_t)sum, high = (uint32_t)((uint64_t)sum >> 32);
    __asm__("smlald %0, %1, %2, %3" : "+r"(low), "+r"(high) : "r"(x), "r"(y));
    return (int64_t)((uint64_t)high << 32 | low);
}

/* Bytes as a 4x4 matrix, a row a word: to is its transpose. */
static inline void esnn_transpose4(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t to[4]) {
    const uint32_t even = 0x00ff00ffu;
    const uint32_t ab = (b ^ a >> 8) & even, cd = (d ^ c >> 8) & even; /* what changes places: odd of a, even of b */
    const uint32_t ab02 = a ^ ab << 8, ab13 = b ^ ab, cd02 = c ^ cd << 8, cd13 = d ^ cd;
    to[0] = (ab02 & 0xffffu) | cd02 << 16;
    to[1] = (ab13 & 0xffffu) | cd13 << 16;
    to[2] = ab02 >> 16 | (cd02 & 0xffff0000u);
    to[3] = ab13 >> 16 | (cd13 & 0xffff0000u);
}

/* The loops below are assembly because compilers spill in them. Each needs at most 13 registers, so that it compiles
 * with a frame pointer, too; outputs that are written before all inputs are read are "+&r". */

/* sum += the four products of the bytes of w with even = x0 x2 and odd = x1 x3. */
#define ESNN_DOT_WORD(sum)                                                                                             \
    "sxtb16 %[t], %[w]\n\t"                                                                                            \
    "smlad " sum ", %[t], %[even], " sum "\n\t"                                                                        \
    "sxtb16 %[t], %[w], ror #8\n\t"                                                                                    \
    "smlad " sum ", %[t], %[odd], " sum "\n\t"

/* sum[r] += row r of W . x for four rows and all whole words of weights before x = end; returns the first word left. */
static inline const uint8_t *esnn_dsp_rows4(const uint32_t *x, const uint32_t *end, const uint8_t *w, uint32_t fan_in,
                                            int32_t sum[4]) {
    const uint8_t *w3 = w + 3 * fan_in;
    int32_t sum0 = sum[0], sum1 = sum[1], sum2 = sum[2], sum3 = sum[3];
    uint32_t word, even, odd, t;
    if (x == end) {
        return w;
    }
    __asm__ volatile(
        "1:\n\t"
        "ldrd %[even], %[odd], [%[x]], #8\n\t"
        "ldr %[w], [%[w0], %[row]]\n\t" ESNN_DOT_WORD("%[sum1]") "ldr %[w], [%[w0], %[row], lsl #1]\n\t" ESNN_DOT_WORD(
            "%[sum2]") "ldr %[w], [%[w0]], #4\n\t" ESNN_DOT_WORD("%[sum0]") "ldr %[w], [%[w3]], #4\n\t" ESNN_DOT_WORD("%[sum3]") "cmp %[x], %[end]\n\t"
                                                                                                                                 "bne 1b"
        : [sum0] "+&r"(sum0), [sum1] "+&r"(sum1), [sum2] "+&r"(sum2), [sum3] "+&r"(sum3), [x] "+&r"(x), [w0] "+&r"(w),
          [w3] "+&r"(w3), [w] "=&r"(word), [even] "=&r"(even), [odd] "=&r"(odd), [t] "=&r"(t)
        : [end] "r"(end), [row] "r"(fan_in)
        : "cc", "memory");
    sum[0] = sum0;
    sum[1] = sum1;
    sum[2] = sum2;
    sum[3] = sum3;
    return w;
}

/* sum[0..1] += two rows of W . x, sum[2..3] += the same . y, for all whole words before x = end. */
static inline const uint8_t *esnn_dsp_rows2x2(const uint32_t *x, const uint32_t *y, const uint32_t *end,
                                              const uint8_t *w, uint32_t fan_in, int32_t sum[4]) {
    int32_t x0 = sum[0], x1 = sum[1], y0 = sum[2], y1 = sum[3];
    uint32_t a0, a1, xv, yv, t;
    if (x == end) {
        return w;
    }
    __asm__ volatile("1:\n\t"
                     "ldr %[a1], [%[w], %[row]]\n\t"
                     "ldr %[a0], [%[w]], #4\n\t"
                     "ldr %[xv], [%[x]], #4\n\t"
                     "ldr %[yv], [%[y]], #4\n\t"
                     "sxtb16 %[t], %[a0]\n\t"
                     "smlad %[x0], %[t], %[xv], %[x0]\n\t"
                     "smlad %[y0], %[t], %[yv], %[y0]\n\t"
                     "sxtb16 %[t], %[a1]\n\t"
                     "smlad %[x1], %[t], %[xv], %[x1]\n\t"
                     "smlad %[y1], %[t], %[yv], %[y1]\n\t"
                     "ldr %[xv], [%[x]], #4\n\t"
                     "ldr %[yv], [%[y]], #4\n\t"
                     "sxtb16 %[t], %[a0], ror #8\n\t"
                     "smlad %[x0], %[t], %[xv], %[x0]\n\t"
                     "smlad %[y0], %[t], %[yv], %[y0]\n\t"
                     "sxtb16 %[t], %[a1], ror #8\n\t"
                     "smlad %[x1], %[t], %[xv], %[x1]\n\t"
                     "smlad %[y1], %[t], %[yv], %[y1]\n\t"
                     "ldr %[t], %[end]\n\t"
                     "cmp %[x], %[t]\n\t"
                     "bne 1b"
                     : [x0] "+&r"(x0), [x1] "+&r"(x1), [y0] "+&r"(y0), [y1] "+&r"(y1), [x] "+&r"(x), [y] "+&r"(y),
                       [w] "+&r"(w), [a0] "=&r"(a0), [a1] "=&r"(a1), [xv] "=&r"(xv), [yv] "=&r"(yv), [t] "=&r"(t)
                     : [row] "r"(fan_in), [end] "m"(end)
                     : "cc", "memory");
    sum[0] = x0;
    sum[1] = x1;
    sum[2] = y0;
    sum[3] = y1;
    return w;
}

/* Two words of inputs for two rows of weights, bits carried out from the top. */
#define ESNN_CHOOSE(bits, value, sum)                                                                                  \
    "uadd8 " bits ", " bits ", " bits "\n\t"                                                                           \
    "sel %[t], " value ", %[z]\n\t"                                                                                    \
    "usada8 " sum ", %[t], %[zero], " sum "\n\t"
#define ESNN_CHOOSE_TWO                                                                                                \
    ESNN_CHOOSE("%[w0]", "%[x0]", "%[sum0]")                                                                           \
    ESNN_CHOOSE("%[w1]", "%[x0]", "%[sum1]")                                                                           \
    ESNN_CHOOSE("%[w0]", "%[x1]", "%[sum0]")                                                                           \
    ESNN_CHOOSE("%[w1]", "%[x1]", "%[sum1]")

typedef struct {
    uint32_t row0, row1;
} esnn_sums;

/* The bytes of the blocks [x, end), one at least, whose bits of a row are set, and z for the others; rows `row` bytes
 * apart. */
static inline esnn_sums esnn_dsp_choose(const uint32_t *x, const uint32_t *end, const uint8_t *w, uint32_t row,
                                        uint32_t z) {
    esnn_sums sum = {0, 0};
    uint32_t w0, w1, x0, x1, t;
    __asm__ volatile("1:\n\t"
                     "ldr %[w1], [%[w], %[row]]\n\t"
                     "ldr %[w0], [%[w]], #4\n\t"
                     "ldrd %[x0], %[x1], [%[x]], #8\n\t" ESNN_CHOOSE_TWO
                     "ldrd %[x0], %[x1], [%[x]], #8\n\t" ESNN_CHOOSE_TWO
                     "ldrd %[x0], %[x1], [%[x]], #8\n\t" ESNN_CHOOSE_TWO
                     "ldrd %[x0], %[x1], [%[x]], #8\n\t" ESNN_CHOOSE_TWO "cmp %[x], %[end]\n\t"
                     "bne 1b"
                     : [sum0] "+&r"(sum.row0), [sum1] "+&r"(sum.row1), [x] "+&r"(x), [w] "+&r"(w), [w0] "=&r"(w0),
                       [w1] "=&r"(w1), [x0] "=&r"(x0), [x1] "=&r"(x1), [t] "=&r"(t)
                     : [end] "r"(end), [row] "r"(row), [z] "r"(z), [zero] "r"(0)
                     : "cc", "memory");
    return sum;
}

/* The mask of bit j of every byte of w, and four words of inputs. */
#define ESNN_MASK(bit)                                                                                                 \
    "and %[m], %[ones], %[bits], " bit "\n\t"                                                                          \
    "ldmia %[x]!, {r8, r9, r10, r11}\n\t"                                                                              \
    "rsb %[m], %[m], %[m], lsl #8\n\t"                                                                                 \
    "usada8 %[s0], r8, %[m], %[s0]\n\t"                                                                                \
    "usada8 %[s1], r9, %[m], %[s1]\n\t"                                                                                \
    "usada8 %[s2], r10, %[m], %[s2]\n\t"                                                                               \
    "usada8 %[s3], r11, %[m], %[s3]\n\t"

typedef struct {
    uint32_t pixel0, pixel1, pixel2, pixel3;
} esnn_quad_sums;

/* The sums of |b - mask| over the blocks [x, end), one at least, by pixel. */
static inline esnn_quad_sums esnn_dsp_masks(const uint32_t *x, const uint32_t *end, const uint8_t *w) {
    esnn_quad_sums sum = {0, 0, 0, 0};
    uint32_t bits, m;
    __asm__ volatile("1:\n\t"
                     "ldr %[bits], [%[w]], #4\n\t" ESNN_MASK("lsl #0") ESNN_MASK("lsr #1") ESNN_MASK("lsr #2")
                         ESNN_MASK("lsr #3") ESNN_MASK("lsr #4") ESNN_MASK("lsr #5") ESNN_MASK("lsr #6")
                             ESNN_MASK("lsr #7") "ldr %[m], %[end]\n\t"
                                                 "cmp %[x], %[m]\n\t"
                                                 "bne 1b"
                     : [s0] "+&r"(sum.pixel0), [s1] "+&r"(sum.pixel1), [s2] "+&r"(sum.pixel2), [s3] "+&r"(sum.pixel3),
                       [x] "+&r"(x), [w] "+&r"(w), [bits] "=&r"(bits), [m] "=&r"(m)
                     : [ones] "r"(0x01010101u), [end] "m"(end)
                     : "r8", "r9", "r10", "r11", "cc", "memory");
    return sum;
}

#endif
#endif
