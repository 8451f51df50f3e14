/* Linear synapses with 1-bit weights for AVX2.
 *
 * 32 bits of weights become a vector of 0 and -1: each byte is repeated in eight lanes, and each lane tests its bit.
 * With S the sum of the inputs whose bit is set and B that of all:  sum of w*x = 2S - B. */
#include "esnn_memory.h"
#include "esnn_x86.h"

#if ESNN_X86
#include <immintrin.h>

enum { LANES = 32, ROWS = 4, MOST_VECTORS = 64 }; /* 64 * 510 fits 16 bits */

/* The sums of the elements of four vectors. */
static ESNN_INLINE ESNN_AVX2 __m128i reduce4(const __m256i v[ROWS]) {
    const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
}

/* -1 in the lanes whose bit of the word is set. */
static ESNN_INLINE ESNN_AVX2 __m256i chosen(int32_t word) {
    const __m256i repeat = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3,
                                            3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((int64_t)UINT64_C(0x8040201008040201));
    return _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), repeat), bit), bit);
}

/* The chosen inputs added up in pairs; uint8_t inputs with a minus sign. */
static ESNN_INLINE ESNN_AVX2 __m256i pairs(__m256i x, int32_t word, int is_signed) {
    const __m256i mask = chosen(word);
    return is_signed ? _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_and_si256(x, mask))
                     : _mm256_maddubs_epi16(x, mask);
}

/* sum + the pairs. */
static ESNN_INLINE ESNN_AVX2 __m256i add_pairs(__m256i sum, __m256i pair, int is_signed) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pair, _mm256_set1_epi16(is_signed ? 1 : -1)));
}

/* S of four rows of weights; `row_bytes` is 0 for four times the same. `last` holds the inputs from the last multiple
 * of LANES on, and zeros. */
static ESNN_INLINE ESNN_AVX2 __m128i binary4(const uint8_t *x, const uint8_t *last, const uint8_t *w, size_t row_bytes,
                                             uint32_t inputs, int is_signed) {
    const uint32_t vectors = inputs / LANES, rest = (inputs % LANES + 7) / 8;
    __m256i total[ROWS], sum[ROWS];
    _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
        int32_t word = 0;
        memcpy(&word, w + r * row_bytes + 4 * (size_t)vectors, rest);
        const __m256i vector = _mm256_loadu_si256((const void *)last);
        total[r] = add_pairs(_mm256_setzero_si256(), pairs(vector, word, is_signed), is_signed);
    }
    for (uint32_t i = 0; i < vectors;) {
        const uint32_t end = vectors - i < MOST_VECTORS ? vectors : i + MOST_VECTORS;
        _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
            sum[r] = _mm256_setzero_si256();
        }
        for (; i < end; i++) {
            const __m256i vector = _mm256_loadu_si256((const void *)(x + (size_t)i * LANES));
            _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
                int32_t word;
                memcpy(&word, w + r * row_bytes + 4 * (size_t)i, 4);
                sum[r] = _mm256_add_epi16(sum[r], pairs(vector, word, is_signed));
            }
        }
        _Pragma("GCC unroll 4") for (uint32_t r = 0; r < ROWS; r++) {
            total[r] = add_pairs(total[r], sum[r], is_signed);
        }
    }
    return reduce4(total);
}

static ESNN_INLINE ESNN_AVX2 void binary_linear(const uint8_t *x, const uint8_t *w, int32_t *a, uint32_t inputs,
                                                uint32_t outputs, int is_signed) {
    const size_t row_bytes = (inputs + 7) / 8;
    uint8_t last[LANES] = {0};
    memcpy(last, x + inputs / LANES * LANES, inputs % LANES);
    int32_t sum = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        sum += is_signed ? (int8_t)x[i] : x[i];
    }
    const __m128i b = _mm_set1_epi32(sum);
    uint32_t o = 0;
    for (; o + ROWS <= outputs; o += ROWS, w += ROWS * row_bytes) {
        const __m128i s = binary4(x, last, w, row_bytes, inputs, is_signed);
        _mm_storeu_si128((void *)(a + o), _mm_sub_epi32(_mm_add_epi32(s, s), b));
    }
    for (; o < outputs; o++, w += row_bytes) {
        const __m128i s = binary4(x, last, w, 0, inputs, is_signed);
        a[o] = _mm_cvtsi128_si32(_mm_sub_epi32(_mm_add_epi32(s, s), b));
    }
}

ESNN_AVX2 void esnn_avx2_binary_linear(const void *x, esnn_format format, const uint8_t *w, int16_t *patch, int32_t *a,
                                       uint32_t inputs, uint32_t outputs) {
    (void)patch;
    if (format == ESNN_U8) {
        binary_linear(x, w, a, inputs, outputs, 0);
    } else {
        binary_linear(x, w, a, inputs, outputs, 1);
    }
}

#endif
