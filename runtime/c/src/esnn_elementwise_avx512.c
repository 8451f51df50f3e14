/* Rescaling and neurons for AVX-512, sixteen values at a time; a mask leaves out what is beyond the last one. */
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { LANES = 16 };

/* Calls what(i, mask) for all of n values; whole vectors have a constant mask. */
#define FOR_EACH_VECTOR(what, n, ...)                                                                                  \
    do {                                                                                                               \
        uint32_t i_ = 0;                                                                                               \
        for (; i_ + LANES <= (n); i_ += LANES) {                                                                       \
            what(i_, (__mmask16)0xffff, __VA_ARGS__);                                                                  \
        }                                                                                                              \
        if (i_ < (n)) {                                                                                                \
            what(i_, (__mmask16)((1u << ((n) - i_)) - 1u), __VA_ARGS__);                                               \
        }                                                                                                              \
    } while (0)

static ESNN_INLINE ESNN_AVX512 __m512i load(const int32_t *from, __mmask16 which) {
    return _mm512_maskz_loadu_epi32(which, from);
}

/* (a*m + 2^(n-1)) >> n of sixteen values, where it fits 32 bits; 1 <= n <= 62. Above 32, it is in the high words. */
static ESNN_INLINE ESNN_AVX512 __m512i scale(__m512i a, __m512i m, uint32_t n) {
    const __m512i half = _mm512_set1_epi64((int64_t)1 << (n - 1));
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(a, m), half);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(m, 32)), half);
    if (n > 32) {
        const __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
        return _mm512_sra_epi32(high, _mm_cvtsi32_si128((int)n - 32));
    }
    const __m128i by = _mm_cvtsi32_si128((int)n);
    const __m512i low = _mm512_srl_epi64(even, by), top = _mm512_slli_epi64(_mm512_srl_epi64(odd, by), 32);
    return _mm512_mask_blend_epi32(0xaaaa, low, top);
}

/* current[i..] = the values a[i..] rescaled. */
static ESNN_INLINE ESNN_AVX512 void rescale_vector(uint32_t i, __mmask16 which, const int32_t *a, __m512i m, __m512i b,
                                                   int32_t *current, uint32_t shift) {
    _mm512_mask_storeu_epi32(current + i, which, _mm512_add_epi32(scale(load(a + i, which), m, shift), b));
}

/* The same where each value is of another output. */
static ESNN_INLINE ESNN_AVX512 void rescale_outputs(uint32_t i, __mmask16 which, const int32_t *a, const int32_t *m,
                                                    const int32_t *b, int32_t *current, uint32_t shift) {
    rescale_vector(i, which, a, load(m + i, which), load(b + i, which), current, shift);
}

static __mmask16 first(uint32_t n) {
    return (__mmask16)(n < LANES ? (1u << n) - 1u : 0xffffu);
}

/* Outputs of a vector of pixels or more. The first vector of an output is loaded before the last one of the output
 * before is stored: a store with a mask holds up loads of what it leaves out. */
static ESNN_AVX512 void rescale_rows(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current,
                                     uint32_t outputs, uint32_t pixels, uint32_t shift) {
    const uint32_t whole = pixels / LANES * LANES;
    const __mmask16 rest = first(pixels - whole);
    __m512i next = _mm512_loadu_si512(a);
    for (uint32_t o = 0; o < outputs; o++, a += pixels, current += pixels) {
        const __m512i m = _mm512_set1_epi32(multiplier[o]), b = _mm512_set1_epi32(bias[o]);
        const __m512i last = load(a + whole, rest);
        _mm512_storeu_si512(current, _mm512_add_epi32(scale(next, m, shift), b));
        for (uint32_t i = LANES; i < whole; i += LANES) {
            rescale_vector(i, (__mmask16)0xffff, a, m, b, current, shift);
        }
        next = o + 1 < outputs ? _mm512_loadu_si512(a + pixels) : next;
        _mm512_mask_storeu_epi32(current + whole, rest, _mm512_add_epi32(scale(last, m, shift), b));
    }
}

ESNN_AVX512 void esnn_avx512_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current,
                                     uint32_t outputs, uint32_t pixels, uint32_t shift, uint32_t lift) {
    (void)lift;
    if (pixels == 1) {
        FOR_EACH_VECTOR(rescale_outputs, outputs, a, multiplier, bias, current, shift);
    } else if (pixels >= LANES) {
        rescale_rows(a, multiplier, bias, current, outputs, pixels, shift);
    } else {
        for (uint32_t o = 0; o < outputs; o++, a += pixels, current += pixels) {
            const __m512i m = _mm512_set1_epi32(multiplier[o]), b = _mm512_set1_epi32(bias[o]);
            rescale_vector(0, first(pixels), a, m, b, current, shift);
        }
    }
}

