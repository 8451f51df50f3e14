/* Rescaling and neurons for AVX2, eight values at a time; what is left over goes to the portable functions. */
#include "esnn_arith.h"
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { LANES = 8 };

/* The low words of two vectors of 64-bit values, those of `odd` in the odd places. */
static ESNN_INLINE ESNN_AVX2 __m256i low_words(__m256i even, __m256i odd) {
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

/* (a*m + 2^(n-1)) >> n of eight values, where it fits 32 bits; 1 <= n <= 62. Above 32, it is in the high words. */
static ESNN_INLINE ESNN_AVX2 __m256i scale(__m256i a, __m256i m, uint32_t n) {
    const __m256i half = _mm256_set1_epi64x((int64_t)1 << (n - 1));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, m), half);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(m, 32)), half);
    if (n > 32) {
        const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
        return _mm256_sra_epi32(high, _mm_cvtsi32_si128((int)n - 32));
    }
    const __m128i by = _mm_cvtsi32_si128((int)n);
    return low_words(_mm256_srl_epi64(even, by), _mm256_srl_epi64(odd, by));
}

ESNN_AVX2 void esnn_avx2_rescale(const int32_t *a, const int32_t *multiplier, const int32_t *bias, int32_t *current,
                                 uint32_t outputs, uint32_t pixels, uint32_t shift, uint32_t lift) {
    if (pixels == 1) {
        uint32_t o = 0;
        for (; o + LANES <= outputs; o += LANES) {
            const __m256i m = _mm256_loadu_si256((const void *)(multiplier + o));
            const __m256i b = _mm256_loadu_si256((const void *)(bias + o));
            const __m256i i = scale(_mm256_loadu_si256((const void *)(a + o)), m, shift);
            _mm256_storeu_si256((void *)(current + o), _mm256_add_epi32(i, b));
        }
        esnn_portable_rescale(a + o, multiplier + o, bias + o, current + o, outputs - o, 1, shift, lift);
        return;
    }
    for (uint32_t o = 0; o < outputs; o++, a += pixels, current += pixels) {
        const __m256i m = _mm256_set1_epi32(multiplier[o]), b = _mm256_set1_epi32(bias[o]);
        uint32_t p = 0;
        for (; p + LANES <= pixels; p += LANES) {
            const __m256i i = scale(_mm256_loadu_si256((const void *)(a + p)), m, shift);
            _mm256_storeu_si256((void *)(current + p), _mm256_add_epi32(i, b));
        }
        esnn_portable_rescale(a + p, multiplier + o, bias + o, current + p, 1, pixels - p, shift, lift);
    }
}

static ESNN_INLINE ESNN_AVX2 __m256i clamp(__m256i x, int32_t low, int32_t high) {
    return _mm256_min_epi32(_mm256_max_epi32(x, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
}

/* sat24(((leak*v + 2^14) >> 15) + current) */
static ESNN_INLINE ESNN_AVX2 __m256i integrate(__m256i v, __m256i current, int32_t leak) {
    const __m256i kept = scale(v, _mm256_set1_epi32(leak), 15);
    return clamp(_mm256_add_epi32(kept, clamp(current, -(1 << 25), (1 << 25) - 1)), -(1 << 23), (1 << 23) - 1);
}

/* clamp((m - theta + 2^(k-1)) >> k, 0, 2^bits - 1) */
static ESNN_INLINE ESNN_AVX2 __m256i grade(__m256i m, int32_t theta, uint32_t k, uint32_t bits) {
    const __m256i above = _mm256_add_epi32(m, _mm256_set1_epi32((1 << (k - 1)) - theta));
    return clamp(_mm256_sra_epi32(above, _mm_cvtsi32_si128((int)k)), 0, (1 << bits) - 1);
}

/* Eight values of 0 to 255 to bytes. */
static ESNN_INLINE ESNN_AVX2 void store_bytes(uint8_t *to, __m256i x) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((void *)to, _mm_packus_epi16(words, words));
}

ESNN_AVX2 void esnn_avx2_empf(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta,
                              uint32_t k, uint32_t bits) {
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m256i m =
            integrate(_mm256_loadu_si256((const void *)(v + i)), _mm256_loadu_si256((const void *)(current + i)), lam);
        const __m256i spike = grade(m, theta, k, bits);
        const __m256i emitted = _mm256_sll_epi32(spike, _mm_cvtsi32_si128((int)k));
        _mm256_storeu_si256((void *)(v + i), _mm256_sub_epi32(m, emitted));
        store_bytes(s + i, spike);
    }
    esnn_portable_empf(v + i, current + i, s + i, n - i, lam, theta, k, bits);
}

ESNN_AVX2 void esnn_avx2_parallel_empf(const int32_t *current, uint8_t *s, uint32_t n, int32_t theta, uint32_t k,
                                       uint32_t bits) {
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m256i m = clamp(_mm256_loadu_si256((const void *)(current + i)), -(1 << 23), (1 << 23) - 1);
        store_bytes(s + i, grade(m, theta, k, bits));
    }
    esnn_portable_parallel_empf(current + i, s + i, n - i, theta, k, bits);
}

ESNN_AVX2 void esnn_avx2_lif(int32_t *v, const int32_t *current, uint8_t *s, uint32_t n, int32_t lam, int32_t theta) {
    const __m256i least = _mm256_set1_epi32(theta - 1), all = _mm256_set1_epi32(theta);
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m256i m =
            integrate(_mm256_loadu_si256((const void *)(v + i)), _mm256_loadu_si256((const void *)(current + i)), lam);
        const __m256i fired = _mm256_cmpgt_epi32(m, least);
        _mm256_storeu_si256((void *)(v + i), _mm256_sub_epi32(m, _mm256_and_si256(fired, all)));
        store_bytes(s + i, _mm256_srli_epi32(fired, 31));
    }
    esnn_portable_lif(v + i, current + i, s + i, n - i, lam, theta);
}

#endif
