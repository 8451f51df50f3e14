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

/* 32-bit values at a limit; cores that have an instruction for it use it. */
static inline int32_t esnn_clamp32(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : x;
}

/* max(x, 0) without a comparison: one or two instructions, where a conditional move takes three. */
static inline int32_t esnn_positive(int32_t x) {
    return x & ~esnn_asr32(x, 31);
}

/* Membranes and logits hold signed 24 bits. */
static inline int32_t esnn_sat24(int32_t x) {
    return esnn_clamp32(x, -8388608, 8388607);
}

/* Four bytes at an aligned address, lowest first. The built-in, as a freestanding memcpy would be a call. */
static inline uint32_t esnn_load_aligned(const uint8_t *from) {
#if defined(__GNUC__)
    uint32_t word;
    __builtin_memcpy(&word, __builtin_assume_aligned(from, 4), sizeof word);
    return word;
#else
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
#endif
}

/* floor(x*y / 2^32): the high word of a long product is one instruction on most cores. */
static inline int32_t esnn_high(int32_t x, int32_t y) {
    return (int32_t)esnn_asr64((int64_t)x * y, 32);
}

/* (leak*v + 2^14) >> 15 for v of 24 bits and 0 <= leak <= 2^15. With both factors shifted up, the product's low word
 * does not matter: it is (2^22*leak*v + 2^36) >> 37. Cores with DSP instructions round to the high word in one. */
static inline int32_t esnn_leak(int32_t v, int32_t leak) {
#if defined(__ARM_FEATURE_DSP)
    return (int32_t)esnn_asr64((int64_t)(v * (1 << 2)) * (leak * (1 << 15)) + ((int64_t)1 << 31), 32);
#else
    return esnn_asr32(esnn_high(v * (1 << 7), leak * (1 << 15)) + (1 << 4), 5);
#endif
}

/* sat24(((leak*v + 2^14) >> 15) + current) for v of 24 bits. A current beyond 26 bits saturates whatever v is, so that
 * limiting it changes nothing and the sum fits. */
static inline int32_t esnn_integrate(int32_t v, int32_t leak, int32_t current) {
    return esnn_sat24(esnn_leak(v, leak) + esnn_clamp32(current, -(1 << 25), (1 << 25) - 1));
}

/* (x*multiplier + 2^(shift-1)) >> shift, 1 <= shift <= 62. */
static inline int64_t esnn_scale(int32_t x, int32_t multiplier, uint32_t shift) {
    return esnn_asr64((int64_t)x * multiplier + ((int64_t)1 << (shift - 1)), shift);
}

#endif