static ESNN_INLINE ESNN_AVX512 __m512i clamp(__m512i x, int32_t low, int32_t high) {
    return _mm512_min_epi32(_mm512_max_epi32(x, _mm512_set1_epi32(low)), _mm512_set1_epi32(high));
}

static ESNN_INLINE ESNN_AVX512 __m512i sat24(__m512i x) {
    return clamp(x, -(1 << 23), (1 << 23) - 1);
}

/* sat24(((leak*v + 2^14) >> 15) + current) */
static ESNN_INLINE ESNN_AVX512 __m512i integrate(__m512i v, __m512i current, int32_t leak) {
    const __m512i kept = scale(v, _mm512_set1_epi32(leak), 15);
    return sat24(_mm512_add_epi32(kept, clamp(current, -(1 << 25), (1 << 25) - 1)));
}

/* clamp((m - theta + 2^(k-1)) >> k, 0, 2^bits - 1) */
static ESNN_INLINE ESNN_AVX512 __m512i grade(__m512i m, int32_t theta, uint32_t k, uint32_t bits) {
    const __m512i above = _mm512_add_epi32(m, _mm512_set1_epi32((1 << (k - 1)) - theta));
    return clamp(_mm512_sra_epi32(above, _mm_cvtsi32_si128((int)k)), 0, (1 << bits) - 1);
}

static ESNN_INLINE ESNN_AVX512 void empf(uint32_t i, __mmask16 which, int32_t *v, const int32_t *current, uint8_t *s,
                                         int32_t lam, int32_t theta, uint32_t k, uint32_t bits) {
    const __m512i m = integrate(load(v + i, which), load(current + i, which), lam);
    const __m512i spike = grade(m, theta, k, bits), emitted = _mm512_sll_epi32(spike, _mm_cvtsi32_si128((int)k));
    _mm512_mask_storeu_epi32(v + i, which, _mm512_sub_epi32(m, emitted));
    _mm_mask_storeu_epi8(s + i, which, _mm512_cvtepi32_epi8(spike));
}

ESNN_AVX512 void esnn_avx512_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam,
                                  int32_t theta, uint32_t k, uint32_t bits) {
    FOR_EACH_VECTOR(empf, n, v, current, s, lam, theta, k, bits);
}

static ESNN_INLINE ESNN_AVX512 void parallel_empf(uint32_t i, __mmask16 which, const int32_t *current, uint8_t *s,
                                                  int32_t theta, uint32_t k, uint32_t bits) {
    const __m512i spike = grade(sat24(load(current + i, which)), theta, k, bits);
    _mm_mask_storeu_epi8(s + i, which, _mm512_cvtepi32_epi8(spike));
}

ESNN_AVX512 void esnn_avx512_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k,
                                           uint32_t bits) {
    const uint32_t most = n / (4 * LANES) * (4 * LANES);
    const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (uint32_t i = 0; i < most; i += 4 * LANES) { /* one store of 64 bytes is faster than four of 16 */
        __m512i spike[4];
        _Pragma("GCC unroll 4") for (uint32_t q = 0; q < 4; q++) {
            spike[q] = grade(sat24(_mm512_loadu_si512(current + i + q * LANES)), theta, k, bits);
        }
        const __m512i low = _mm512_packs_epi32(spike[0], spike[1]), high = _mm512_packs_epi32(spike[2], spike[3]);
        _mm512_storeu_si512(s + i, _mm512_permutexvar_epi32(in_order, _mm512_packus_epi16(low, high)));
    }
    FOR_EACH_VECTOR(parallel_empf, n - most, current + most, s + most, theta, k, bits);
}

static ESNN_INLINE ESNN_AVX512 void lif(uint32_t i, __mmask16 which, int32_t *v, const int32_t *current, uint8_t *s,
                                        int32_t lam, int32_t theta) {
    const __m512i m = integrate(load(v + i, which), load(current + i, which), lam), all = _mm512_set1_epi32(theta);
    const __mmask16 fired = _mm512_cmpge_epi32_mask(m, all);
    _mm512_mask_storeu_epi32(v + i, which, _mm512_mask_sub_epi32(m, fired, m, all));
    _mm_mask_storeu_epi8(s + i, which, _mm512_cvtepi32_epi8(_mm512_maskz_set1_epi32(fired, 1)));
}

ESNN_AVX512 void esnn_avx512_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam,
                                 int32_t theta) {
    FOR_EACH_VECTOR(lif, n, v, current, s, lam, theta);
}

#endif
