/* Integer arithmetic that C11 leaves open, defined here once. */
#ifndef ESNN_ARITH_H
#define ESNN_ARITH_H

#include <stdint.h>

/* x >> n rounding towards minus infinity. C11 leaves >> of a negative number to the implementation; the test below is a
 * constant, so where >> is arithmetic (all compilers we know) this is one shift. */
static inline int32_t esnn_asr32(int32_t x, uint32_t n) {
    return (-1 >> 1) == -1 || x >= 0 ? x >> n : ~(~x >> n);
}

static inline int64_t esnn_asr64(int64_t x, uint32_t n) {
    return (-1 >> 1) == -1 || x >= 0 ? x >> n : ~(~x >> n);
}

/* The low 16 bits as a signed number. C11 leaves the conversion to the implementation: the same holds. */
static inline int32_t esnn_low16(int32_t x) {
    const uint32_t low = (uint32_t)x & 0xffffu;
    return (int16_t)0xffff == -1 ? (int16_t)low : (int32_t)(low ^ 0x8000u) - 0x8000;
}

static inline int64_t esnn_clamp64(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

/* Membranes and logits hold signed 24 bits. */
static inline int32_t esnn_sat24(int64_t x) {
    return (int32_t)esnn_clamp64(x, -8388608, 8388607);
}

/* (leak*v + 2^14) >> 15, leak in Q15. */
static inline int64_t esnn_leak(int32_t v, int32_t leak) {
    return esnn_asr64((int64_t)leak * v + (1 << 14), 15);
}

/* m = sat24(((leak*v + 2^14) >> 15) + current) */
static inline int32_t esnn_integrate(int32_t v, int32_t leak, int32_t current) {
    return esnn_sat24(esnn_leak(v, leak) + current);
}

/* (x*multiplier + 2^(shift-1)) >> shift, 1 <= shift <= 62. */
static inline int64_t esnn_scale(int32_t x, int32_t multiplier, uint32_t shift) {
    return esnn_asr64((int64_t)x * multiplier + ((int64_t)1 << (shift - 1)), shift);
}

#endif
